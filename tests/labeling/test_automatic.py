import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from make_folder import write_folder

from dealseg.data import open_dataset
from dealseg.errors import DataError
from dealseg.judging import judge
from dealseg.labeling import (
    LabelOptions,
    automatic,
    label_dataset,
    score_dataset,
    with_threshold,
    writing,
)
from dealseg.labeling.writing import mask_of
from dealseg.metrics import otsu_bin
from fake_networks import fake_run, write_run
from fakes import MemoryDataset
from oracles import sureness as oracle

AUTO = LabelOptions(scales=(1.0,), auto_threshold=True, threshold=0.4)
ORIGIN, REFINED = "auto (Otsu)", "auto (Otsu and most stable)"
NOTHING = "method (auto found nothing to go by)"


@pytest.fixture
def data(tmp_path):
    return open_dataset(write_folder(tmp_path / "data"))


class Slopes(MemoryDataset):
    """Images that grow brighter from one corner to the other, each with its own steepness.

    All but one have a depth with a step in it.
    """

    def depth(self, index):
        if index == 1:
            return None
        height, width = self.masks[index].shape
        depth = torch.full((1, height, width), 4.0)
        depth[:, height // 2 :, width // 2 :] = 1.0
        return depth, torch.ones_like(depth, dtype=torch.bool)

    def image(self, index):
        height, width = self.masks[index].shape
        across, down = torch.linspace(0, 1, width), torch.linspace(0, 1, height)[:, None]
        bright = ((across + down) / 2) ** (index + 1)
        return (255 * bright * torch.tensor([1.0, 0.7, 0.2])[:, None, None]).to(torch.uint8)


@pytest.fixture
def slopes():
    masks = [torch.zeros(48, 64, dtype=torch.uint8)] * 4
    tags = [torch.tensor(row) for row in ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0])]
    return Slopes(masks, ("cup", "plate"), tag_rows=tags)


def pooled(images):
    """Return Otsu's threshold of the scores of images with a class, counted one by one."""
    counts = [0] * 100
    for _, scores in score_dataset(fake_run(), images, replace(AUTO, auto_threshold=False)):
        if scores.score.max() > 0:
            for score in scores.score.flatten().tolist():
                counts[min(99, int(score * 100))] += 1
    return otsu_bin(torch.tensor(counts)) / 100


def steadiest(images, options):
    """Return the threshold around which the share of object pixels of masks changes least."""
    shares = []
    for threshold in automatic.TRIED:
        told = replace(options, threshold=threshold, auto_threshold=False, ignore=0.0)
        scored = [scores for _, scores in score_dataset(fake_run(), images, told)]
        masks = [mask_of(scores, told)[0] for scores in scored if scores.score.max() > 0]
        shares.append(sum(float((mask > 0).float().mean()) for mask in masks) / len(masks))
    changes = oracle.changes_of_shares(shares)
    return automatic.TRIED[min(changes, key=changes.get)]


def settings(out):
    file = out / "labels.json"
    return json.loads((file if file.is_file() else out / ".labels.part.json").read_text())


def label(out, images, options=AUTO, origin=ORIGIN):
    return label_dataset(fake_run(), images, out, options, origin)


def test_the_threshold_splits_the_pooled_scores_of_the_images(data):
    expected = pooled(data)
    assert 0.1 < expected < 0.9
    options = replace(AUTO, ignore=0.05)
    found = with_threshold(fake_run(), data, options, "auto")
    assert found == (replace(options, threshold=expected, auto_threshold=False), ORIGIN)


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("refine", ["crf", "affinity"])
def test_with_refinement_it_is_midway_to_where_refined_masks_change_least(slopes, refine, depth):
    options = replace(AUTO, refine=refine, refine_depth="auto" if depth else False, ignore=0.05)
    found = with_threshold(fake_run(), slopes, options, "auto")
    split, steady = pooled(slopes), steadiest(slopes, options)
    assert refine == "affinity" or abs(split - steady) > 0.04
    expected = replace(options, threshold=round((split + steady) / 2, 2), auto_threshold=False)
    assert found == (expected, REFINED)


def test_a_threshold_that_is_told_is_kept_and_costs_nothing(data, monkeypatch):
    monkeypatch.setattr(automatic, "class_maps", lambda *_, **__: pytest.fail("images were scored"))
    told = replace(AUTO, auto_threshold=False, threshold=0.2)
    assert with_threshold(fake_run(), data, told, "user") == (told, "user")


