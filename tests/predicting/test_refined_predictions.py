"""Masks of networks without tags, refined along colours."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from make_folder import write_folder

from dealseg import Segmenter
from dealseg.errors import ConfigError
from dealseg.models.refined_logits import SOFTENING, refined_logits
from dealseg.predicting import PredictOptions, load_predictor
from dealseg.refine import METHODS
from fake_networks import write_run
from small_segmenters import picture, read_mask, save_picture

METHOD_NAMES = ("affinity", "crf")


def stepped(edge=18, guess=14, size=(24, 32)):
    """Return an image with a step of colour, and logits whose outline lies before it."""
    columns = torch.arange(size[1], dtype=torch.float32).expand(size)
    logits = torch.stack([(columns - guess + 0.5) / 3, torch.zeros(size), torch.full(size, -30.0)])
    return logits, torch.where(columns < edge, 0.3, 0.7).expand(3, *size).contiguous()


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_outline_moves_onto_the_step_of_colour(method):
    logits, image = stepped()
    assert (logits.argmax(0) == 1).sum(1).tolist() == [14] * 24
    assert (refined_logits(logits, image, method).argmax(0) == 1).sum(1).tolist() == [18] * 24


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_it_is_the_refinement_of_softened_probabilities_without_improbable_classes(method):
    logits, image = stepped()
    given = (logits[:2] / SOFTENING).softmax(0)[None]
    found = refined_logits(logits, image, method)
    expected = METHODS[method](given, image[None])[0]
    torch.testing.assert_close(found[:2], expected, atol=1e-4, rtol=0)
    assert not found[2].any()


def test_logits_without_a_probable_class_are_background():
    logits, image = stepped()
    logits[0] = 50
    assert not refined_logits(logits, image, "crf").argmax(0).any()


@pytest.mark.parametrize(("size", "expected"), [((48, 800), (38, 640)), ((30, 20), (30, 20))])
def test_small_logits_are_refined_at_the_images_size_but_no_larger_than_640(size, expected):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    assert refined_logits(torch.randn(3, 8, 12), image, "crf").shape == (3, *expected)


@pytest.fixture
def photo(tmp_path):
    pixels = picture(3, 60, 90)
    save_picture(tmp_path / "images/a.png", pixels)
    return tmp_path / "images", torch.tensor(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_predict_refines_a_segmenters_masks_and_says_so(tmp_path, run, segmenter, photo, method):
    folder, pixels = photo
    for name, more in (("plain", ()), ("refined", ("--refine", method))):
        assert run("predict", segmenter.folder, folder, "--out", tmp_path / name, *more).code == 0
    options = PredictOptions(refine=method)
    expected = load_predictor(Path(segmenter.folder), options).predict(pixels[None])
    found = read_mask(tmp_path / "refined/masks/a.png")
    assert np.array_equal(found, expected[0].mask.numpy())
    assert not np.array_equal(found, read_mask(tmp_path / "plain/masks/a.png"))
    said = {
        name: json.loads((tmp_path / name / "labels.json").read_text())
        for name in ("plain", "refined")
    }
    assert (said["plain"]["refine"], said["refined"]["refine"]) == ("none", method)
    assert said["plain"]["masks"] == said["refined"]["masks"]  # sure as before it is refined


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_segmenters_in_python_refine_as_the_command_does(run, segmenter, photo, tmp_path, method):
    words = ("--out", tmp_path / "out", "--refine", method)
    assert run("predict", segmenter.folder, photo[0], *words).code == 0
    model = Segmenter.from_pretrained(segmenter.folder, device="cpu")
    found = model.predict(photo[0] / "a.png", refine=method)
    assert np.array_equal(found, read_mask(tmp_path / "out/masks/a.png"))
    with pytest.raises(ConfigError, match="refine must be none, affinity, crf, got 'sharp'"):
        model.predict(photo[0] / "a.png", refine="sharp")


def test_refined_folders_are_not_gone_on_with_plainly(tmp_path, run, segmenter, photo):
    words = ("predict", segmenter.folder, photo[0], "--out", tmp_path / "out")
    assert run(*words, "--refine", "crf").code == 0
    again = run(*words)
    assert again.code == 2
    assert "refine" in again.err


def test_a_first_stage_run_refines_as_it_was_told_unless_predict_is_told_otherwise(tmp_path, run):
    folder = write_run(tmp_path / "run").path
    data = write_folder(tmp_path / "data")
    for name, more in (("own", ()), ("told", ("--refine", "crf"))):
        assert run("predict", folder, data, "--out", tmp_path / name, *more).code == 0
    said = [json.loads((tmp_path / n / "labels.json").read_text()) for n in ("own", "told")]
    assert [each["refine"] for each in said] == ["none", "crf"]


def test_refinement_and_windows_exclude_each_other():
    with pytest.raises(ConfigError, match="leave out --window or --refine"):
        PredictOptions(window=64, refine="crf")
