from dataclasses import replace

import pytest
from tiny import config, eager

from dealseg.errors import CheckpointError, DataError
from dealseg.models.runs import RunFacts
from dealseg.training import train
from dealseg.training.claim import claim, run_state

FACTS = RunFacts(("cup", "box"), "data", "metric")


def snapshot(folder):
    return {
        p.relative_to(folder): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_a_folder_with_something_in_it_is_refused_and_untouched(dataset, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_mum.txt").write_text("dear mum")
    before = snapshot(tmp_path)
    for resume in (False, True):
        with pytest.raises(DataError, match="is not an empty folder; choose another --out"):
            train(dataset, tmp_path / "letters", config(), resume=resume)
    assert snapshot(tmp_path) == before


def test_a_file_in_the_place_of_the_folder_is_refused(dataset, tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(DataError, match="is not an empty folder"):
        train(dataset, tmp_path / "run", config())


def test_a_run_is_not_overwritten_without_resume(dataset, trained):
    run = trained(config())
    before = snapshot(run)
    with pytest.raises(DataError, match="is a run already; go on with --resume"):
        train(dataset, run, config())
    assert snapshot(run) == before


def test_a_finished_run_is_left_as_it_is(dataset, trained, tmp_path):
    run = trained(config())
    before = snapshot(run)
    assert train(dataset, run, config(), resume=True, cache_dir=tmp_path) == run
    assert snapshot(run) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (config(seed=3), "seed 0, now 3"),
        (config(epochs=9), "optim.epochs 2, now 9"),
        (config(deal=eager()), r"deal.warmup 0\.\d+, now 0.0"),
        (config("full"), "profile cached, now full"),
    ],
)
def test_resuming_with_another_option_names_it(changed, message, dataset, trained):
    run = trained(config())
    before = snapshot(run)
    with pytest.raises(CheckpointError, match=f"was started with {message}; resume with the same"):
        train(dataset, run, changed, resume=True)
    assert snapshot(run) == before


def test_resuming_with_other_data_names_what_differs(tmp_path):
    claim(tmp_path / "run", config(), FACTS)
    for changed, message in (
        (replace(FACTS, classes=("cup",)), r"classes \('cup', 'box'\), now \('cup',\)"),
        (replace(FACTS, data_root="other"), "data_root data, now other"),
        (replace(FACTS, depth_kind="disparity"), "depth_kind metric, now disparity"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run_state(tmp_path / "run", config(), changed, resume=True)


def test_what_is_claimed_is_recognised_after_writing_and_reading(tmp_path):
    assert run_state(tmp_path / "run", config(), FACTS, resume=False) == "new"
    assert not list(tmp_path.iterdir())
    claim(tmp_path / "run", config(), FACTS)
    assert run_state(tmp_path / "run", config(), FACTS, resume=True) == "unfinished"
    (tmp_path / "run" / "weights.safetensors").touch()
    assert run_state(tmp_path / "run", config(), FACTS, resume=True) == "finished"


def test_resume_of_nothing_begins_a_run_and_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    assert run_state(tmp_path / "empty", config(), FACTS, resume=True) == "new"
    assert run_state(tmp_path / "none", config(), FACTS, resume=True) == "new"
