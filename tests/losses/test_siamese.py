import numpy as np
import pytest
import torch
from seam_views import gradients, random_maps, random_tags

from dealseg.losses import View, cross_equivariance, equivariance, min_pooling, siamese_losses
from dealseg.losses.bilinear import at_size
from oracles import seam_losses as oracle

TERMS = ("er", "ecr", "min_pool1", "min_pool2")
CASES = {
    "square": ((6, 6), (46, 46), (2, 2), (13, 13)),
    "small": ((4, 3), (14, 9), (2, 1), (4, 3)),
    "tall": ((7, 4), (50, 26), (3, 2), (15, 7)),
    "wide": ((3, 9), (24, 70), (1, 3), (7, 21)),
    "views of one size": ((4, 5), (17, 23), (4, 5), (17, 23)),
    "maps at full size": ((20, 30), (20, 30), (6, 9), (6, 9)),
    "fewer pixels than cells": ((9, 8), (5, 6), (9, 8), (3, 2)),
}


def inputs(case, classes=4, dtype=torch.float64, seed=0):
    """Maps and the sizes of their views; refined maps are seldom negative."""
    cells1, size1, cells2, size2 = CASES[case]
    options = {"classes": classes, "dtype": dtype, "seed": seed}
    cam1, pcm1, cam2, pcm2 = random_maps((cells1, cells1, cells2, cells2), **options)
    return [cam1, pcm1.abs() - 0.2, cam2, pcm2.abs() - 0.2], (size1, size2)


def fast(cam1, pcm1, cam2, pcm2, tags, sizes, **options):
    return siamese_losses(View(cam1, pcm1, sizes[0]), View(cam2, pcm2, sizes[1]), tags, **options)


def composed(cam1, pcm1, cam2, pcm2, tags, sizes, share=0.2, low_share=0.25):
    cam1, pcm1 = (at_size(maps, sizes[0]) for maps in (cam1, pcm1))
    cam2, pcm2 = (at_size(maps, sizes[1]) for maps in (cam2, pcm2))
    return (
        equivariance(cam1, cam2, tags),
        cross_equivariance(cam1, cam2, pcm1, pcm2, tags, share=share),
        min_pooling(pcm1, tags, share=low_share),
        min_pooling(pcm2, tags, share=low_share),
    )


@pytest.mark.parametrize("classes", [1, 4, 13])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_losses_on_upsampled_maps(case, classes):
    maps, sizes = inputs(case, classes)
    tags = random_tags(classes=classes)
    torch.testing.assert_close(tuple(fast(*maps, tags, sizes)), composed(*maps, tags, sizes))
    for term in range(4):
        ours, expected = (
            gradients(lambda *m, form=form, term=term: form(*m, tags, sizes)[term], maps)
            for form in (fast, composed)
        )
        torch.testing.assert_close(ours, expected, atol=1e-13, rtol=1e-10)


@pytest.mark.parametrize(("share", "low_share"), [(0.01, 0.9), (0.5, 0.01), (1.0, 1.0)])
def test_shares_are_those_of_the_losses(share, low_share):
    maps, sizes = inputs("tall")
    options = {"share": share, "low_share": low_share}
    expected = composed(*maps, random_tags(), sizes, **options)
    torch.testing.assert_close(tuple(fast(*maps, random_tags(), sizes, **options)), expected)


def test_equals_the_loops():
    maps, sizes = inputs("small")
    tags = random_tags().numpy()
    large = [
        np.array([[oracle.resize(m, size) for m in image] for image in each.numpy()])
        for each, size in zip(maps, np.repeat(sizes, 2, axis=0), strict=True)
    ]
    cam1, pcm1, cam2, pcm2 = large
    losses = fast(*maps, random_tags(), sizes)
    np.testing.assert_allclose(losses.er, oracle.equivariance(cam1, cam2, tags), atol=1e-12)
    ecr = oracle.cross_equivariance(cam1, cam2, pcm1, pcm2, tags)
    np.testing.assert_allclose(losses.ecr, ecr, atol=1e-12)
    np.testing.assert_allclose(losses.min_pool1, oracle.min_pooling(pcm1, tags), atol=1e-12)
    np.testing.assert_allclose(losses.min_pool2, oracle.min_pooling(pcm2, tags), atol=1e-12)