@pytest.mark.parametrize(("count", "most"), [(0, 5), (5, 5), (6, 5), (1000, 200), (401, 200)])
def test_images_are_chosen_evenly_and_no_more_than_allowed(count, most):
    chosen = automatic.evenly(count, most)
    assert len(chosen) == min(count, most)
    steps = {later - earlier for earlier, later in pairwise(chosen)}
    assert all(count // most <= step <= count // most + 1 for step in steps) or count <= most
    assert all(0 <= index < count for index in chosen)


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_only_so_many_images_are_looked_at(monkeypatch, refine):
    masks = [torch.zeros(6, 8, dtype=torch.uint8)] * 9
    images = Slopes(masks, ("cup", "plate"), tag_rows=[torch.ones(2)] * 9)
    run = fake_run()
    monkeypatch.setattr(automatic, "MOST_IMAGES", 3)
    monkeypatch.setattr(automatic, "MOST_REFINED", 2)
    with_threshold(run, images, replace(AUTO, flip=False, refine=refine), ORIGIN)
    assert run.model.calls == (3 if refine == "none" else 3 + 2)


def test_without_any_class_the_own_threshold_stays_and_that_is_said(tmp_path):
    masks = [torch.zeros(6, 8, dtype=torch.uint8)]
    images = MemoryDataset(masks, ("cup", "plate"), tag_rows=[torch.zeros(2)])
    assert label(tmp_path / "out", images).options.threshold == 0.4
    assert settings(tmp_path / "out")["threshold_origin"] == NOTHING
    assert label(tmp_path / "out", images).kept == 1


def test_where_objects_fill_the_pictures_at_nearly_every_threshold_it_is_the_plain_one(data):
    options = replace(AUTO, refine="crf")
    assert int((automatic._shares(fake_run(), data, options) == 1).sum()) >= 12
    found = with_threshold(fake_run(), data, options, "auto")
    expected = replace(options, threshold=pooled(data), auto_threshold=False)
    assert found == (expected, ORIGIN)


def test_the_manifest_and_the_masks_are_those_of_the_threshold_that_was_found(tmp_path, data):
    done = label(tmp_path / "auto", data)
    assert done.options.threshold == pooled(data)
    told = replace(AUTO, auto_threshold=False, threshold=done.options.threshold)
    label(tmp_path / "told", data, told, "user")
    one, other = settings(tmp_path / "auto"), settings(tmp_path / "told")
    assert one == {**other, "threshold_origin": ORIGIN}
    for mask in (tmp_path / "told").rglob("*.png"):
        there = tmp_path / "auto" / mask.relative_to(tmp_path / "told")
        assert there.read_bytes() == mask.read_bytes()


@pytest.mark.parametrize(("refine", "origin"), [("none", ORIGIN), ("crf", REFINED)])
def test_an_interrupted_call_goes_on_with_the_threshold_it_found(
    tmp_path, slopes, monkeypatch, refine, origin
):
    out, scored, options = tmp_path / "out", writing.score_dataset, replace(AUTO, refine=refine)

    def breaking(*arguments):
        yield next(iter(scored(*arguments)))
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "score_dataset", breaking)
    with pytest.raises(KeyboardInterrupt):
        label(out, slopes, options, "auto")
    found = settings(out)["threshold"]
    monkeypatch.undo()
    monkeypatch.setattr(
        automatic, "class_maps", lambda *_, **__: pytest.fail("looked for it again")
    )
    done = label(out, slopes, options, "auto")
    assert (done.kept, done.options.threshold) == (1, found)
    assert (settings(out)["threshold"], settings(out)["threshold_origin"]) == (found, origin)


def test_masks_of_another_threshold_or_a_foreign_folder_are_refused_before_the_search(
    tmp_path, data, monkeypatch
):
    label(tmp_path / "out", data, replace(AUTO, auto_threshold=False), "user")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/text").write_text("mine")
    monkeypatch.setattr(automatic, "class_maps", lambda *_, **__: pytest.fail("images were scored"))
    with pytest.raises(DataError, match=r"another threshold \(0\.4, user; now auto\)"):
        label(tmp_path / "out", data)
    with pytest.raises(DataError, match="another scales"):
        label(tmp_path / "out", data, replace(AUTO, scales=(2.0,)))
    with pytest.raises(DataError, match="is not an empty folder"):
        label(tmp_path / "mine", data)


def test_masks_of_a_threshold_that_was_found_are_not_mixed_with_others(tmp_path, data):
    label(tmp_path / "out", data)
    with pytest.raises(DataError, match="another threshold"):
        label(tmp_path / "out", data, replace(AUTO, auto_threshold=False), "user")


def test_a_run_is_judged_at_the_threshold_that_labelling_finds(tmp_path, data):
    run = write_run(tmp_path / "run")
    done = label_dataset(run, data, tmp_path / "masks", AUTO, ORIGIN)
    result = judge(run.path, data, AUTO, ORIGIN, split="all")
    assert (result.fixed.threshold, result.fixed.threshold_origin) == (
        done.options.threshold,
        ORIGIN,
    )
    of_masks = judge(tmp_path / "masks", data, LabelOptions(), "default", split="all")
    assert repr(of_masks.fixed) == repr(result.fixed)
