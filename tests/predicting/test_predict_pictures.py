"""`dealseg predict` on image files, as a user calls it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from make_folder import write_folder
from PIL import Image

from dealseg.data.mask_set import open_masks
from dealseg.draw import overlay
from dealseg.models.runs import write_config
from dealseg.predicting import PredictOptions, load_predictor
from fake_networks import write_run
from small_segmenters import picture, read_mask, save_picture

SIZES = {"a": (48, 64), "b/c": (48, 64), "b/d": (70, 33), "b/e f": (48, 64), "g": (20, 150)}


@pytest.fixture
def images(tmp_path):
    for seed, (name, size) in enumerate(SIZES.items()):
        save_picture(tmp_path / f"images here/{name}.png", picture(seed, *size))
    return tmp_path / "images here"


def contents(folder: Path):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("batch", [1, 3])
def test_masks_are_the_segmenters_own_for_every_image_below_a_folder(
    tmp_path, run, segmenter, images, batch
):
    out = tmp_path / "out"
    told = run("predict", segmenter.folder, images, "--out", out, "--batch-size", batch)
    assert (told.code, told.err) == (0, "")
    assert re.fullmatch(rf"5 masks made in {out}/masks, [\d.]+ images a second\n", told.out)
    values = set()
    for name, size in SIZES.items():
        mask = read_mask(out / f"masks/{name}.png")
        assert mask.shape == size
        assert np.array_equal(mask, segmenter.model.predict(images / f"{name}.png"))
        values |= set(np.unique(mask).tolist())
    assert values == {0, 1, 2}


def test_the_confidence_is_the_mean_probability_of_the_winner(tmp_path, run, segmenter):
    pixels = picture(0, 64, 64)  # of the size the network sees, so nothing is resized
    save_picture(tmp_path / "images/a.png", pixels)
    run("predict", segmenter.folder, tmp_path / "images/a.png", "--out", tmp_path / "out")
    with torch.no_grad():
        logits = segmenter.model(torch.tensor(pixels).permute(2, 0, 1)[None] / 255)
    expected = float(logits.softmax(1).max(1).values.mean())
    said = json.loads((tmp_path / "out/labels.json").read_text())
    assert said["masks"] == {"a": {"confidence": pytest.approx(expected, abs=6e-5), "ignored": 0.0}}


def test_predictions_are_judged_and_opened_like_labels(tmp_path, run, segmenter):
    data = write_folder(tmp_path / "data")
    (data / "splits").mkdir()
    (data / "splits/val.txt").write_text("a\nc\n")
    told = run("predict", segmenter.folder, data, "--split", "val", "--out", tmp_path / "out")
    assert told.code == 0
    masks = open_masks(tmp_path / "out")
    assert (masks.names, masks.classes, masks.split) == (("a", "c"), ("cup", "plate"), "val")
    assert masks.data_root == data.resolve()
    assert 1 / 3 <= masks.confidence("a") <= 1
    assert masks.facts["tags"] == "none"
    judged = run("evaluate", tmp_path / "out", data, "--split", "val")
    assert (judged.code, judged.err) == (0, "")
    assert "mIoU" in judged.out


def test_the_same_call_goes_on_and_ends_with_the_same_bytes(tmp_path, run, segmenter, images):
    words = ("predict", segmenter.folder, images, "--overlay", "--out", tmp_path / "out")
    assert run(*words).code == 0
    whole = contents(tmp_path / "out")
    assert len(whole) == 2 * len(SIZES) + 1
    for name in ("masks/b/c.png", "overlays/g.jpg", "labels.json"):
        (tmp_path / "out" / name).unlink()
    before = (tmp_path / "out/masks/a.png").stat().st_mtime_ns
    told = run(*words)
    assert told.code == 2
    assert "is not an empty folder" in told.err  # nothing says any more whose masks these are
    (tmp_path / "out/labels.json").write_bytes(whole["labels.json"])
    assert "2 masks made, 3 kept from before" in run(*words).out
    assert contents(tmp_path / "out") == whole
    assert (tmp_path / "out/masks/a.png").stat().st_mtime_ns == before


def test_an_interrupted_call_goes_on(tmp_path, run, segmenter, images, monkeypatch):
    words = ("predict", segmenter.folder, images, "--out", tmp_path / "out", "--threads", "1")
    run(*words)
    whole = contents(tmp_path / "out")
    words = (*words[:4], tmp_path / "again", *words[5:])
    good = (images / "g.png").read_bytes()
    (images / "g.png").write_bytes(good[:100])
    told = run(*words)
    assert told.code == 2
    assert f"{images}/g.png: " in told.err
    assert (tmp_path / "again/.labels.part.json").is_file()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "again").rglob("*.png")}
    (images / "g.png").write_bytes(good)
    assert run(*words).code == 0
    assert contents(tmp_path / "again") == whole
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())


def test_masks_made_otherwise_are_not_touched(tmp_path, run, segmenter, images):
    words = ("predict", segmenter.folder, images, "--out", tmp_path / "out")
    run(*words)
    before = contents(tmp_path / "out")
    told = run(*words, "--window", "48")
    assert told.code == 2
    assert "holds masks made with another long_side" in told.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    told = run(*words[:4], tmp_path / "mine")
    assert told.code == 2
    assert (tmp_path / "mine/file").read_text() == "mine"
    assert contents(tmp_path / "out") == before


def test_overlays_are_the_masks_laid_over_the_images(tmp_path, run, segmenter, images):
    run("predict", segmenter.folder, images, "--overlay", "--out", tmp_path / "out")
    for name in SIZES:
        with Image.open(images / f"{name}.png") as image:
            expected = overlay(
                np.asarray(image), read_mask(tmp_path / f"out/masks/{name}.png"), outline=False
            )
        with Image.open(tmp_path / f"out/overlays/{name}.jpg") as found:
            apart = np.abs(np.asarray(found).astype(int) - expected)
        assert np.median(apart) <= 12  # JPEG, and the white borders


def test_pictures_are_seen_upright_and_in_eight_bit_colour(tmp_path, run, segmenter):
    folder, pixels = tmp_path / "images", picture(3)
    grey = (picture(4)[..., 0].astype(np.uint16) << 8) + 77
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn by 90 degrees clockwise
    save_picture(folder / "turned.png", pixels, exif=exif)
    save_picture(folder / "grey16.png", grey)
    save_picture(folder / "alpha.png", np.dstack([pixels, pixels[..., 0]]))
    save_picture(folder / "scan.tif", pixels)
    save_picture(folder / "UPPER.PNG", pixels)
    assert run("predict", segmenter.folder, folder, "--out", tmp_path / "out").code == 0
    high = np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, 2)
    seen = {"turned": np.rot90(pixels, -1), "grey16": high}
    seen |= dict.fromkeys(("alpha", "scan", "UPPER"), pixels)
    for name, expected in seen.items():
        mask = segmenter.model.predict(np.ascontiguousarray(expected))
        assert np.array_equal(read_mask(tmp_path / f"out/masks/{name}.png"), mask), name


def test_unreadable_images_are_passed_over_if_told(tmp_path, run, segmenter, images):
    (images / "b/broken.jpg").write_bytes(b"no picture")
    words = ("predict", segmenter.folder, images, "--out", tmp_path / "out")
    told = run(*words, "--skip-unreadable")
    assert told.code == 1
    assert "5 masks made" in told.out
    assert f"passed over: {images}/b/broken.jpg: this image is not a" in told.out
    said = json.loads((tmp_path / "out/labels.json").read_text())
    assert (said["images"], said["unreadable"]) == (5, ["b/broken"])


def test_a_window_larger_than_the_image_changes_nothing(tmp_path, run, segmenter, images):
    words = ("predict", segmenter.folder, images, "--out")
    run(*words, tmp_path / "plain", "--long-side", "64")
    run(*words, tmp_path / "window", "--long-side", "64", "--window", "64")
    for name in SIZES:
        plain = (tmp_path / f"plain/masks/{name}.png").read_bytes()
        assert (tmp_path / f"window/masks/{name}.png").read_bytes() == plain


def test_windows_see_the_image_at_its_own_size(tmp_path, segmenter):
    pixels = torch.tensor(picture(0, 80, 120)).permute(2, 0, 1)[None]
    predictor = load_predictor(Path(segmenter.folder), PredictOptions(device="cpu", window=120))
    with torch.no_grad():
        expected = segmenter.model(pixels / 255).argmax(1)[0]
    assert torch.equal(predictor.predict(pixels)[0].mask, expected.byte())
    smaller = load_predictor(Path(segmenter.folder), PredictOptions(device="cpu", window=64))
    agree = (smaller.predict(pixels)[0].mask == expected).float().mean()
    assert 0.5 < agree < 1


def test_half_precision_gives_nearly_the_same_mask(segmenter):
    pixels = torch.stack([torch.tensor(picture(seed)).permute(2, 0, 1) for seed in range(4)])
    masks = {}
    for precision in ("32-true", "bf16-mixed"):
        options = PredictOptions(device="cpu", precision=precision)
        predictor = load_predictor(Path(segmenter.folder), options)
        masks[precision] = torch.stack([each.mask for each in predictor.predict(pixels)])
        assert precision[:2] in predictor.settings()["precision"] + "32-true"
    agree = (masks["32-true"] == masks["bf16-mixed"]).float().mean()
    assert 0.9 < agree < 1


def test_a_first_stage_run_predicts_its_tags_and_says_so(tmp_path, run):
    data = write_folder(tmp_path / "data")
    write_run(tmp_path / "run")
    told = run("predict", tmp_path / "run", data, "--out", tmp_path / "out")
    assert told.code == 0
    assert told.out.startswith("a first-stage run: classes come from its own tag predictions")
    words = ("label", tmp_path / "run", data, "--tags", "predicted", "--out")
    assert run(*words, tmp_path / "labels").code == 0
    for name in "abcd":
        expected = read_mask(tmp_path / f"labels/masks/{name}.png")
        assert np.array_equal(read_mask(tmp_path / f"out/masks/{name}.png"), expected)
    said = json.loads((tmp_path / "out/labels.json").read_text())
    assert said["tags"] == "predicted"
    assert (said["threshold"], said["threshold_origin"]) == (0.4, "method")


def test_the_layout_is_recorded_of_a_data_set_and_not_of_plain_images(tmp_path, run, segmenter):
    recorded = []
    for name, options in (("data", ()), ("images", ("--format", "images"))):
        data = write_folder(tmp_path / "data")
        out = tmp_path / f"out-{name}"
        assert run("predict", segmenter.folder, data, "--out", out, *options).code == 0
        recorded.append(json.loads((out / "labels.json").read_text()).get("data_format"))
    assert recorded == ["folder", None]


def test_a_run_whose_threshold_is_auto_says_that_it_takes_the_methods(tmp_path, run):
    made = write_run(tmp_path / "run")
    label = replace(made.config.label, threshold="auto")
    write_config(made.path, replace(made.config, label=label), made.facts)
    save_picture(tmp_path / "a.png", picture(0))
    told = run("predict", tmp_path / "run", tmp_path / "a.png", "--out", tmp_path / "out")
    assert (told.code, told.err) == (0, "")
    assert "threshold 0.4 (the method's: the run says auto, which dealseg label finds" in told.out
    said = json.loads((tmp_path / "out/labels.json").read_text())
    assert (said["threshold"], said["threshold_origin"]) == (0.4, "method")


@pytest.mark.parametrize("given", ["folder", "glob"])
def test_masks_written_below_the_images_are_not_looked_at(tmp_path, run, segmenter, images, given):
    (tmp_path / "work").mkdir()
    top = images.rename(tmp_path / "work/images")
    out, what = (
        (top / "out", top) if given == "folder" else (top.parent / "out", f"{top.parent}/**/*")
    )
    words = ("predict", segmenter.folder, what, "--overlay", "--out", out)
    assert run(*words).code == 0
    whole = contents(out)
    assert len(whole) == 2 * len(SIZES) + 1
    assert "0 masks made, 5 kept" in run(*words).out
    assert contents(out) == whole


def test_globs_and_files_keep_their_names_below_their_common_folder(
    tmp_path, run, segmenter, images
):
    given = {
        "glob": [f"{images}/**/*.png"],
        "one": [images / "b/c.png"],
        "some": [images / "a.png", images / "b/d.png"],
        "part": [f"{images}/b/*.png"],
    }
    found = {}
    for name, words in given.items():
        assert run("predict", segmenter.folder, *words, "--out", tmp_path / name).code == 0
        found[name] = list(open_masks(tmp_path / name).names)
    assert found["glob"] == sorted(SIZES)
    assert found["one"] == ["c"]
    assert found["some"] == ["a", "b/d"]
    assert found["part"] == ["c", "d", "e f"]


def test_mistakes_are_said_in_one_line_and_write_nothing(tmp_path, run, segmenter, images):
    save_picture(images / "a.jpg", picture(0))
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "out")
    one, seg = images / "a.png", segmenter.folder
    cases = [
        ((seg, images, *out), "a.png: has the same name as a.jpg; keep one of the two"),
        ((seg, images / "a.jpg", one, *out), "has the same name as"),
        ((seg, images / "none.png", *out), "none.png: there is no such file or folder"),
        ((seg, f"{images}/*.gif", *out), "*.gif: no file has such a name"),
        ((seg, tmp_path / "empty", *out), "empty: there are no images here"),
        ((seg, images, "--split", "val", *out), "expected images/ (folder format)"),
        ((seg, one, "--split", "val", *out), "split and format are for data sets"),
        ((seg, images / "b", one, *out), "b: is not an image; give one folder alone"),
        ((seg, one), "there is nowhere to write the masks; give --out FOLDER"),
        ((seg, one, *out, "--video", "v.mp4"), "video and frames are for a video file"),
        ((seg, one, *out, "--batch-size", "0"), "batch_size must be at least 1, got 0"),
        ((seg, one, *out, "--window", "8"), "window must be at least 32 pixels, got 8"),
        ((seg, one, *out, "--overlap", "1"), "overlap must be from 0 to 0.9, got 1"),
        ((images, one, *out), "not a model; give the folder of dealseg train-segmenter"),
        ((tmp_path / "x.onnx", one, *out), "x.onnx: no such file"),
    ]
    for words, expected in cases:
        told = run("predict", *words)
        assert (told.code, told.out) == (2, ""), words
        assert told.err.count("\n") == 1
        assert expected in told.err
        assert not (tmp_path / "out").exists(), words
