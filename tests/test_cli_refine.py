"""Refinement, the automatic threshold and the ignore band, through the commands."""

import json
import shutil

import numpy as np
import pytest
import yaml
from make_folder import write_folder
from PIL import Image

from dealseg.cli import main
from fake_networks import write_run

ONE = ("--scales", "1.0", "--flip", "false")


def call(capsys, *words):
    """Return the exit code, what was printed, and what went to the error stream."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


def ok(capsys, *words):
    code, out, err = call(capsys, *words)
    assert (code, err) == (0, "")
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run").path


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data")


def manifest(out):
    return json.loads((out / "labels.json").read_text())


def masks(out):
    found = {}
    for file in sorted((out / "masks").rglob("*.png")):
        with Image.open(file) as picture:
            found[file.stem] = np.asarray(picture)
    return found


def test_masks_are_refined_along_colour_and_depth_and_evaluate_agrees(tmp_path, capsys, run, data):
    words = (run, data, *ONE, "--refine", "crf", "--threshold", "0.4")
    told = ok(capsys, "label", *words, "--out", tmp_path / "m")
    assert told.endswith("threshold 0.4 (user)\nrefined by crf, along colour and depth\n")
    said = manifest(tmp_path / "m")
    assert (said["refine"], said["refine_depth"], said["depth_folder"]) == ("crf", "auto", "depth")
    assert said["images_refined_without_depth"] == 0
    of_run = ok(capsys, "evaluate", *words, "--out", tmp_path / "run.json")
    assert "refined by crf along colour, and depth where there is some" in of_run
    ok(capsys, "evaluate", tmp_path / "m", data, "--out", tmp_path / "masks.json")
    one, other = (
        json.loads((tmp_path / f"{each}.json").read_text())["fixed"] for each in ("run", "masks")
    )
    assert one == other
    ok(capsys, "label", run, data, *ONE, "--threshold", "0.4", "--out", tmp_path / "plain")
    plain, refined = masks(tmp_path / "plain"), masks(tmp_path / "m")
    assert any((plain[name] != refined[name]).any() for name in plain)


def test_depth_may_be_missing_or_unwanted_and_that_is_said(tmp_path, capsys, run, data):
    words = ("label", run, data, *ONE, "--refine", "affinity")
    told = ok(capsys, *words, "--refine-depth", "false", "--out", tmp_path / "colour")
    assert told.endswith("refined by affinity, along colour alone\n")
    (data / "depth/b.png").unlink()
    told = ok(capsys, *words, "--out", tmp_path / "some")
    assert "along colour and depth; colour alone in 1 of 4 images without depth" in told
    assert manifest(tmp_path / "some")["images_refined_without_depth"] == 1
    shutil.rmtree(data / "depth")
    told = ok(capsys, *words, "--out", tmp_path / "none")
    assert told.endswith("refined by affinity, along colour alone: the data has no depth\n")
    for name, mask in masks(tmp_path / "none").items():
        assert np.array_equal(mask, masks(tmp_path / "colour")[name])
    code, _, err = call(capsys, *words, "--refine-depth", "true", "--out", tmp_path / "all")
    assert code == 2
    assert "has no depth to refine along" in err
    assert err.count("\n") == 1


def test_the_depth_is_that_of_the_folder_asked_for(tmp_path, capsys, run, data):
    shutil.copytree(data / "depth", data / "other")
    for file in (data / "other").iterdir():
        with Image.open(file) as picture:
            turned = np.asarray(picture)[::-1].copy()
        Image.fromarray(turned).save(file)
    words = ("label", run, data, *ONE, "--refine", "crf")
    ok(capsys, *words, "--out", tmp_path / "one")
    ok(capsys, *words, "--depth-folder", "other", "--out", tmp_path / "two")
    assert manifest(tmp_path / "two")["depth_folder"] == "other"
    one, two = masks(tmp_path / "one"), masks(tmp_path / "two")
    assert any((one[name] != two[name]).any() for name in one)
    code, _, err = call(capsys, *words, "--out", tmp_path / "two")
    assert code == 2
    assert "another depth_folder ('other', now 'depth')" in err


def test_an_automatic_threshold_is_told_written_and_the_same_for_evaluate(
    tmp_path, capsys, run, data
):
    told = ok(capsys, "label", run, data, *ONE, "--threshold", "auto", "--out", tmp_path / "m")
    said = manifest(tmp_path / "m")
    assert said["threshold_origin"] == "auto (Otsu)"
    assert f"threshold {said['threshold']:g} (auto (Otsu))\n" in told
    result = tmp_path / "result.json"
    ok(capsys, "evaluate", run, data, *ONE, "--threshold", "auto", "--out", result)
    fixed = json.loads(result.read_text())["fixed"]
    assert fixed["threshold"] == said["threshold"]
    assert fixed["threshold_origin"] == "auto (Otsu)"


def test_undecided_pixels_are_told_and_evaluate_warns_of_them(tmp_path, capsys, run, data):
    told = ok(capsys, "label", run, data, *ONE, "--ignore", "0.05", "--out", tmp_path / "m")
    share = np.mean([(mask == 255).mean() for mask in masks(tmp_path / "m").values()])
    assert 0 < share < 1
    assert f"{share:.1%} of the pixels are undecided (255)\n" in told
    assert "WARNING: the masks leave" in ok(capsys, "evaluate", tmp_path / "m", data)


def test_what_the_run_says_of_labels_is_what_commands_do(tmp_path, capsys, run, data):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run/config.yaml"
    config = yaml.safe_load(path.read_text())
    label = {"threshold": "auto", "refine": "crf", "refine_depth": False, "ignore": 0.05}
    config["label"] |= {**label, "scales": [1.0], "flip": False}
    path.write_text(yaml.safe_dump(config))
    told = ok(capsys, "label", tmp_path / "run", data, "--out", tmp_path / "m")
    assert "(auto (Otsu and most stable))" in told
    assert "refined by crf, along colour alone\n" in told
    assert manifest(tmp_path / "m")["ignore"] == 0.05
    assert "refined by crf along colour alone" in ok(capsys, "evaluate", tmp_path / "run", data)
    ok(capsys, "label", tmp_path / "run", data, "--out", tmp_path / "p", "--refine", "none")
    told = ok(capsys, "predict", tmp_path / "run", data / "images", "--out", tmp_path / "predicted")
    assert "threshold 0.4" in told
    said = manifest(tmp_path / "predicted")
    assert (said["refine"], said["threshold_origin"]) == ("crf", "method")
    assert all(0 <= entry["confidence"] <= 1 for entry in said["masks"].values())


def test_training_writes_the_options_of_labels_into_the_run(tmp_path, capsys, trained):
    words = ("--label.threshold", "auto", "--label.refine=affinity", "--label.ignore", "0.1")
    ok(capsys, "train", trained.data, "--out", tmp_path / "run", *trained.train, *words)
    label = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["label"]
    assert (label["threshold"], label["refine"], label["ignore"]) == ("auto", "affinity", 0.1)
    ok(capsys, "label", tmp_path / "run", trained.data, "--split", "val", "--out", tmp_path / "m")
    assert manifest(tmp_path / "m")["refine"] == "affinity"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "high"), "--threshold: expected a number or 'auto', got high"),
        (("--threshold", "1.5"), "threshold must be in [0, 1], got 1.5"),
        (("--refine", "grabcut"), "--refine: expected one of 'none', 'affinity', 'crf'"),
        (("--refine_depth", "maybe"), "expected true or false or 'auto', got maybe"),
        (("--ignore", "1"), "ignore must be in [0, 1), got 1"),
        (("--ignore", "-0.1"), "ignore must be in [0, 1), got -0.1"),
        (("--refine", "crf", "--threshold", "0"), "above 0 and below 1 for refinement"),
        (("--refine", "crf", "--depth_folder", "away"), "away"),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(tmp_path, capsys, run, data, words, said):
    code, out, err = call(capsys, "label", run, data, "--out", tmp_path / "m", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "auto"), "threshold auto is for runs"),
        (("--refine", "crf"), "refine crf is for runs and segmenters"),
    ],
)
def test_finished_masks_are_judged_as_they_are(tmp_path, capsys, run, data, words, said):
    ok(capsys, "label", run, data, *ONE, "--out", tmp_path / "m")
    code, _, err = call(capsys, "evaluate", tmp_path / "m", data, *words)
    assert code == 2
    assert said in err
