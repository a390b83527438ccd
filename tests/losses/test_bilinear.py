import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dealseg.losses.bilinear import apply, at_size, extremes, mean_at_size, rectified, upsampling
from oracles import seam_losses as oracle

SIDES = st.integers(1, 40)
CELLS = st.integers(1, 12)


def random_maps(cells, number=2):
    return torch.randn(number, *cells, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("size", [(9, 11), (1, 1), (3, 4), (2, 9), (5, 7)])
def test_all_forms_of_resizing_equal_the_loops(size):
    maps = random_maps((3, 4))
    expected = np.array([oracle.resize(each, size) for each in maps.numpy()])
    large = apply(*upsampling((3, 4), size, maps), maps)
    np.testing.assert_allclose(large, expected, atol=1e-14)
    np.testing.assert_allclose(at_size(maps[None], size)[0], expected, atol=1e-14)
    np.testing.assert_allclose(mean_at_size(maps[None], size)[0], expected.mean((1, 2)), atol=1e-14)
    torch.testing.assert_close(rectified(maps, size, size), large.relu())


@settings(max_examples=60, deadline=None)
@given(st.tuples(CELLS, CELLS), st.tuples(SIDES, SIDES))
def test_extremes_are_those_of_the_large_map(cells, size):
    maps = random_maps(cells)
    large = at_size(maps[None], size)[0].flatten(1)
    low, high = extremes(maps, size)
    torch.testing.assert_close(low.flatten(), large.amin(1))
    torch.testing.assert_close(high.flatten(), large.amax(1))


@settings(max_examples=60, deadline=None)
@given(st.tuples(CELLS, CELLS), st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_rectified_is_upsampling_relu_and_resizing(cells, size, final):
    maps = random_maps(cells)
    expected = at_size(at_size(maps[None], size).relu(), final)[0]
    torch.testing.assert_close(rectified(maps, size, final), expected)


def test_extremes_reach_the_cells_they_come_from():
    maps = random_maps((4, 5)).requires_grad_()
    low, high = extremes(maps, (4, 5))
    for value in (low, high):
        (slope,) = torch.autograd.grad(value.sum(), maps, retain_graph=True)
        assert torch.equal(slope, (maps == value).double())
