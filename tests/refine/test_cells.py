"""The way from cells to pixels, against a loop over pixels and cells."""

import pytest
import torch
from scenes import scene

from dealseg.refine.cells import Look, to_pixels
from oracles import refine as oracle


def looks(kind, stride, factor=3.0, dtype=torch.float64):
    """Return the looks of pixels, and maps on cells."""
    _, image, depth, valid = (each[0] for each in scene(3, size=(11, 13), dtype=dtype))
    rows, columns = -(-11 // stride), -(-13 // stride)
    maps = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(4), dtype=dtype)
    if kind == "colour":
        return Look(factor * image), maps
    known = valid[0] if kind == "some depth" else None
    return Look(factor * image, depth[0], known, slack=0.6), maps


def expected(pixels, maps, stride):
    depth = pixels.colour[0] if pixels.depth is None else pixels.depth
    known = torch.full_like(depth, pixels.depth is not None).bool()
    known = known if pixels.valid is None else pixels.valid
    return oracle.to_pixels(maps, pixels.colour, depth, known, stride, pixels.slack)


@pytest.mark.parametrize("stride", [2, 3, 6])
@pytest.mark.parametrize("kind", ["colour", "depth", "some depth"])
def test_equals_the_loop_over_pixels_and_cells(kind, stride):
    pixels, maps = looks(kind, stride)
    found = to_pixels(maps, pixels.cells(stride), pixels, stride)
    torch.testing.assert_close(found, expected(pixels, maps, stride), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("kind", ["colour", "depth", "some depth"])
def test_values_stay_within_those_of_the_cells_however_unlike_the_pixels_are(kind):
    pixels, maps = looks(kind, 3, factor=200.0, dtype=torch.float32)
    found = to_pixels(maps, pixels.cells(3), pixels, 3)
    assert found.isfinite().all()
    assert found.min() >= maps.min()
    assert found.max() <= maps.max()


@pytest.mark.parametrize("kind", ["colour", "depth", "some depth"])
def test_a_constant_stays(kind):
    pixels, maps = looks(kind, 3)
    constant = torch.full_like(maps[:1], 0.7)
    found = to_pixels(constant, pixels.cells(3), pixels, 3)
    torch.testing.assert_close(found, torch.full_like(found, 0.7))
