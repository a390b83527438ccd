import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dealseg.depth import erode, measured, resample_valid, to_space, unit_range
from oracles import deal as oracle

PLANTED = [0.0, -1.0, 1e9, math.nan, math.inf, -math.inf]


def random_map(*size, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(1, 1, *size, generator=generator, dtype=dtype) + 0.5
    return values, torch.rand(1, 1, *size, generator=generator) > 0.3


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("metric", [False, False, True, False, False, False, True]),
        ("disparity", [False, False, True, False, False, False, True]),
        ("relative", [True, True, True, False, False, False, True]),
    ],
)
def test_measured_knows_the_codes_of_each_kind(kind, found):
    depth = torch.tensor([0.0, -1.0, 2.0, math.nan, math.inf, -math.inf, 1e-6]).reshape(1, 1, 1, 7)
    assert measured(depth, kind=kind).flatten().tolist() == found
    marked = torch.ones_like(depth, dtype=torch.bool)
    marked[..., 2] = False
    expected = [f and i != 2 for i, f in enumerate(found)]
    assert measured(depth, marked, kind).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("space", "kind", "expected"),
    [
        ("inverse", "metric", 1 / 4),
        ("log", "metric", math.log(4)),
        ("depth", "metric", 4.0),
        ("inverse", "disparity", 4.0),
        ("log", "disparity", math.log(4)),
        ("depth", "disparity", 1 / 4),
        ("inverse", "relative", 4.0),
    ],
)
@pytest.mark.parametrize("planted", PLANTED)
def test_spaces_express_four_and_zero_what_is_invalid(space, kind, expected, planted):
    depth, valid = torch.tensor([[[[4.0, planted]]]]), torch.tensor([[[[True, False]]]])
    value = to_space(depth, valid, space, kind)
    torch.testing.assert_close(value, torch.tensor([[[[expected, 0.0]]]]))


def test_a_slanted_plane_is_linear_in_inverse_depth_only():
    column = torch.arange(30, dtype=torch.float64)
    depth = (1 / (0.2 + 0.03 * column)).reshape(1, 1, 1, 30)
    valid = torch.ones_like(depth, dtype=torch.bool)
    curvature = {
        space: to_space(depth, valid, space).diff(n=2).abs().max().item()
        for space in ("inverse", "log", "depth")
    }
    assert curvature["inverse"] < 1e-12
    assert min(curvature["log"], curvature["depth"]) > 1e-3


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(5, 4), (6, 6), (12, 13), (20, 30), (1, 1)])
def test_resampling_equals_the_loops(mode, size):
    maps, valid = random_map(12, 13)
    kernel = {"bicubic": (oracle.cubic, 2), "bilinear": (oracle.triangle, 1)}[mode]
    expected, known = oracle.resample(maps[0, 0].numpy(), size, valid[0, 0].numpy(), *kernel)
    value, kept = resample_valid(maps, valid, size, mode=mode)
    np.testing.assert_array_equal(kept[0, 0].numpy(), known)
    np.testing.assert_allclose(value[0, 0].numpy(), expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(PLANTED), st.integers(0, 2**31))
def test_resampling_never_reads_an_invalid_pixel(height, width, planted, seed):
    maps, valid = random_map(17, 19, seed=seed)
    clean = resample_valid(maps, valid, (height, width))
    value = resample_valid(maps.masked_fill(~valid, planted), valid, (height, width))
    assert torch.equal(value[0], clean[0])
    assert torch.equal(value[1], clean[1])
    assert (value[0][~value[1]] == 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_resampling_keeps_a_constant(height, width, seed):
    maps, valid = random_map(17, 19, seed=seed)
    value, kept = resample_valid(torch.full_like(maps, 3.3), valid, (height, width))
    torch.testing.assert_close(value[kept], torch.full_like(value[kept], 3.3))


def test_a_cell_is_valid_when_enough_of_it_was_measured():
    maps, valid = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    valid[..., :3] = True
    kept = {
        enough: resample_valid(maps, valid, (1, 1), mode="bilinear", enough=enough)[1].item()
        for enough in (0.2, 0.5)
    }
    assert kept == {0.2: True, 0.5: False}


def test_resampling_without_valid_pixels_gives_zero_and_invalid():
    maps, valid = random_map(9, 9)
    value, kept = resample_valid(maps * math.nan, torch.zeros_like(valid), (4, 5))
    assert (value == 0).all()
    assert not kept.any()


def test_unit_range_spans_the_valid_values_of_each_image():
    maps = torch.tensor([[2.0, 4.0, 3.0, 99.0], [-1.0, 0.0, 7.0, 99.0]]).reshape(2, 1, 1, 4)
    valid = torch.tensor([[True, True, True, False], [True, True, False, False]]).reshape(
        2, 1, 1, 4
    )
    expected = torch.tensor([[0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]]).reshape(2, 1, 1, 4)
    assert torch.equal(unit_range(maps, valid), expected)
    assert torch.equal(unit_range(5 * maps - 3, valid), expected)


@pytest.mark.parametrize("planted", PLANTED)
def test_unit_range_never_reads_an_invalid_pixel(planted):
    maps, valid = random_map(5, 6)
    clean = unit_range(maps, valid)
    assert torch.equal(unit_range(maps.masked_fill(~valid, planted), valid), clean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 1 / 3, -1e4, 65.535])
def test_unit_range_of_a_constant_up_to_rounding_is_zero(value, dtype):
    wobble = 1 + torch.tensor([0.0, 8.0, -8.0, 3.0], dtype=dtype) * torch.finfo(dtype).eps
    maps = (value * wobble).reshape(1, 1, 2, 2)
    assert (unit_range(maps, torch.ones_like(maps, dtype=torch.bool)) == 0).all()


def test_unit_range_still_sees_a_millimetre_at_ten_metres():
    maps = torch.tensor([10.0, 10.001]).reshape(1, 1, 1, 2)
    assert unit_range(maps, torch.ones_like(maps, dtype=torch.bool)).flatten().tolist() == [0, 1]


def test_unit_range_without_a_valid_pixel_is_zero():
    maps = torch.full((2, 1, 3, 3), math.nan)
    assert (unit_range(maps, torch.zeros_like(maps, dtype=torch.bool)) == 0).all()


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_erosion_equals_the_loop_over_neighbourhoods(radius):
    _, valid = random_map(9, 11)
    valid |= random_map(9, 11, seed=1)[1]
    for i in range(9):
        for j in range(11):
            around = valid[
                0, 0, max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1
            ]
            assert erode(valid, radius)[0, 0, i, j] == around.all()


@pytest.fixture
def untyped():
    """Turn the tests' type checks off, which the user's Python does not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("space", "kind", "message"),
    [
        ("cubic", "metric", "space must be one of .*got 'cubic'"),
        ("log", "feet", "kind one of .*'feet'"),
        ("log", "relative", "relative inverse depth has no 'log' space.*use 'inverse'"),
        ("depth", "relative", "relative inverse depth has no 'depth' space"),
    ],
)
def test_impossible_spaces_are_refused(space, kind, message, untyped):
    with pytest.raises(ValueError, match=message):
        to_space(*random_map(2, 2), space, kind)