@pytest.mark.parametrize(
    ("term", "reached"),
    [("er", (0, 2)), ("ecr", (1, 3)), ("min_pool1", (1,)), ("min_pool2", (3,))],
)
def test_each_loss_reaches_the_maps_it_is_meant_for_and_no_others(term, reached):
    maps, sizes = inputs("square")
    tags = random_tags()
    slopes = gradients(lambda *m: getattr(fast(*m, tags, sizes), term), maps)
    assert tuple(i for i, slope in enumerate(slopes) if slope.abs().max() > 0) == reached


@pytest.mark.parametrize("case", ["square", "wide"])
def test_float32_and_half_precision_stay_near_float64(case):
    maps, sizes = inputs(case)
    expected = fast(*maps, random_tags(), sizes)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        narrow = [each.to(dtype) for each in maps]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = fast(*narrow, random_tags(dtype=torch.float32), sizes)
        for ours, exact in zip(losses, expected, strict=True):
            assert ours.dtype == torch.float32
            np.testing.assert_allclose(ours, exact, atol=tolerance)


def test_absent_classes_may_hold_anything():
    maps, sizes = inputs("tall")
    tags = random_tags()
    absent = torch.cat([torch.zeros(3, 1), 1 - tags], dim=1).bool()[..., None, None]
    strange = [each.masked_fill(absent, float("nan")) for each in maps]
    ours, expected = (fast(*each, tags, sizes) for each in (strange, maps))
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def test_each_image_is_scored_alone():
    maps, sizes = inputs("tall")
    tags = random_tags()
    together = torch.stack(tuple(fast(*maps, tags, sizes)))
    singles = [
        torch.stack(tuple(fast(*(each[i : i + 1] for each in (*maps, tags)), sizes)))
        for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(singles, dim=1))


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
def test_constant_maps_and_images_without_tags_have_finite_losses_and_gradients(value):
    maps, sizes = inputs("tall", dtype=torch.float32)
    maps = [torch.full_like(each, value) for each in maps]
    for tags in (random_tags(dtype=torch.float32), torch.zeros(3, 4)):
        for term in range(4):
            assert fast(*maps, tags, sizes)[term].isfinite().all()
            slopes = gradients(lambda *m: fast(*m, tags, sizes)[term], maps)  # noqa: B023
            assert all(slope.isfinite().all() for slope in slopes)


def test_equal_maps_of_two_classes_are_counted_once():
    maps, sizes = inputs("tall")
    for each in maps:
        each[:, 2] = each[:, 1]
    tags = torch.ones(3, 4).double()
    expected = composed(*maps, tags, sizes)
    torch.testing.assert_close(tuple(fast(*maps, tags, sizes)), expected)
    ours, slow = (
        gradients(lambda *m, form=form: form(*m, tags, sizes)[2], maps)[1]
        for form in (fast, composed)
    )
    torch.testing.assert_close(ours[:, 1:3].sum(1), slow[:, 1:3].sum(1))


def test_the_gradient_is_that_of_finite_differences():
    maps, sizes = inputs("wide", classes=2)
    tags = random_tags(classes=2)
    for term in (0, 2, 3):  # the cross loss holds the CAMs still: test_cross_equivariance.py
        leaves = [each[:1].clone().requires_grad_() for each in maps]
        assert torch.autograd.gradcheck(
            lambda *m, term=term: fast(*m, tags[:1], sizes)[term], leaves, fast_mode=True
        )


def test_maps_that_do_not_fit_the_tags_are_refused():
    maps, sizes = inputs("square", classes=3)
    with pytest.raises(ValueError, match="1 \\+ 4 channels"):
        fast(*maps, random_tags(), sizes)
