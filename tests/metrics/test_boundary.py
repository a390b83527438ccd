import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import ndimage

from dealseg.metrics.boundary import boundary_counts, boundary_iou, contour_counts, contour_f
from oracles import boundary as oracle


def blobs(seed, classes=4, shape=(17, 23), ignored=0.1, cell=5):
    """Two label maps of rough blobs, the second with ignored patches."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (math.ceil(side / cell) for side in shape)
    maps = []
    for _ in range(2):
        coarse = torch.randint(classes, (rows, columns), generator=generator)
        fine = coarse.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[: shape[0], : shape[1]]
        noise = torch.rand(shape, generator=generator) < 0.05
        maps.append(torch.where(noise, torch.randint(classes, shape, generator=generator), fine))
    maps[1][torch.rand(shape, generator=generator) < ignored] = 255
    return maps[0].to(torch.uint8), maps[1].to(torch.uint8)


def mask_with(rows, columns, shape=(40, 40)):
    mask = torch.zeros(shape, dtype=torch.uint8)
    mask[rows, columns] = 1
    return mask


@pytest.mark.parametrize("ignored", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("ratio", [0.02, 0.1, 0.9])
def test_bands_equal_the_loops_over_pixels(ratio, ignored):
    for seed in range(2):
        prediction, truth = blobs(seed, ignored=ignored)
        ours = boundary_counts(prediction, truth, 4, ratio=ratio).tolist()
        assert ours == oracle.boundary_counts(prediction.tolist(), truth.tolist(), 4, ratio)


@pytest.mark.parametrize("ignored", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("tolerance", [0.0, 0.03, 0.1, 0.9])
def test_contours_equal_the_loops_over_pixels(tolerance, ignored):
    for seed in range(2):
        prediction, truth = blobs(seed, ignored=ignored)
        ours = contour_counts(prediction, truth, 4, tolerance=tolerance).tolist()
        assert ours == oracle.contour_counts(prediction.tolist(), truth.tolist(), 4, tolerance)


def test_more_than_eight_classes_in_a_picture_equal_the_loops_over_pixels():
    prediction, truth = blobs(3, classes=19, cell=2)
    ours = contour_counts(prediction, truth, 20).tolist()
    assert ours == oracle.contour_counts(prediction.tolist(), truth.tolist(), 20, 0.008)


@pytest.mark.parametrize("seed", range(3))
def test_bands_equal_erosion_by_scipy_where_nothing_is_ignored(seed):
    prediction, truth = blobs(seed, ignored=0.0, shape=(60, 80), cell=15)
    d = round(0.02 * 100)
    square = np.ones((2 * d + 1, 2 * d + 1), dtype=bool)

    def band(labels, c):
        mask = labels.numpy() == c
        return mask & ~ndimage.binary_erosion(mask, square, border_value=0)

    counts = boundary_counts(prediction, truth, 4)
    for c in range(4):
        ours, theirs = band(prediction, c), band(truth, c)
        assert counts[:, c].tolist() == [(ours & theirs).sum(), (ours | theirs).sum()]


def test_a_square_shifted_within_its_band_has_the_boundary_iou_counted_by_hand():
    # d = round(0.02 * 40 sqrt 2) = 1: rings of 36 pixels; two 10 x 10 rings one column apart
    # share the two horizontal sides without one pixel each.
    truth = mask_with(slice(10, 20), slice(10, 20))
    prediction = mask_with(slice(10, 20), slice(11, 21))
    counts = boundary_counts(prediction, truth, 2)
    assert counts[:, 1].tolist() == [18, 36 + 36 - 18]
    assert float(boundary_iou(counts)[1]) == pytest.approx(18 / 54)


@pytest.mark.parametrize(("shift", "score"), [(0, 1.0), (1, 1.0), (12, 0.0)])
def test_contours_match_within_the_tolerance_and_not_beyond(shift, score):
    # r = ceil(0.008 * 40 sqrt 2) = 1; a shift by 12 takes a square of 10 wholly away.
    truth = mask_with(slice(10, 20), slice(10, 20))
    prediction = mask_with(slice(10, 20), slice(10 + shift, 20 + shift))
    assert float(contour_f(contour_counts(prediction, truth, 2))[1]) == score


def test_a_straight_edge_moved_by_r_matches_and_by_one_more_does_not():
    # diagonal 500: r = 4, and round(0.02 * 500) = 10
    def half(column):
        return mask_with(slice(None), slice(column, None), shape=(300, 400))

    truth = half(200)
    assert contour_f(contour_counts(half(204), truth, 2)).tolist() == [1.0, 1.0]
    assert contour_f(contour_counts(half(205), truth, 2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_a_perfect_prediction_scores_one_for_every_class_there(seed):
    _, truth = blobs(seed)
    perfect = truth.masked_fill(truth == 255, 0)
    assert boundary_iou(boundary_counts(perfect, truth, 4)).tolist() == [1.0] * 4
    assert contour_f(contour_counts(perfect, truth, 4)).tolist() == [1.0] * 4


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_predictions_under_ignored_pixels_never_matter(seed):
    prediction, truth = blobs(seed, ignored=0.4)
    other, _ = blobs(seed + 1)
    changed = torch.where(truth == 255, other, prediction)
    for counts in (boundary_counts, contour_counts):
        assert torch.equal(counts(changed, truth, 4), counts(prediction, truth, 4))


def test_the_edge_of_an_ignored_region_is_no_outline():
    truth = torch.zeros(40, 40, dtype=torch.uint8)
    truth[10:30, 10:30] = 255
    inner = torch.zeros_like(truth)
    inner[11:29, 11:29] = 1
    assert int(contour_counts(inner, truth, 2).sum()) == 0
    plain = boundary_counts(inner, torch.zeros_like(truth).masked_fill(truth == 255, 255), 2)
    border = 4 * 39  # d = 1: only the picture's own border is a band of the background
    assert plain.tolist() == [[border, 0], [border, 0]]


def test_an_ignored_strip_as_in_voc_keeps_the_outline_of_the_object_inside_it():
    truth = mask_with(slice(100, 200), slice(100, 200), shape=(300, 400))
    ring = mask_with(slice(97, 203), slice(97, 203), shape=(300, 400)) - truth
    strip = truth.masked_fill(ring == 1, 255)
    good = mask_with(slice(98, 203), slice(99, 201), shape=(300, 400))
    bad = mask_with(slice(120, 180), slice(120, 180), shape=(300, 400))
    for counts, score in ((boundary_counts, boundary_iou), (contour_counts, contour_f)):
        assert score(counts(good, strip, 2)).tolist() == [1.0, 1.0]
        assert float(score(counts(bad, strip, 2))[1]) == 0.0


def test_permuting_the_classes_permutes_the_counts():
    prediction, truth = blobs(5)
    order = torch.tensor([2, 0, 3, 1])
    lookup = torch.full((256,), 255, dtype=torch.uint8)
    lookup[:4] = order.to(torch.uint8)
    for counts in (boundary_counts, contour_counts):
        after = counts(lookup[prediction.long()], lookup[truth.long()], 4)
        assert torch.equal(after[:, order], counts(prediction, truth, 4))


def test_swapping_prediction_and_truth_swaps_precision_and_recall():
    prediction, truth = blobs(6, ignored=0.0)
    forth, back = contour_counts(prediction, truth, 4), contour_counts(truth, prediction, 4)
    assert torch.equal(back, forth[[2, 3, 0, 1]])
    assert torch.equal(contour_f(back), contour_f(forth))


def test_a_class_in_one_mask_only_scores_zero_and_in_neither_nan():
    truth = torch.zeros(20, 20, dtype=torch.uint8)
    prediction = mask_with(slice(5, 15), slice(5, 15), shape=(20, 20))
    band = boundary_iou(boundary_counts(prediction, truth, 3)).tolist()
    contour = contour_f(contour_counts(prediction, truth, 3)).tolist()
    assert band[1] == contour[1] == 0.0
    assert math.isnan(band[2])
    assert math.isnan(contour[2])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_pictures_of_one_row_or_column_are_counted(shape):
    mask = torch.zeros(shape, dtype=torch.uint8)
    assert boundary_counts(mask, mask, 2).tolist() == [[mask.numel(), 0]] * 2
    assert int(contour_counts(mask, mask, 2).sum()) == 0


def test_a_picture_that_is_ignored_altogether_counts_nothing():
    truth = torch.full((6, 6), 255, dtype=torch.uint8)
    assert int(boundary_counts(torch.zeros_like(truth), truth, 3).sum()) == 0
    assert int(contour_counts(torch.zeros_like(truth), truth, 3).sum()) == 0
