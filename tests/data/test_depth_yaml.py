"""`depth.yaml` in a depth folder says how the depth there, and only there, is stored."""

import numpy as np
import pytest
from make_bop import write_onboarding, write_scene
from make_folder import millimetres, save, scene, write_folder

from dealseg.data import DepthInfo, check_dataset, open_dataset
from dealseg.errors import DataError

RELATIVE = "depth: {kind: relative}\nsource: {model: any, of: [whatever, kind]}\n"


def add_folder(place, text, name="a"):
    save(place / f"{name}.png", millimetres(scene()[1]))
    (place / "depth.yaml").write_text(text)


def test_it_takes_the_place_of_dataset_yaml_for_its_folder_alone(tmp_path):
    root = write_folder(tmp_path)
    add_folder(root / "depth_estimate", RELATIVE)
    assert open_dataset(root).depth_info == DepthInfo("mm", 1.0, "metric")
    estimated = open_dataset(root, depth_folder="depth_estimate")
    assert estimated.depth_info == DepthInfo("1", 1.0, "relative")
    values, valid = estimated.depth(0)
    stored = millimetres(scene()[1])
    np.testing.assert_array_equal(values[0].numpy(), stored)
    np.testing.assert_array_equal(valid[0].numpy(), stored > 0)


@pytest.mark.parametrize("text", ["source: {model: any}\n", ""])
def test_where_it_says_nothing_of_the_depth_the_set_s_description_holds(tmp_path, text):
    root = write_folder(tmp_path, yaml="depth: {unit: m, scale: 0.5}\n")
    add_folder(root / "other", text)
    assert open_dataset(root, depth_folder="other").depth_info == DepthInfo("m", 0.5, "metric")


def test_each_bop_scene_has_its_own_and_needs_no_depth_scale_then(tmp_path):
    for number, unit in ((1, "mm"), (2, "cm")):
        folder = write_scene(tmp_path / f"train/{number:06d}")
        add_folder(folder / "depth_estimate", f"depth: {{unit: {unit}, scale: 2}}\n", "000000")
    dataset = open_dataset(tmp_path, depth_folder="depth_estimate")
    rules = [frame.depth_rule.info(np.dtype(np.uint16)) for frame in dataset.frames if frame.depth]
    assert rules == [DepthInfo("mm", 2.0), DepthInfo("cm", 2.0)]
    assert open_dataset(tmp_path).depth_info == DepthInfo("mm", 0.1)


def test_an_onboarding_folder_without_json_files_can_be_given_estimated_depth(tmp_path):
    root = write_onboarding(tmp_path, depth=None)
    for file in root.rglob("*.json"):
        file.unlink()
    for folder in root.iterdir():
        add_folder(folder / "depth_estimate", RELATIVE, "000000")
    dataset = open_dataset(root, depth_folder="depth_estimate")
    assert dataset.depth_info.kind == "relative"
    assert check_dataset(root, depth_folder="depth_estimate").ok


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: relative\n", "unknown key 'kind': did you mean"),
        ("depth: {kind: inverse}\n", "depth.kind must be one of metric"),
        ("depth: {kind: relative, unit: mm}\n", "has no unit"),
        ("depth: {scale: 0}\n", "depth.scale must be a number above 0"),
        ("depth: 7\n", "depth must be `key: value` pairs"),
        ("[1, 2]\n", "must be `key: value` pairs"),
        ("depth: {", "this is not YAML"),
    ],
)
def test_a_mistake_in_it_is_one_line_with_its_name(tmp_path, text, said):
    root = write_folder(tmp_path)
    add_folder(root / "depth_estimate", text)
    with pytest.raises(DataError, match=r"depth\.yaml") as error:
        open_dataset(root, depth_folder="depth_estimate")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert open_dataset(root).depth_info.kind == "metric"  # only who asks for it has to read it


def test_the_place_of_an_estimate_is_where_the_reader_finds_it(tmp_path):
    images = {"cup/0001": "cup", "cup/0002": "cup", "plate/0001": "plate"}
    sets = [write_folder(tmp_path / "folder", images), write_onboarding(tmp_path / "bop")]
    for root in sets:
        before = open_dataset(root)
        for frame in before.frames:
            folder, file = frame.depth_place(root, "guessed")
            assert folder in file.parents
            save(file, np.full((24, 32), len(frame.name), np.uint16))
        after = open_dataset(root, depth_folder="guessed")
        found = [frame.depth for frame in after.frames]
        assert found == [frame.depth_place(root, "guessed")[1] for frame in before.frames]
        assert len(set(found)) == len(after)
