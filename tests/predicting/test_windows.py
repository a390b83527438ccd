from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dealseg.predicting.windows import window_starts, windowed_logits


@given(st.integers(1, 300), st.integers(1, 100), st.floats(0, 0.9))
@settings(max_examples=200, deadline=None)
def test_windows_cover_a_side_none_sticks_out_and_neighbours_overlap_as_told(
    length, window, overlap
):
    starts = window_starts(length, window, overlap)
    size = min(window, length)
    assert starts[0] == 0
    assert starts[-1] + size == length
    step = max(1, round(window * (1 - overlap)))
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(0 < gap <= step for gap in gaps)
    assert all(gap == step for gap in gaps[:-1])


def ramp(images):
    """A network whose answer depends on the place in the window."""
    height, width = images.shape[-2:]
    place = torch.arange(height)[:, None] * 10 + torch.arange(width)
    return images[:, :2] * (1 + place)


@pytest.mark.parametrize(("size", "window", "overlap"), [((40, 33), 16, 0.25), ((12, 50), 20, 0.5)])
def test_logits_are_the_mean_over_the_windows_that_see_a_pixel(size, window, overlap):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    total, seen = torch.zeros(2, 2, *size), torch.zeros(size)
    for top in window_starts(size[0], window, overlap):
        for left in window_starts(size[1], window, overlap):
            rows, columns = slice(top, top + window), slice(left, left + window)
            total[..., rows, columns] += ramp(images[..., rows, columns])
            seen[rows, columns] += 1
    assert seen.min() >= 1
    assert seen.max() > 1
    torch.testing.assert_close(windowed_logits(ramp, images, window, overlap), total / seen)


def test_an_image_that_fits_is_seen_whole_and_once():
    calls = []

    def network(images):
        calls.append(images)
        return ramp(images)

    images = torch.rand(1, 3, 20, 32)
    assert torch.equal(windowed_logits(network, images, 32, 0.25), ramp(images))
    assert len(calls) == 1
    assert calls[0] is images
