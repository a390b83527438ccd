import json

import pytest
from make_bop import IDS, write_onboarding, write_scene

from dealseg.cli import main
from dealseg.data import open_dataset
from dealseg.data.held_out import Protocol, parse_protocol
from dealseg.errors import DataError

MANY = tuple(range(3, 43, 2))
"""Twenty frame ids with gaps."""


def frames_of(root, split):
    return open_dataset(root, split=split).names


@pytest.fixture
def root(tmp_path):
    return write_onboarding(tmp_path / "onboarding_static", ids=MANY)


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("side:train", Protocol("side", "train")),
        ("side:val", Protocol("side", "val")),
        ("frames:train", Protocol("frames", "train")),
        ("frames:val:3", Protocol("frames", "val", 3)),
    ],
)
def test_a_protocol_is_read_from_its_name(text, protocol):
    assert parse_protocol(text) == protocol


@pytest.mark.parametrize(
    "text",
    [None, "", "train", "side", "side:up", "side:train:2", "frames:val:0", "frames:val:", "x:val"],
)
def test_other_names_are_no_protocol(text):
    assert parse_protocol(text) is None


@pytest.mark.parametrize(("part", "side"), [("train", "up"), ("val", "down")])
def test_by_side_up_is_for_training_and_down_for_validation(root, part, side):
    assert frames_of(root, f"side:{part}") == frames_of(root, side)
    assert {name.split("/")[0][-len(side) :] for name in frames_of(root, f"side:{part}")} == {side}


def test_by_frames_the_middle_fifth_of_each_sequence_is_held_out_in_one_stretch(root):
    expected = {
        f"obj_{o:06d}_{side}/{i:06d}" for o in (1, 2) for side in ("up", "down") for i in MANY[8:12]
    }
    assert set(frames_of(root, "frames:val")) == expected


def test_by_frames_with_more_stretches_as_many_are_held_out_in_as_many_runs(root):
    val = [name for name in frames_of(root, "frames:val:2") if "000001_up" in name]
    positions = [MANY.index(int(name.split("/")[1])) for name in val]
    assert positions == [4, 5, 14, 15]


@pytest.mark.parametrize("stretches", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 13, 120, 133])
def test_the_parts_of_a_sequence_are_disjoint_and_whole_and_a_fifth_is_held_out(count, stretches):
    train, val = (Protocol("frames", p, stretches).kept(range(count)) for p in ("train", "val"))
    assert sorted([*train, *val]) == list(range(count))
    if count >= 5 * stretches:
        assert abs(len(val) - count / 5) <= stretches
        runs = sum(1 for i in val if i - 1 not in val)
        assert runs == stretches


def test_classes_are_those_of_the_whole_set_whatever_the_protocol(root):
    classes = open_dataset(root).classes
    for split in ("side:train", "side:val", "frames:train", "frames:val"):
        assert open_dataset(root, split=split).classes == classes


def test_frames_are_told_apart_in_any_bop_scene_and_sides_are_not(tmp_path):
    scenes = tmp_path / "test_primesense"
    write_scene(scenes / "000001", (5, 9), ids=MANY)
    write_scene(scenes / "000002", (2, 5), ids=MANY[:7])
    train, val = (frames_of(scenes, f"frames:{part}") for part in ("train", "val"))
    assert {*train, *val} == set(open_dataset(scenes).names)
    assert len(val) == 4 + 2
    with pytest.raises(DataError, match=r"'side:val' needs folders obj_XXXXXX_down, there are no"):
        open_dataset(scenes, split="side:val")


def test_a_list_of_that_name_comes_before_the_protocol(root):
    (root / "splits").mkdir()
    (root / "splits/side:val.txt").write_text("obj_000001_up\n")
    assert {name.split("/")[0] for name in frames_of(root, "side:val")} == {"obj_000001_up"}


def test_sequences_too_short_to_hold_frames_out_are_refused(tmp_path):
    write_onboarding(tmp_path, ids=(0,))
    with pytest.raises(DataError, match="too short for split 'frames:val'"):
        open_dataset(tmp_path, split="frames:val")


def test_a_misspelt_protocol_is_refused_with_those_there_are(root):
    with pytest.raises(DataError, match=r"no split 'sides:val'; protocols are side:train, side:v"):
        open_dataset(root, split="sides:val")


def test_the_commands_take_a_protocol_and_record_it(tmp_path, trained, capsys):
    write_onboarding(tmp_path / "data", ids=IDS)
    data, run, masks = (str(tmp_path / name) for name in ("data", "run", "masks"))
    assert main(["train", data, "--out", run, *trained.train, "--data.split=side:train"]) == 0
    assert "split: side:train" in (tmp_path / "run/config.yaml").read_text()
    assert main(["label", run, data, "--out", masks, "--split", "side:val"]) == 0
    assert json.loads((tmp_path / "masks/labels.json").read_text())["split"] == "side:val"
    assert {f.name for f in (tmp_path / "masks/masks").iterdir()} == {
        "obj_000001_down",
        "obj_000002_down",
    }
    assert main(["evaluate", run, data, "--split", "side:val", "--boundaries", "false"]) == 0
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["split"] == "side:val"
    assert "side:val" in capsys.readouterr().out
