import json

import pytest
from make_run import config, evaluation, make_run, real_evaluation

from dealseg.errors import CheckpointError, ConfigError, DataError
from dealseg.report.naming import BASELINE, CONTROL, DEAL, role_of, roles_and_losses, unique_labels
from dealseg.report.records import differing, read_evaluation, read_metrics, read_runs


def test_a_run_is_told_by_the_loss_it_was_really_trained_with():
    assert role_of(config("none")) == BASELINE
    assert role_of(config("deal")) == DEAL
    assert role_of(config("deal", weight=0.0)) == BASELINE
    assert role_of(config("deal", shuffle=True)) == CONTROL


def test_runs_are_named_by_role_or_else_by_as_little_path_as_tells_them_apart(tmp_path):
    one, two, other = tmp_path / "a" / "x", tmp_path / "b" / "x", tmp_path / "y"
    assert unique_labels([one, two], [BASELINE, DEAL]) == [BASELINE, DEAL]
    assert unique_labels([one, other], [DEAL, DEAL]) == ["x", "y"]
    assert unique_labels([one, two], [DEAL, DEAL]) == ["a/x", "b/x"]


def test_names_say_the_method_and_the_other_losses_where_runs_differ_in_them():
    def named(*configs):
        return roles_and_losses([config(*each) for each in configs])

    assert named(("none",), ("deal",)) == ["baseline", "DEAL"]
    assert named(("isl,fsl",), ("deal,fsl,isl",)) == [
        "baseline with isl, fsl",
        "DEAL with isl, fsl",
    ]
    assert named(("none", "cam"), ("deal", "seam")) == ["cam baseline", "seam DEAL"]


def test_an_evaluation_says_by_which_protocol_its_oracle_was_searched_for(tmp_path):
    file = tmp_path / "evaluation.json"
    for protocol in ("full", "seam", "weaktr"):
        real_evaluation(protocol).write_result(file)
        assert read_evaluation(file).protocol == protocol
    before_protocols = evaluation(0.4, 0.5)
    file.write_text(json.dumps(before_protocols))
    assert read_evaluation(file).protocol == "full"
    file.write_text(json.dumps(before_protocols | {"oracle": None}))
    assert read_evaluation(file).protocol is None
    file.write_text(json.dumps(before_protocols | {"protocol": 7}))
    with pytest.raises(DataError, match=r"evaluation\.json"):
        read_evaluation(file)


def test_metrics_keep_empty_cells_out_and_count_those_that_are_no_numbers(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,a,b\n0,1,0.5,\n1,2,oops,2\n3,3,nan,4\n")
    curves, bad = read_metrics(file)
    assert curves == {"a": ((0.0, 0.5),), "b": ((1.0, 2.0), (3.0, 4.0))}
    assert bad == 2


def test_a_metrics_file_cut_off_in_a_row_gives_what_it_has(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,a,b\n0,1,0.5,7\n1,2,0.")
    assert read_metrics(file) == ({"a": ((0.0, 0.5), (1.0, 0.0)), "b": ((0.0, 7.0),)}, 0)
    file.write_text("")
    assert read_metrics(file) == ({}, 0)


def test_an_evaluation_is_read_back_as_it_was_written(tmp_path):
    result = real_evaluation()
    file = tmp_path / "evaluation.json"
    result.write_result(file)
    found = read_evaluation(file)
    assert found.fixed.mean_iou == result.fixed.mean_iou
    assert found.fixed.boundary_iou == result.fixed.mean_boundary_iou
    assert found.fixed.iou == result.fixed.iou
    assert (found.fixed.threshold, found.fixed.origin) == (0.3, "default")
    assert found.oracle.mean_iou == result.oracle.mean_iou
    assert found.oracle.threshold == result.oracle.threshold
    assert found.curve == result.curve
    assert found.class_names == result.class_names
    assert (found.images, found.split, found.missing) == (5, "val", 0)


@pytest.mark.parametrize(
    "content", ["[1]", "{", '{"class_map": {}}', json.dumps(evaluation(0.4) | {"fixed": None})]
)
def test_a_damaged_evaluation_is_refused_with_its_file(tmp_path, content):
    file = tmp_path / "evaluation.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"evaluation\.json"):
        read_evaluation(file)


def test_a_bare_run_is_read_and_what_it_lacks_is_noted(tmp_path):
    path = make_run(tmp_path / "bare", metrics=None)
    (path / "environment.json").unlink()
    (run,) = read_runs([path])
    text = " ".join(run.notes)
    assert run.evaluation is None
    assert not run.metrics
    assert not run.environment
    for part in ("no weights", "metrics.csv", "environment.json", f"dealseg evaluate {path}"):
        assert part in text


def test_only_options_that_differ_are_listed(tmp_path):
    paths = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "deal", cells=48)]
    assert differing(read_runs(paths)) == {"losses": ["none", "deal"], "deal.cells": ["64", "48"]}


def test_no_runs_a_run_given_twice_and_a_folder_that_is_no_run_are_refused(tmp_path):
    path = make_run(tmp_path / "a")
    with pytest.raises(ConfigError, match="at least one"):
        read_runs([])
    with pytest.raises(ConfigError, match="given twice"):
        read_runs([path, tmp_path / "." / "a"])
    with pytest.raises(CheckpointError, match=r"not a run folder \(config.yaml is missing"):
        read_runs([tmp_path])
