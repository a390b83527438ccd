import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torchmetrics.classification import MulticlassJaccardIndex

from dealseg.metrics.confusion import class_figures, confusion_matrix, iou, mean_iou
from oracles import miou as oracle


def random_pair(seed, classes=4, shape=(9, 13), ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, shape, generator=generator)
    truth[torch.rand(shape, generator=generator) < ignored] = 255
    prediction = torch.randint(classes, shape, generator=generator)
    return prediction.to(torch.uint8), truth.to(torch.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_confusion_equals_the_loop_over_pixels(seed):
    prediction, truth = random_pair(seed)
    assert confusion_matrix(prediction, truth, 4).tolist() == oracle.confusion(prediction, truth, 4)


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_their_definition_and_iou_and_the_shares_add_up_to_one(seed):
    prediction, truth = random_pair(seed)
    table = oracle.confusion(prediction, truth, 4)
    ours = class_figures(torch.tensor(table))
    for c in range(4):
        expected = oracle.figures(table, c)
        found = (
            ours.iou[c],
            ours.precision[c],
            ours.recall[c],
            ours.false_positive_share[c],
            ours.false_negative_share[c],
        )
        assert [float(value) for value in found] == pytest.approx(expected, abs=1e-15)
    total = ours.iou + ours.false_positive_share + ours.false_negative_share
    torch.testing.assert_close(total, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("present", [4, 6], ids=["all classes there", "two classes in neither"])
def test_mean_iou_agrees_with_torchmetrics(present):
    metric = MulticlassJaccardIndex(num_classes=6, ignore_index=255, average="macro")
    counts = torch.zeros(6, 6, dtype=torch.int64)
    for seed in range(3):
        prediction, truth = random_pair(seed, classes=present)
        metric.update(prediction.long(), truth.long())
        counts += confusion_matrix(prediction, truth, 6)
    assert float(mean_iou(counts)) == pytest.approx(float(metric.compute()), abs=1e-6)


def test_a_perfect_prediction_scores_one():
    _, truth = random_pair(0)
    perfect = confusion_matrix(truth.where(truth != 255, 2), truth, 4)
    assert float(mean_iou(perfect)) == 1.0


def test_a_square_shifted_by_half_has_iou_one_third():
    truth = torch.zeros(8, 12, dtype=torch.uint8)
    prediction = truth.clone()
    truth[2:6, 2:6] = 1
    prediction[2:6, 4:8] = 1
    assert float(iou(confusion_matrix(prediction, truth, 2))[1]) == pytest.approx(8 / 24)


def test_permuting_the_classes_permutes_the_figures():
    prediction, truth = random_pair(1)
    order = torch.tensor([2, 0, 3, 1])
    lookup = torch.full((256,), 255, dtype=torch.uint8)
    lookup[:4] = order.to(torch.uint8)
    before = confusion_matrix(prediction, truth, 4)
    after = confusion_matrix(lookup[prediction.long()], lookup[truth.long()], 4)
    assert torch.equal(after[order][:, order], before)
    assert torch.equal(iou(after)[order], iou(before))


@given(seed=st.integers(0, 2**31), noise=st.integers(0, 255))
@settings(max_examples=25, deadline=None)
def test_predictions_under_ignored_pixels_never_matter(seed, noise):
    prediction, truth = random_pair(seed)
    changed = torch.where(truth == 255, torch.full_like(prediction, noise), prediction)
    assert torch.equal(confusion_matrix(prediction, truth, 4), confusion_matrix(changed, truth, 4))


def test_a_class_in_neither_is_nan_and_left_out_of_the_mean():
    truth = torch.zeros(4, 4, dtype=torch.uint8)
    counts = confusion_matrix(truth, truth, 3)
    assert [math.isnan(value) for value in iou(counts).tolist()] == [False, True, True]
    assert float(mean_iou(counts)) == 1.0


def test_a_class_that_is_predicted_but_not_there_counts_as_zero():
    truth = torch.zeros(1, 4, dtype=torch.uint8)
    prediction = torch.tensor([[0, 0, 0, 1]], dtype=torch.uint8)
    assert float(mean_iou(confusion_matrix(prediction, truth, 3))) == pytest.approx(0.75 / 2)


def test_nothing_but_ignored_pixels_gives_nan():
    truth = torch.full((2, 2), 255, dtype=torch.uint8)
    assert math.isnan(mean_iou(confusion_matrix(truth, truth, 3)))


@pytest.mark.parametrize("value", [4, 37, 254])
def test_values_outside_the_classes_are_refused(value):
    good, bad = torch.zeros(2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)
    bad[0, 1] = value
    with pytest.raises(ValueError, match=f"predicted values must be 0 to 3 .*, got {value}"):
        confusion_matrix(bad, good, 4)
    with pytest.raises(ValueError, match=f"0 to 3 or 255 .ignored., got {value}"):
        confusion_matrix(good, bad, 4)


def test_a_number_of_classes_that_a_mask_cannot_hold_is_refused():
    mask = torch.zeros(2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="must be 1 to 254, got 255"):
        confusion_matrix(mask, mask, 255)
