import json
import logging
from dataclasses import replace

import pytest
from small_grid import GRID, evaluation

from dealseg.experiments import Variant, expand, read_result, write_result
from dealseg.experiments.results import gather, result_file, result_of

JOB = expand(GRID).jobs[0]
RESULT = result_of(JOB, "abc", evaluation(0.25), {"seconds": 3.0})


def test_a_result_is_read_as_it_was_written(tmp_path):
    path = write_result(tmp_path, RESULT)
    assert path == result_file(tmp_path, "abc")
    assert read_result(tmp_path, "abc") == RESULT
    assert [file.name for file in path.parent.iterdir()] == ["abc.json"]


def test_a_result_has_the_figures_of_its_evaluation():
    assert RESULT.variant == Variant("cam")
    assert RESULT.figures == {
        "fixed": 0.25,
        "fixed_threshold": 0.4,
        "oracle": 0.35,
        "oracle_threshold": 0.2,
        "boundary_iou": 0.125,
        "contour_f": None,
        "tag_map": None,
    }
    assert RESULT.curve == (0.25, 0.35, 0.0)
    assert RESULT.data["class_map"] == {"0": "background", "1": "cup"}
    assert RESULT.config["method"] == "cam"


def test_what_is_not_there_is_none_and_no_warning(tmp_path, caplog):
    assert read_result(tmp_path, "abc") is None
    assert not caplog.records


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path):
    path.write_bytes(b"")


def changed(path):
    path.write_text(path.read_text().replace("0.25", "0.95", 1))


def not_an_object(path):
    path.write_text("[1, 2]")


def binary(path):
    path.write_bytes(b"\xff\x00\xfe")


def older(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "version": 0}))


@pytest.mark.parametrize("damage", [cut, emptied, changed, not_an_object, binary, older])
def test_a_damaged_result_is_reported_with_its_file_and_counts_as_none(tmp_path, caplog, damage):
    damage(write_result(tmp_path, RESULT))
    with caplog.at_level(logging.WARNING, "dealseg"):
        assert read_result(tmp_path, "abc") is None
    (record,) = caplog.records
    assert "abc.json: " in record.message
    assert record.message.endswith("the job is done again")
    assert "\n" not in record.message


def test_a_result_under_another_key_counts_as_damaged(tmp_path, caplog):
    write_result(tmp_path, RESULT).rename(result_file(tmp_path, "def"))
    assert read_result(tmp_path, "def") is None
    assert "is the result of abc" in caplog.text


def test_gathered_results_do_not_say_when_or_where_they_were_made(tmp_path):
    other = replace(RESULT, made={"seconds": 9.0, "host": "elsewhere"})
    one = gather(tmp_path, [RESULT]).read_bytes()
    assert gather(tmp_path, [other]).read_bytes() == one
    line = json.loads(one)
    assert (line["method"], line["losses"], line["seed"], line["fixed"]) == ("cam", "none", 0, 0.25)
