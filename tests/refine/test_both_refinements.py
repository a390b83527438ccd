"""The same questions for both refinements."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scenes import outline, scene, step

from dealseg.refine import METHODS

BOTH = pytest.mark.parametrize("name", list(METHODS))
OPTIONS = {"affinity": ({"dilations": (1, 2, 4)},), "crf": ({"stride": 1}, {"stride": 3})}
CASES = [(name, options) for name in METHODS for options in OPTIONS[name]]
EACH = pytest.mark.parametrize(("name", "options"), CASES, ids=str)


def close(found, expected, atol=1e-9):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@EACH
@given(
    seed=st.integers(0, 9999),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    classes=st.integers(1, 4),
    with_depth=st.booleans(),
)
@settings(max_examples=6, deadline=None)
def test_rows_sum_to_one_and_size_and_kind_stay(name, options, seed, size, classes, with_depth):
    p, image, depth, valid = scene(seed, size, classes, dtype=torch.float32)
    more = (depth, valid) if with_depth else ()
    found = METHODS[name](p, image, *more, **options)
    assert found.shape == p.shape
    assert found.dtype == p.dtype
    assert found.min() >= 0
    close(found.sum(1), torch.ones_like(found[:, 0]), atol=1e-5)


@EACH
@pytest.mark.parametrize("whole", [0, 1])
def test_each_image_is_refined_alone(name, options, whole):
    p, image, depth, valid = scene(3)
    valid[whole] = True
    together = METHODS[name](p, image, depth, valid, **options)
    for i in range(2):
        one = slice(i, i + 1)
        close(together[one], METHODS[name](p[one], image[one], depth[one], valid[one], **options))
    valid[0] = False
    close(
        METHODS[name](p, image, depth, valid, **options)[:1],
        METHODS[name](p[:1], image[:1], **options),
    )


@EACH
def test_without_any_valid_depth_it_is_the_refinement_by_colour(name, options):
    p, image, depth, valid = scene(4)
    expected = METHODS[name](p, image, **options)
    close(METHODS[name](p, image, depth, torch.zeros_like(valid), **options), expected)
    close(METHODS[name](p, image, torch.full_like(depth, math.nan), **options), expected)


@EACH
@pytest.mark.parametrize("garbage", [0.0, 1e30, math.nan])
def test_depth_is_not_read_where_it_is_invalid(name, options, garbage):
    p, image, depth, valid = scene(5)
    expected = METHODS[name](p, image, depth, valid, **options)
    spoilt = torch.where(valid, depth, garbage)
    assert torch.equal(METHODS[name](p, image, spoilt, valid, **options), expected)
    if not math.isfinite(garbage):
        assert torch.equal(METHODS[name](p, image, spoilt, **options), expected)


@EACH
@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 0.0), (0.02, 0.0), (1.0, -5.0)])
def test_no_unit_and_no_offset_of_depth_matters(name, options, factor, offset):
    p, image, depth, valid = scene(6, size=(14, 18))
    expected = METHODS[name](p, image, depth, valid, **options)
    found = METHODS[name](p, image, factor * depth + offset, valid, **options)
    close(found, expected)
    assert not torch.allclose(found, METHODS[name](p, image, **options), atol=1e-3)


@EACH
@pytest.mark.parametrize("factor", [1e-39, 8e37])
def test_depth_at_the_ends_of_the_range_of_numbers_is_refined_along(name, options, factor):
    p, image, depth, valid = scene(6, size=(14, 18), dtype=torch.float32)
    expected = METHODS[name](p, image, depth, valid, **options)
    close(METHODS[name](p, image, factor * depth, valid, **options), expected, atol=1e-3)


@EACH
def test_rounding_of_a_single_depth_is_not_taken_for_edges(name, options):
    p, image, depth, valid = scene(9, size=(14, 18), dtype=torch.float32)
    expected = METHODS[name](p, image, torch.zeros_like(depth), valid, **options)
    for single in (1.1, 0.3, 1234.567):
        found = METHODS[name](p, image, torch.full_like(depth, single), valid, **options)
        assert torch.equal(found, expected)


@EACH
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["probabilities", "image"])
def test_numbers_that_are_not_finite_are_refused_by_name(name, options, which, number):
    p, image, *_ = scene()
    maps = {"probabilities": p, "image": image}
    maps[which][1, 1, 2, 3] = number
    with pytest.raises(ValueError, match=f"{which} must be finite"):
        METHODS[name](**maps, **options)


@EACH
def test_the_outline_moves_onto_a_colour_edge(name, options):
    p, edge = step()
    assert (outline(p) == 14).all()
    found = METHODS[name](p, edge.expand(-1, 3, -1, -1), **options)
    assert (outline(found) == 18).all()


@EACH
def test_the_outline_moves_onto_a_depth_edge_where_colour_is_flat(name, options):
    p, edge = step(low=1.0, high=2.5)
    flat = torch.full((1, 3, *edge.shape[-2:]), 0.5, dtype=edge.dtype)
    assert ((outline(METHODS[name](p, flat, edge, **options)) - 18).abs() <= 1).all()
    assert (outline(METHODS[name](p, flat, **options)) <= 14).all()
    known = (torch.arange(24) < 12).view(1, 1, 24, 1).expand(1, 1, 24, 32)
    half = outline(METHODS[name](p, flat, edge, known, **options))
    assert (half[:8] > 14).all()
    assert (half[-8:] <= 14).all()


@EACH
def test_arguments_are_not_changed_and_half_precision_comes_back(name, options):
    given = scene(7, size=(12, 10), dtype=torch.float32)
    kept = [each.clone() for each in given]
    expected = METHODS[name](*given, **options)
    for each, before in zip(given, kept, strict=True):
        assert torch.equal(each, before)
    half = METHODS[name](*(each.half() for each in given[:3]), given[3], **options)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), expected, atol=0.02, rtol=0)


@EACH
def test_one_class_stays_sure_and_no_iterations_change_nothing(name, options):
    _, image, depth, valid = scene(8)
    sure = torch.ones(2, 1, 7, 9, dtype=torch.float64)
    close(METHODS[name](sure, image, depth, valid, **options), sure)
    p = scene(8)[0]
    assert torch.equal(METHODS[name](p, image, depth, valid, iterations=0, **options), p)


@BOTH
def test_mistakes_are_named(name):
    refine = METHODS[name]
    p, image, _, valid = scene()
    with pytest.raises(ValueError, match="valid says where depth was measured, and there is no"):
        refine(p, image, None, valid)
    with pytest.raises(ValueError, match="iterations must be >= 0, got -1"):
        refine(p, image, iterations=-1)


@BOTH
@pytest.mark.parametrize("which", ["image", "depth", "valid"])
def test_maps_of_another_size_are_refused_by_name(name, which):
    p, image, depth, valid = scene()
    maps = {"image": image, "depth": depth, "valid": valid}
    maps[which] = maps[which][..., :-1]
    with pytest.raises((ValueError, TypeCheckError), match=which):
        METHODS[name](p, **maps)
