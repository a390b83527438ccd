"""What is kept of how sure masks are: pixels that are ignored, and confidence."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from make_folder import write_folder
from PIL import Image

from dealseg.cam import threshold_mask
from dealseg.data import open_dataset
from dealseg.data.mask_set import open_masks
from dealseg.errors import ConfigError
from dealseg.evaluation import evaluate
from dealseg.judging import judge
from dealseg.labeling import (
    LabelOptions,
    class_maps,
    label_dataset,
    mask_path,
    score_dataset,
    writing,
)
from fake_networks import write_run
from oracles import sureness as oracle

PLAIN = LabelOptions(scales=(1.0,), threshold=0.4)
BAND = replace(PLAIN, ignore=0.1)
REFINED = replace(BAND, refine="affinity", ignore=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_dataset(write_folder(tmp_path_factory.mktemp("data") / "set"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture
def label(run, data):
    return lambda out, options=BAND: label_dataset(run, data, out, options, "user")


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def manifest(out):
    return json.loads((out / "labels.json").read_text())


@torch.no_grad()
def test_a_pixel_is_ignored_if_two_of_classes_and_threshold_are_close(tmp_path, data, run, label):
    label(tmp_path / "out")
    for index, name in enumerate(data.names):
        found = class_maps(
            run.model, data.image(index), data.tags(index), long_side=48, options=BAND
        )
        votes = torch.cat([torch.full((1, 24, 32), 0.4), found.maps])
        values = torch.cat([torch.zeros(1, dtype=torch.long), found.present + 1])
        ranked = torch.cat([votes, torch.full((1, 24, 32), -1.0)]).sort(0, descending=True)
        unsure = ranked.values[0] - ranked.values[1] < 0.1
        expected = torch.where(unsure, 255, values[ranked.indices[0]])
        assert np.array_equal(read(mask_path(tmp_path / "out", name)), expected.numpy())
        share = manifest(tmp_path / "out")["masks"][name]["ignored"]
        assert share == pytest.approx(float(unsure.float().mean()), abs=1e-4)
    assert 0.1 < manifest(tmp_path / "out")["masks"]["b"]["ignored"] < 0.9


def test_ignoring_changes_no_other_pixel_and_a_wider_band_ignores_more(tmp_path, data, label):
    masks = {}
    for band in (0.0, 0.05, 0.2):
        label(tmp_path / str(band), replace(PLAIN, ignore=band))
        masks[band] = np.stack([read(mask_path(tmp_path / str(band), n)) for n in data.names])
    ignored = {band: mask == 255 for band, mask in masks.items()}
    assert not ignored[0.0].any()
    assert ignored[0.05].sum() < ignored[0.2].sum()
    for band, mask in masks.items():
        assert np.array_equal(mask[~ignored[band]], masks[0.0][~ignored[band]])
        assert not (ignored[0.05] & ~ignored[0.2]).any()


@pytest.mark.parametrize("options", [BAND, REFINED], ids=["plain", "refined"])
def test_an_image_without_classes_is_background_and_nothing_of_it_is_ignored(
    tmp_path, label, options
):
    label(tmp_path / "out", options)
    assert manifest(tmp_path / "out")["masks"]["d"] == {"confidence": 1.0, "ignored": 0.0}
    assert not read(mask_path(tmp_path / "out", "d")).any()


def test_a_band_that_would_leave_no_background_is_refused():
    with pytest.raises(ConfigError, match=r"ignore must be below the threshold 0\.4, got 0\.5"):
        replace(PLAIN, ignore=0.5)
    replace(PLAIN, ignore=0.5, refine="crf")


@torch.no_grad()
@pytest.mark.parametrize("options", [BAND, REFINED], ids=["plain", "refined"])
def test_the_confidence_is_what_the_cams_let_expect_of_the_mask(run, data, options):
    for index, scores in score_dataset(run, data, options):
        found = class_maps(
            run.model, data.image(index), data.tags(index), long_side=48, options=options
        )
        mask = threshold_mask(scores.winner, scores.score, 0.4)
        values = [0, *(found.present + 1).tolist()]
        places = [[values.index(value) for value in row] for row in mask.tolist()]
        votes = [torch.full((24, 32), 0.4).tolist(), *found.maps.tolist()]
        assert scores.confidence == pytest.approx(oracle.expected_mean_iou(votes, places), abs=1e-5)


def test_with_predicted_tags_it_is_the_probability_that_all_tags_are_right(run, data):
    options = LabelOptions(scales=(1.0,), tags="predicted")
    for _, scores in score_dataset(run, data, options):
        expected = 1.0
        for probability in scores.tag_scores.tolist():
            expected *= probability if probability > 0.5 else 1 - probability
        assert scores.confidence == pytest.approx(expected, rel=1e-5)


def test_readers_of_masks_find_the_confidence(tmp_path, data, run, label):
    label(tmp_path / "out")
    masks = open_masks(tmp_path / "out")
    for index, scores in score_dataset(run, data, BAND):
        assert masks.confidence(data.names[index]) == float(f"{scores.confidence:.4g}")


@pytest.mark.parametrize("options", [BAND, REFINED], ids=["plain", "refined"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_interrupted_call_gives_the_same_manifest_in_the_end(
    tmp_path, label, monkeypatch, options, at
):
    label(tmp_path / "undisturbed", options)
    scored = writing.score_dataset

    def breaking(*arguments):
        for count, item in enumerate(scored(*arguments)):
            if count == at:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(writing, "score_dataset", breaking)
    with pytest.raises(KeyboardInterrupt):
        label(tmp_path / "out", options)
    monkeypatch.undo()
    assert label(tmp_path / "out", options).kept == at
    assert (tmp_path / "out/labels.json").read_bytes() == (
        tmp_path / "undisturbed/labels.json"
    ).read_bytes()


def test_masks_begun_before_confidence_was_kept_are_made_again_with_it(tmp_path, data, label):
    label(tmp_path / "new", PLAIN)
    label(tmp_path / "old", PLAIN)
    said = manifest(tmp_path / "old")
    for key in ("refine", "refine_depth", "ignore", "masks"):
        del said[key]
    (tmp_path / "old/labels.json").write_text(json.dumps(said))
    for name in data.names:
        path = mask_path(tmp_path / "old", name)
        Image.open(path).save(path)  # without the text
    assert open_masks(tmp_path / "old").confidence("a") is None
    before = evaluate(tmp_path / "old", data)
    done = label(tmp_path / "old", PLAIN)
    assert (done.kept, done.written) == (0, 4)
    assert manifest(tmp_path / "old") == manifest(tmp_path / "new")
    assert repr(evaluate(tmp_path / "old", data).fixed) == repr(before.fixed)


def test_undecided_pixels_are_left_out_of_the_evaluation_and_that_is_said(tmp_path, data, label):
    label(tmp_path / "out")
    result = evaluate(tmp_path / "out", data)
    shares = [entry["ignored"] for entry in manifest(tmp_path / "out")["masks"].values()]
    assert result.undecided_share == pytest.approx(sum(shares) / 4, abs=1e-3)
    assert "undecided: figures of the rest" in result.table()
    assert result.as_dict()["undecided_share"] == result.undecided_share
    label(tmp_path / "whole", PLAIN)
    right = total = 0
    for index, name in enumerate(data.names):
        mask, truth = read(mask_path(tmp_path / "out", name)), data.mask(index).numpy()
        judged = (mask != 255) & (truth == 1)
        right += (mask[judged] == 1).sum()
        total += judged.sum()
    assert result.fixed.recall[1] == pytest.approx(right / total)
    assert "figures of the rest" not in evaluate(tmp_path / "whole", data).table()


@pytest.mark.parametrize("refine", ["affinity", "crf"])
def test_a_refined_run_and_its_refined_masks_get_the_same_figures(
    tmp_path, data, run, label, refine
):
    options = replace(PLAIN, refine=refine)
    label(tmp_path / "masks", options)
    of_run = judge(run.path, data, options, "user", split="all")
    of_masks = judge(tmp_path / "masks", data, LabelOptions(), "default", split="all")
    assert repr(of_run.fixed) == repr(of_masks.fixed)
    assert of_run.curve[40] == of_run.fixed.mean_iou
    plain = judge(run.path, data, PLAIN, "user", split="all")
    assert of_run.fixed.mean_iou != plain.fixed.mean_iou
    assert f"refined by {refine} along colour, and depth where there is some" in of_run.table()
    assert "refined once, at the fixed threshold" in of_run.as_dict()["oracle"]["note"]
    assert "refined by" not in plain.table()
    assert of_masks.source.refinement == refine
