from dataclasses import replace

import pytest
import torch
from make_folder import write_folder

from dealseg.data import open_dataset
from dealseg.errors import CheckpointError, ConfigError, DataError
from dealseg.judging import RunScores, judge
from dealseg.labeling import LabelOptions, label_dataset
from dealseg.models import load_run
from fake_networks import fake_run, write_run
from fakes import MemoryDataset

OPTIONS = LabelOptions(scales=(1.0, 1.5))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_dataset(write_folder(tmp_path_factory.mktemp("data") / "set"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "one").path


@pytest.mark.parametrize("tags", ["auto", "predicted"])
@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.77, 1.0])
def test_a_run_and_the_masks_it_labels_get_the_same_figures(tmp_path, data, run, threshold, tags):
    options = replace(OPTIONS, threshold=threshold, tags=tags)
    label_dataset(load_run(run), data, tmp_path / "masks", options, "user")
    of_masks = judge(tmp_path / "masks", data, options, "default", split="all")
    of_run = judge(run, data, options, "user", split="all")
    assert repr(of_masks.fixed) == repr(of_run.fixed)  # NaN != NaN
    assert of_run.fixed.threshold == threshold
    assert (of_masks.images, of_masks.pixels) == (of_run.images, of_run.pixels) == (4, 4 * 24 * 32)
    assert of_masks.source.weights_sha256 == of_run.source.weights_sha256
    if round(100 * threshold) == 100 * threshold:
        assert of_run.curve[round(100 * threshold)] == of_run.fixed.mean_iou
    assert of_masks.oracle is None


def test_the_comparison_above_is_of_masks_that_are_neither_empty_nor_full(data, run):
    result = judge(run, data, OPTIONS, "default", split="all")
    assert len(set(result.curve)) > 20
    assert sum(0 < share < 1 for share in result.fixed.recall) >= 2
    assert result.oracle.mean_iou == max(result.curve)


def test_the_result_says_what_was_judged_and_how(data, run):
    result = judge(run, data, OPTIONS, "default", split="val")
    assert (result.source.kind, result.source.path) == ("run", str(run))
    assert result.source.tags == "data, else predicted"
    assert result.source.weights_sha256 == load_run(run).weights_sha256
    assert (result.split, result.fixed.threshold_origin) == ("val", "default")
    assert result.tags.images == 4
    told = judge(run, data, replace(OPTIONS, tags="predicted"), "user", split="all")
    assert (told.source.tags, told.fixed.threshold_origin) == ("predicted", "user")


def test_boundaries_are_computed_only_if_asked_for(data, run):
    result = judge(run, data, OPTIONS, "default", split="all", boundaries=False)
    assert result.fixed.boundary_iou is None


def test_only_images_with_ground_truth_are_scored():
    masks = [torch.zeros(6, 8, dtype=torch.uint8), None, torch.ones(6, 8, dtype=torch.uint8), None]
    dataset = MemoryDataset(masks, classes=("cup", "plate"))
    run = fake_run()
    names = [scored.name for scored in RunScores(run, dataset, LabelOptions(scales=(1.0,)))]
    assert names == ["000000", "000002"]
    assert run.model.calls == 2 * 2


def test_scores_can_be_gone_through_twice_with_the_same_result(data, run):
    scores = RunScores(load_run(run), data, OPTIONS)
    for one, other in zip(scores, scores, strict=True):
        assert one.name == other.name
        assert torch.equal(one.winner, other.winner)
        assert torch.equal(one.score, other.score)


def test_images_without_ground_truth_are_left_out_and_counted(tmp_path, run):
    root = write_folder(tmp_path / "set")
    (root / "masks/b.png").unlink()
    result = judge(run, open_dataset(root), OPTIONS, "default", split="all")
    assert (result.images, result.images_without_ground_truth) == (3, 1)


def test_without_any_ground_truth_the_error_says_so(tmp_path, run):
    root = write_folder(tmp_path / "set")
    for file in (root / "masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="none of the 4 images has a ground-truth mask"):
        judge(run, open_dataset(root), OPTIONS, "default", split="all")


def test_masks_come_finished_and_take_no_other_threshold(tmp_path, data, run):
    label_dataset(load_run(run), data, tmp_path / "masks", OPTIONS, "default")
    told = judge(tmp_path / "masks", data, OPTIONS, "default", split="all")
    assert (told.fixed.threshold, told.fixed.threshold_origin) == (0.4, "default")
    with pytest.raises(ConfigError, match=r"threshold 0\.2 cannot apply to finished masks"):
        judge(tmp_path / "masks", data, replace(OPTIONS, threshold=0.2), "user", split="all")


def test_missing_masks_are_refused_unless_a_subset_is_allowed(tmp_path, data, run):
    label_dataset(load_run(run), data, tmp_path / "masks", OPTIONS, "default")
    (tmp_path / "masks/masks/c.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 images .* no prediction: c"):
        judge(tmp_path / "masks", data, OPTIONS, "default", split="all")
    part = judge(tmp_path / "masks", data, OPTIONS, "default", split="all", allow_subset=True)
    assert part.subset


def test_masks_made_for_another_class_order_are_refused(tmp_path, data, run):
    label_dataset(load_run(run), data, tmp_path / "masks", OPTIONS, "default")
    manifest = tmp_path / "masks/labels.json"
    manifest.write_text(manifest.read_text().replace('"cup"', '"jug"'))
    with pytest.raises(DataError, match=r"labels\.json: the masks were made for the classes"):
        judge(tmp_path / "masks", data, OPTIONS, "default", split="all")


def test_sources_that_are_nothing_or_not_finished_are_refused(tmp_path, data):
    with pytest.raises(ConfigError, match="no such folder"):
        judge(tmp_path / "nowhere", data, OPTIONS, "default", split="all")
    run = write_run(tmp_path / "run").path
    with pytest.raises(ConfigError, match=r"weights\.safetensors: is a file; give the folder"):
        judge(run / "weights.safetensors", data, OPTIONS, "default", split="all")
    (run / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not finished"):
        judge(run, data, OPTIONS, "default", split="all")
    other = MemoryDataset([torch.zeros(4, 4, dtype=torch.uint8)])
    run = write_run(tmp_path / "other").path
    with pytest.raises(DataError, match="not those of the run"):
        judge(run, other, OPTIONS, "default", split="all")
