from itertools import pairwise

import numpy as np
import pytest
import torch
from seam_views import gradients, random_maps, random_tags, without_absent

from dealseg.losses import CrossEquivariance, cross_equivariance
from oracles import seam_losses as oracle

LARGE, SMALL = (10, 14), (4, 5)
SIZES = (LARGE, SMALL, LARGE, SMALL)


@pytest.mark.parametrize("classes", [1, 4, 7])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("small", [(4, 5), (1, 1)])
def test_equals_the_loops(classes, share, small):
    maps = random_maps((LARGE, small, LARGE, small), classes=classes)
    tags = random_tags(classes=classes)
    expected = oracle.cross_equivariance(*(each.numpy() for each in (*maps, tags)), share)
    value = cross_equivariance(*maps, tags, share=share)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_only_the_refined_maps_get_a_gradient():
    maps, tags = random_maps(SIZES), random_tags()
    cam1, cam2, pcm1, pcm2 = gradients(cross_equivariance, maps, tags)
    assert (cam1 == 0).all()
    assert (cam2 == 0).all()
    assert (pcm1.abs().amax((1, 2, 3)) > 0).all()
    assert (pcm2.abs().amax((1, 2, 3)) > 0).all()


def test_refined_maps_that_are_the_other_view_s_winners_cost_nothing():
    cam = torch.zeros(1, 3, 4, 6).double()
    cam[:, 1, :, :2], cam[:, 2, :, 4:] = 1, 1
    refined = cam.clone()
    refined[:, 0] = 1 - cam.sum(1)
    value = cross_equivariance(cam, cam, refined, refined, torch.ones(1, 2).double())
    assert value.item() == pytest.approx(0, abs=1e-4)


def test_a_class_that_loses_a_pixel_is_a_target_of_0_there():
    cam = torch.tensor([[[[0.0, 0, 0]], [[2, 0, 0]], [[1, 2, 0]]]]).double()
    refined = cam.clone()
    refined[:, 0, :, 2] = 1
    value = cross_equivariance(cam, cam, refined, refined, torch.ones(1, 2).double(), share=1 / 9)
    assert value.item() == pytest.approx(2 * 0.5, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_stays_within_0_and_2_and_falls_as_more_elements_count(seed):
    maps, tags = random_maps(SIZES, seed=seed), random_tags(seed=seed)
    values = [cross_equivariance(*maps, tags, share=share) for share in (0.05, 0.2, 0.5, 1.0)]
    assert (values[0] <= 2).all()
    assert (values[-1] >= 0).all()
    assert all((more <= less + 1e-12).all() for less, more in pairwise(values))


def test_absent_classes_only_raise_the_number_of_elements():
    maps, tags = random_maps(SIZES), random_tags()
    value = cross_equivariance(*maps, tags)
    images = zip(*(without_absent(each, tags) for each in maps), strict=True)
    for index, pairs in enumerate(images):
        present, labels = [kept for kept, _ in pairs], pairs[0][1]
        if not labels.shape[1]:
            continue
        here = (1 + labels.shape[1]) * 20
        share = min(1.0, 20 / here)  # int(5 * 4 * 5 * 0.2) elements
        total = cross_equivariance(*present, labels, share=share + 1e-9) * min(here, 20)
        assert value[index].item() == pytest.approx(total.item() / 20, rel=1e-12)
    for slope in gradients(cross_equivariance, maps, tags):
        assert (slope[:, 1:][tags == 0] == 0).all()


def test_each_image_is_scored_alone_and_the_module_gives_the_mean():
    maps, tags = random_maps(SIZES), random_tags()
    singles = [cross_equivariance(*(each[i : i + 1] for each in (*maps, tags))) for i in range(3)]
    value = cross_equivariance(*maps, tags)
    torch.testing.assert_close(value, torch.cat(singles))
    assert torch.equal(CrossEquivariance()(*maps, tags), value.mean())


def test_the_order_of_classes_does_not_matter():
    maps, tags = random_maps(SIZES), random_tags()
    order = torch.tensor([2, 0, 3, 1])
    moved = [torch.cat([each[:, :1], each[:, 1:][:, order]], dim=1) for each in maps]
    torch.testing.assert_close(
        cross_equivariance(*moved, tags[:, order]), cross_equivariance(*maps, tags)
    )


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
def test_constant_maps_give_a_finite_loss_and_gradient(value):
    maps = [torch.full((3, 5, *size), value) for size in SIZES]
    tags = random_tags(dtype=torch.float32)
    np.testing.assert_allclose(cross_equivariance(*maps, tags), 2, rtol=1e-6)
    assert all(slope.isfinite().all() for slope in gradients(cross_equivariance, maps, tags))


def test_the_gradient_is_that_of_finite_differences():
    small = (3, 2)
    cam1, cam2, *refined = random_maps(((4, 5), small) * 2, batch=2, classes=2)
    tags = random_tags(batch=2, classes=2)
    refined = [each.requires_grad_() for each in refined]
    assert torch.autograd.gradcheck(
        lambda *pcms: cross_equivariance(cam1, cam2, *pcms, tags), refined
    )


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match="share must be in \\(0, 1\\]"):
        cross_equivariance(*random_maps(SIZES), random_tags(), share=share)
