import json

import pytest
import torch

from dealseg.cam import threshold_mask
from dealseg.evaluation import ScoredImage, evaluate
from fakes import MemoryDataset
from oracles import miou as oracle


def scene(images=4, seed=0, shape=(20, 24), ignored=0.1):
    """A data set of blocks and scores that are right half of the time."""
    generator = torch.Generator().manual_seed(seed)
    masks, scored = [], []
    for index in range(images):
        truth = torch.randint(4, (5, 6), generator=generator).repeat_interleave(4, 0)
        truth = truth.repeat_interleave(4, 1)[: shape[0], : shape[1]]
        score = torch.rand(shape, generator=generator) * (0.4 + 0.6 * (truth > 0))
        winner = torch.where(
            (truth > 0) & (torch.rand(shape, generator=generator) < 0.7),
            truth,
            torch.randint(1, 4, shape, generator=generator),
        )
        truth[torch.rand(shape, generator=generator) < ignored] = 255
        masks.append(truth.to(torch.uint8))
        scored.append(ScoredImage(f"{index:06d}", winner.to(torch.uint8), score))
    return MemoryDataset(masks), scored


def judge(images, dataset, **options):
    return evaluate(images, dataset, **{"threshold": 0.3, "threshold_origin": "default", **options})


def test_fixed_and_oracle_figures_equal_the_plain_loop_over_images_and_thresholds():
    dataset, scored = scene()
    result = judge(scored, dataset)
    truth = torch.stack(list(dataset.masks))
    winner = torch.stack([image.winner for image in scored])
    score = torch.stack([image.score for image in scored])
    curve = [oracle.mean_iou(table) for table in oracle.sweep(winner, score, truth, 4)]
    assert result.curve == pytest.approx(curve, abs=1e-12)
    assert result.fixed.mean_iou == pytest.approx(curve[30], abs=1e-12)
    assert result.oracle.mean_iou == pytest.approx(max(curve), abs=1e-12)
    assert result.oracle.threshold == result.thresholds[curve.index(max(curve))]
    table = oracle.confusion(threshold_mask(winner, score, 0.3), truth, 4)
    expected = [oracle.figures(table, c) for c in range(4)]
    fixed = result.fixed
    found = zip(
        fixed.iou,
        fixed.precision,
        fixed.recall,
        fixed.false_positive_share,
        fixed.false_negative_share,
        strict=True,
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_result_is_valid_json_that_names_what_was_evaluated():
    dataset, scored = scene()
    data = json.loads(judge(scored, dataset, split="val").to_json())
    assert data["split"] == "val"
    assert data["images"] == 4
    assert data["class_map"] == {"0": "background", "1": "cup", "2": "box", "3": "ball"}
    assert data["fixed"]["threshold_origin"] == "default"
