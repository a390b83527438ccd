import numpy as np
import pytest
import torch
from seam_views import gradients, random_maps, random_tags, without_absent

from dealseg.losses import Equivariance, equivariance, max_norm
from oracles import seam_losses as oracle

SIZES = ((10, 14), (4, 5))


@pytest.mark.parametrize("classes", [1, 4, 7])
@pytest.mark.parametrize("sizes", [SIZES, ((6, 3), (6, 3)), ((5, 1), (2, 1)), ((3, 4), (1, 1))])
def test_equals_the_loops(classes, sizes):
    maps = random_maps(sizes, classes=classes)
    tags = random_tags(classes=classes)
    expected = oracle.equivariance(*(each.numpy() for each in (*maps, tags)))
    np.testing.assert_allclose(equivariance(*maps, tags), expected, rtol=1e-12, atol=1e-15)


def test_max_norm_equals_the_formula():
    (maps,) = random_maps([(6, 5)])
    expected = np.array([[oracle.max_norm(m) for m in image] for image in maps.numpy()])
    np.testing.assert_allclose(max_norm(maps), expected, atol=1e-15)


def test_max_norm_reaches_0_and_nearly_1_and_ignores_the_scale():
    (maps,) = random_maps([(6, 5)])
    normed = max_norm(maps)
    assert (normed.amin((-2, -1)) == 0).all()
    assert (normed.amax((-2, -1)) < 1).all()
    np.testing.assert_allclose(normed.amax((-2, -1)), 1, atol=1e-4)
    np.testing.assert_allclose(max_norm(1000 * maps), normed, atol=1e-4)


def test_the_gradient_of_max_norm_passes_through_minimum_and_maximum():
    (maps,) = random_maps([(3, 4)], batch=1, classes=1)
    assert torch.autograd.gradcheck(max_norm, (maps + 4).requires_grad_())


def test_views_of_one_map_cost_nothing():
    (cam,) = random_maps([(6, 5)])
    assert (equivariance(cam, cam, random_tags()) == 0).all()


def test_opposite_views_cost_nearly_the_share_of_classes_present():
    left, right = torch.zeros(1, 5, 4, 4), torch.zeros(1, 5, 4, 4)
    left[..., :2], right[..., 2:] = 1, 1
    tags = torch.tensor([[1.0, 0, 0, 1]])
    assert equivariance(left, right, tags).item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_stays_within_0_and_1(seed):
    value = equivariance(*random_maps(SIZES, seed=seed), random_tags(seed=seed))
    assert ((value >= 0) & (value <= 1)).all()


def test_absent_classes_dilute_the_mean_and_do_nothing_else():
    maps, tags = random_maps(SIZES), random_tags()
    value = equivariance(*maps, tags)
    pairs = zip(*(without_absent(each, tags) for each in maps), strict=True)
    for index, ((first, labels), (second, _)) in enumerate(pairs):
        number = labels.shape[1]
        alone = equivariance(first, second, labels).item() if number else 0.0
        assert value[index].item() == pytest.approx(alone * number / 4, abs=1e-15)
    for slope in gradients(equivariance, maps, tags):
        assert (slope[:, 1:][tags == 0] == 0).all()


def test_both_views_get_a_gradient_but_not_their_background():
    maps, tags = random_maps(SIZES), random_tags()
    for slope in gradients(equivariance, maps, tags):
        assert (slope[:, 1:][tags > 0].abs().amax((-2, -1)) > 0).all()
        assert (slope[:, 0] == 0).all()


def test_each_image_is_scored_alone_and_the_module_gives_the_mean():
    maps, tags = random_maps(SIZES), random_tags()
    singles = [equivariance(*(each[i : i + 1] for each in (*maps, tags))) for i in range(3)]
    value = equivariance(*maps, tags)
    assert torch.equal(value, torch.cat(singles))
    assert torch.equal(Equivariance()(*maps, tags), value.mean())


def test_the_order_of_classes_does_not_matter():
    maps, tags = random_maps(SIZES), random_tags()
    order = torch.tensor([2, 0, 3, 1])
    moved = [torch.cat([each[:, :1], each[:, 1:][:, order]], dim=1) for each in maps]
    torch.testing.assert_close(equivariance(*moved, tags[:, order]), equivariance(*maps, tags))


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
def test_constant_maps_cost_nothing_and_have_gradient_0(value):
    maps = [torch.full((3, 5, *size), value) for size in SIZES]
    tags = random_tags(dtype=torch.float32)
    assert (equivariance(*maps, tags) == 0).all()
    assert all((slope == 0).all() for slope in gradients(equivariance, maps, tags))


def test_the_gradient_is_that_of_finite_differences():
    maps = [each.requires_grad_() for each in random_maps(((4, 5), (3, 2)), batch=2, classes=2)]
    tags = random_tags(batch=2, classes=2)
    assert torch.autograd.gradcheck(lambda *cams: equivariance(*cams, tags), maps)


def test_maps_without_a_background_channel_are_refused():
    maps = random_maps(SIZES, classes=3)
    with pytest.raises(ValueError, match=r"maps must have 1 \+ 4 channels .* got 4"):
        equivariance(*maps, random_tags())
