import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dealseg.data import check_dataset, open_dataset
from dealseg.data.miniature import hope
from dealseg.data.miniature.hope import write_hope_miniature
from dealseg.errors import ConfigError, DataError

SMALL = {"objects": 2, "frames": 5, "size": 32}


def sums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("hope") / "set"
    write_hope_miniature(out, **SMALL)
    return out


def test_the_tree_is_that_of_the_archives(root):
    folders = sorted(path.name for path in (root / "onboarding_static").iterdir())
    assert folders == [f"obj_00000{i}_{side}" for i in (1, 2) for side in ("down", "up")]
    scene = root / "onboarding_static/obj_000002_up"
    assert {path.name for path in scene.iterdir()} == {
        "rgb",
        "depth",
        "depth_estimate",
        "mask_visib",
        "scene_gt.json",
        "scene_gt_info.json",
        "scene_camera.json",
    }
    with Image.open(scene / "rgb/000004.jpg") as photo, Image.open(scene / "depth/000004.png") as d:
        assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (32, 32))
        assert d.mode.startswith("I;16")
    assert (scene / "mask_visib/000004_000000.png").is_file()
    truth = json.loads((scene / "scene_gt.json").read_text())
    assert [entry["obj_id"] for entry in truth["0"]] == [2]
    assert {"cam_K", "depth_scale"} <= json.loads((scene / "scene_camera.json").read_text())[
        "0"
    ].keys()


def test_every_image_has_the_tag_depth_and_mask_of_its_folder(root):
    dataset = open_dataset(root)
    assert dataset.classes == ("obj_000001", "obj_000002")
    for index, name in enumerate(dataset.names):
        value = 1 + ("obj_000002" in name)
        assert dataset.tags(index).nonzero().flatten().tolist() == [value - 1]
        mask = dataset.mask(index)
        assert mask.unique().tolist() == [0, value]
        assert 0.02 < (mask > 0).float().mean() < 0.6
        depth, valid = dataset.depth(index)
        assert valid.float().mean() > 0.5
        assert 0.2 < depth[valid].median() < 1.5


def test_the_estimate_is_inverse_depth_without_a_hole_and_follows_the_sensor(root):
    sensor, estimate = (open_dataset(root, depth_folder=f) for f in ("depth", "depth_estimate"))
    assert estimate.depth_info.kind == "relative"
    for index in range(len(sensor)):
        metres, valid = sensor.depth(index)
        near, everywhere = estimate.depth(index)
        assert everywhere.all()
        assert near.shape == (1, 16, 16)
        fine = torch.nn.functional.interpolate(near[None], metres.shape[-2:], mode="bilinear")[0]
        pairs = torch.stack([fine[valid], 1 / metres[valid]])
        assert torch.corrcoef(pairs)[0, 1] > 0.95


def test_the_object_is_nearer_than_what_lies_just_beside_it(root):
    dataset = open_dataset(root)
    nearer = []
    for index in range(len(dataset)):
        depth, valid = dataset.depth(index)
        rows, columns = (dataset.mask(index) > 0).nonzero(as_tuple=True)
        row = int(rows.min())
        above = max(row - 3, 0)
        column = int(columns[rows == row].median())
        if valid[0, row + 1, column] and valid[0, above, column]:
            nearer.append(bool(depth[0, row + 1, column] < depth[0, above, column]))
    assert len(nearer) >= 5
    assert np.mean(nearer) >= 0.9


def test_both_sides_show_one_object_and_it_stands_on_its_head_below(root):
    poses = {
        side: json.loads((root / f"onboarding_static/obj_000001_{side}/scene_gt.json").read_text())
        for side in ("up", "down")
    }
    up, down = (np.array(p["2"][0]["cam_R_m2c"]).reshape(3, 3) for p in poses.values())
    assert np.allclose(up @ np.diag([1, -1, -1]), down)
    dataset = open_dataset(root)
    means = [dataset.image(i).float().mean() for i in range(len(dataset))]
    assert len({round(float(m), 3) for m in means}) == len(means)


def test_the_check_finds_nothing_wrong(root):
    assert check_dataset(root).ok


def test_same_arguments_give_the_same_bytes_after_an_interruption(root, tmp_path, monkeypatch):
    real, calls = hope.render, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(hope, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_hope_miniature(tmp_path / "b", **SMALL)
    done = {path.name for path in (tmp_path / "b/onboarding_static").iterdir()}
    assert done == {"obj_000001_up", ".obj_000001_down.partial"}
    write_hope_miniature(tmp_path / "b", **SMALL)
    assert sums(tmp_path / "b") == sums(root)
    assert len(calls) == 8 + 3 * SMALL["frames"]


def test_another_seed_gives_other_pictures(root, tmp_path):
    write_hope_miniature(tmp_path / "c", objects=1, frames=1, size=32, seed=1)
    other, same = open_dataset(tmp_path / "c"), open_dataset(root)
    index = same.names.index("onboarding_static/obj_000001_down/000000")
    assert not torch.equal(other.image(0), same.image(index))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objects": 29}, "objects must be from 1 to 28, got 29"),
        ({"objects": 0}, "objects must be from 1"),
        ({"frames": 0}, "frames must be from 1"),
        ({"size": 8}, "size must be from 16"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused_and_nothing_is_written(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        write_hope_miniature(tmp_path / "d", **wrong)
    assert not (tmp_path / "d").exists()


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(root, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty and not made by this command"):
        write_hope_miniature(tmp_path, **SMALL)
    assert sums(tmp_path).keys() == {"mine.txt"}
    before = sums(root)
    with pytest.raises(DataError, match="choose another folder"):
        write_hope_miniature(root, **(SMALL | {"seed": 1}))
    assert sums(root) == before
