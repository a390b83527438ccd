import hashlib
import os

import numpy as np
import pytest
import torch
import yaml
from make_bop import write_bop, write_onboarding
from make_folder import scene, write_folder
from PIL import Image

from dealseg.cli import main
from dealseg.data import noise_writing, open_dataset
from dealseg.data.noise_writing import Coding, write_noisy_depth
from dealseg.data.noisy import NoisyDepth
from dealseg.noise import parse_noise

NOISE = "gaussian:0.02,holes:0.1:4"


def sums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def run(data, out, *options, noise=NOISE):
    return main(["noise", str(data), "--out", str(out), "--depth-noise", noise, *options])


@pytest.fixture
def root(tmp_path):
    return write_bop(tmp_path / "data")


def test_the_folder_stands_for_the_noisy_depth_of_a_training(root, tmp_path, capsys):
    before, out = sums(root), tmp_path / "noisy"
    assert run(root, out, "--seed", "5") == 0
    assert (
        f"9 depth maps written; use them with --data.depth_folder {out}" in capsys.readouterr().out
    )
    assert sums(root) == before
    written = open_dataset(root, depth_folder=str(out))
    trained = NoisyDepth(open_dataset(root), parse_noise(NOISE), seed=5)
    for index in range(len(written)):
        (depth, valid), (expected, kept) = written.depth(index), trained.depth(index)
        assert torch.equal(valid, kept)
        assert torch.allclose(depth, expected, atol=0.5001e-4)  # steps of 0.1 mm


def test_the_folder_says_how_it_is_read_and_where_it_is_from(root, tmp_path):
    assert run(root, tmp_path / "out", "--seed", "5", "--split", "train") == 0
    told = yaml.safe_load((tmp_path / "out/depth.yaml").read_text())
    assert told["depth"] == {"unit": "m", "scale": pytest.approx(1e-4), "kind": "metric"}
    assert told["source"] == {
        "noise": NOISE,
        "seed": 5,
        "split": "train",
        "data": str(root),
        "depth": str(root / "train/000003/depth/000000.png"),
        "low": 0.0,
    }
    with Image.open(tmp_path / "out/train/000004/000015.png") as stored:
        assert stored.mode.startswith("I;16")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["depth.yaml", "train"]


