"""Local affinity against the loop over pixels, and what a mean of neighbours must keep."""

import pytest
import torch
from scenes import scene

from dealseg.refine import local_affinity
from oracles import refine as oracle

FEW = {"dilations": (1, 3), "iterations": 3}


@pytest.mark.parametrize("size", [(7, 9), (1, 6), (5, 1), (2, 2)], ids=str)
@pytest.mark.parametrize("kind", ["colour", "depth", "some depth"])
def test_equals_the_loop_over_pixels_and_neighbours(size, kind):
    p, image, depth, valid = scene(1, size)
    valid = valid if kind == "some depth" else torch.ones_like(valid)
    more = () if kind == "colour" else (depth, valid)
    found = local_affinity(p, image, *more, **FEW)
    for i in range(2):
        own = (None, None) if kind == "colour" else (depth[i, 0], valid[i, 0])
        expected = oracle.local_affinity(p[i], image[i], *own, **FEW)
        torch.testing.assert_close(found[i], expected, atol=1e-12, rtol=0)


def test_equals_the_loop_with_the_default_options():
    p, image, depth, valid = scene(2, (9, 12), batch=1)
    expected = oracle.local_affinity(p[0], image[0], depth[0, 0], valid[0, 0])
    torch.testing.assert_close(
        local_affinity(p, image, depth, valid)[0], expected, atol=1e-12, rtol=0
    )


def test_constant_maps_stay_and_no_value_leaves_the_range_of_its_map():
    p, image, depth, valid = scene(3)
    constant = p.mean(dim=(-2, -1), keepdim=True).expand_as(p)
    torch.testing.assert_close(
        local_affinity(constant, image, depth, valid), constant, atol=1e-12, rtol=0
    )
    found = local_affinity(p, image, depth, valid)
    assert (found.amax((-2, -1)) <= p.amax((-2, -1)) + 1e-12).all()
    assert (found.amin((-2, -1)) >= p.amin((-2, -1)) - 1e-12).all()


def test_one_depth_everywhere_says_nothing():
    p, image, depth, valid = scene(6)
    found = local_affinity(p, image, torch.full_like(depth, 0.3), valid)
    assert torch.equal(found, local_affinity(p, image))


def test_a_pixel_without_neighbours_keeps_its_probabilities():
    p, image, *_ = scene(4, (5, 5))
    found = local_affinity(p, image, dilations=(3,), iterations=4)
    assert torch.equal(found[..., 2, 2], p[..., 2, 2])
    assert not torch.equal(found[..., 0, 0], p[..., 0, 0])
    assert torch.equal(local_affinity(p, image, dilations=(5,)), p)


def test_colours_may_be_brighter_or_darker_as_a_whole():
    p, image, *_ = scene(5)
    torch.testing.assert_close(
        local_affinity(p, 0.5 * image + 0.2), local_affinity(p, image), atol=1e-9, rtol=0
    )


def test_mirrored_and_transposed_arguments_give_the_mirrored_and_transposed_result():
    given = scene(9)
    expected = local_affinity(*given)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT):
        found = turn(local_affinity(*map(turn, given)))
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"dilations": ()}, r"dilations must be pixels >= 1, got \(\)"),
        ({"dilations": (0, 1)}, r"dilations must be pixels >= 1, got \(0, 1\)"),
        ({"colour_scale": -1.0}, "colour_scale must be > 0, got -1"),
        ({"depth_scale": 0}, "depth_scale must be > 0, got 0"),
        ({"depth_floor": 0.0}, "depth_floor must be > 0, got 0"),
    ],
)
def test_options_that_cannot_work_are_named(option, message):
    p, image, *_ = scene()
    with pytest.raises(ValueError, match=message):
        local_affinity(p, image, **option)