def test_the_same_seed_gives_the_same_bytes_and_another_others(root, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(root, tmp_path / name, "--seed", str(seed)) == 0
    a, b, c = (sums(tmp_path / name) for name in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in a)


def test_an_interrupted_run_goes_on_and_is_no_depth_folder_before(
    root, tmp_path, monkeypatch, capsys
):
    assert run(root, tmp_path / "whole") == 0
    real, calls = noise_writing._save, []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(noise_writing, "_save", stop)
    out = tmp_path / "broken"
    assert run(root, out) == 130
    assert main(["check", str(root), "--depth-folder", str(out)]) == 2
    assert "interrupted: give the same command again" in "".join(capsys.readouterr())
    assert run(root, out) == 0
    assert "6 depth maps written, 3 kept from before" in capsys.readouterr().out
    assert sums(out) == sums(tmp_path / "whole")
    assert run(root, out) == 0
    assert "0 depth maps written, 9 kept" in capsys.readouterr().out


def test_a_map_that_cannot_be_written_leaves_nothing_half_done(root, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "disk")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        noise_writing._save(tmp_path / "x/a.png", np.ones((2, 2), np.uint16))
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize("option", [("--seed", "1"), ("--split", "val"), ("noise", "shift:1")])
def test_a_folder_made_otherwise_is_refused_and_left(root, tmp_path, option, capsys):
    assert run(root, tmp_path / "out") == 0
    before = sums(tmp_path / "out")
    name, value = option
    again = (
        run(root, tmp_path / "out", noise=value)
        if name == "noise"
        else run(root, tmp_path / "out", *option)
    )
    assert again == 2
    assert f"made with another {name.strip('-')}" in capsys.readouterr().err
    assert sums(tmp_path / "out") == before


def test_a_folder_of_something_else_and_the_data_set_itself_are_refused(root, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    folder = write_folder(tmp_path / "folder")
    before = sums(tmp_path)
    for data, out in (
        (root, tmp_path / "mine"),
        (root, root),
        (root, root / "train/000003/depth"),
        (folder, folder / "images/new"),
        (root, root / "train/000003/rgb"),
    ):
        assert run(data, out) == 2
        assert "choose another --out" in capsys.readouterr().err
    (tmp_path / "mine/depth.yaml").write_text("{")
    assert run(root, tmp_path / "mine") == 2
    (tmp_path / "mine/depth.yaml").unlink()
    assert sums(tmp_path) == before


def test_what_cannot_be_meant_ends_the_command_before_anything_is_written(root, tmp_path, capsys):
    assert run(root, tmp_path / "out", noise="fog:1") == 2
    assert "no model 'fog'; known: gaussian" in capsys.readouterr().err
    assert main(["noise", str(root), "--out", str(tmp_path / "out")]) == 2
    assert "noise needs --depth-noise" in capsys.readouterr().err
    bare = write_onboarding(tmp_path / "bare", depth=None)
    assert run(bare, tmp_path / "out") == 2
    assert "there is no depth to add noise to" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def float_set(root, kind, values):
    write_folder(root)
    for file in (root / "depth").iterdir():
        file.unlink()
    for file in (root / "images").rglob("*.*"):
        np.save(root / "depth" / f"{file.stem}.npy", values.astype(np.float32))
    (root / "dataset.yaml").write_text(f"depth: {{kind: {kind}}}")
    return root


@pytest.mark.parametrize("kind", ["metric", "disparity", "relative"])
def test_float_maps_are_spread_over_16_bits_with_room_for_noise(tmp_path, kind):
    values = np.linspace(-3 if kind == "relative" else 0.2, 70, 32 * 24).reshape(24, 32)
    values[0, :4] = np.nan
    root = float_set(tmp_path / "data", kind, values)
    out = tmp_path / "out"
    images = open_dataset(root)
    done = write_noisy_depth(images, out, "scale:0.2", 0)
    assert (done.kept, done.beyond) == (0, 0)
    found = open_dataset(root, depth_folder=str(out))
    assert found.depth_info.kind == kind
    (depth, valid), (clean, measured) = found.depth(0), images.depth(0)
    assert torch.equal(valid, measured)
    if kind == "relative":
        depth = depth - depth[valid].min() + 1.2 * clean[valid].min()
    assert torch.allclose(depth[valid], 1.2 * clean[valid], atol=2e-3)


def test_a_constant_map_is_written_too(tmp_path):
    root = float_set(tmp_path / "data", "relative", np.full((24, 32), 2.0))
    write_noisy_depth(open_dataset(root), tmp_path / "out", "none", 0)
    depth, valid = open_dataset(root, depth_folder=str(tmp_path / "out")).depth(0)
    assert valid.all()
    assert len(depth.unique()) == 1


def test_metric_numbers_beyond_16_bits_are_lost_and_relative_ones_held(tmp_path, capsys):
    values = np.array([[0.4, 1.0, 65535.0, 65536.0, 9.0]])
    valid = np.array([[True, True, True, True, False]])
    for kind, last in (("metric", 0), ("disparity", 0), ("relative", 65535)):
        stored, beyond = Coding(1.0, 0.0, kind).encode(values, valid)
        assert stored.tolist() == [[1, 1, 65535, last, 0]]
        assert beyond == 1
    root = write_bop(tmp_path / "data")
    assert run(root, tmp_path / "out", noise="offset:10") == 0
    assert "pixels lay beyond what 16 bits hold" in capsys.readouterr().out


def test_depth_from_another_folder_gets_the_noise_and_images_without_depth_none(root, tmp_path):
    for name in ("000000", "000015"):
        (root / f"val/000001/depth/{name}.png").unlink()
    assert run(root, tmp_path / "once", noise="offset:0.1") == 0
    assert not (tmp_path / "once/val/000001/000000.png").exists()
    assert (
        run(root, tmp_path / "twice", "--depth-folder", str(tmp_path / "once"), noise="offset:0.1")
        == 0
    )
    depth, valid = open_dataset(root, depth_folder=str(tmp_path / "twice")).depth(0)
    assert torch.allclose(
        depth[valid], torch.from_numpy(scene(0)[1]).float()[valid[0]] + 0.2, atol=3e-4
    )
