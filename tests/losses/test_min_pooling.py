import numpy as np
import pytest
import torch
from seam_views import gradients, random_maps, random_tags, without_absent

from dealseg.losses import MinPooling, min_pooling
from oracles import seam_losses as oracle


def positive_maps(size=(6, 7), **options):
    return random_maps([size], **options)[0].abs()


@pytest.mark.parametrize("classes", [1, 4, 7])
@pytest.mark.parametrize("share", [0.01, 0.25, 1.0])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
def test_equals_the_loops(classes, share, shift):
    pcm = positive_maps(classes=classes) + shift
    tags = random_tags(classes=classes)
    expected = oracle.min_pooling(pcm.numpy(), tags.numpy(), share)
    np.testing.assert_allclose(min_pooling(pcm, tags, share=share), expected, rtol=1e-12)


def test_only_the_lowest_quarter_of_the_pixels_gets_a_gradient_each_the_same():
    pcm, tags = positive_maps((8, 8), batch=1), random_tags(batch=1)
    (slope,) = gradients(min_pooling, [pcm], tags)
    foreground = (pcm[:, 1:] * tags[..., None, None]).amax(1).flatten()
    lowest = foreground.argsort()[:16]
    expected = torch.zeros(64).double().index_fill(0, lowest, 1 / 16)
    torch.testing.assert_close(slope.sum(1).flatten(), expected)


def test_raising_the_other_pixels_changes_nothing():
    pcm, tags = positive_maps(), random_tags()
    high = (pcm[:, 1:] * tags[..., None, None]).amax(1, keepdim=True)
    limit = high.flatten(1).kthvalue(10).values[:, None, None, None]
    raised = torch.where(high > limit, pcm + 5, pcm)
    assert torch.equal(min_pooling(raised, tags), min_pooling(pcm, tags))


def test_maps_that_are_0_in_a_quarter_of_the_image_cost_nothing():
    pcm, tags = positive_maps((4, 8)), random_tags()
    pcm[..., 1:3] = 0
    assert (min_pooling(pcm, tags) == 0).all()
    assert all((slope == 0).all() for slope in gradients(min_pooling, [pcm], tags))


def test_absent_classes_and_the_background_have_no_influence():
    pcm, tags = positive_maps(), random_tags()
    value = min_pooling(pcm, tags)
    for index, (present, labels) in enumerate(without_absent(pcm, tags)):
        alone = min_pooling(present, labels).item() if labels.shape[1] else 0.0
        assert value[index].item() == alone
    (slope,) = gradients(min_pooling, [pcm], tags)
    assert (slope[:, 1:][tags == 0] == 0).all()
    assert (slope[:, 0] == 0).all()


def test_stays_between_the_smallest_and_the_mean_value():
    pcm, tags = positive_maps(), torch.ones(3, 4).double()
    foreground, value = pcm[:, 1:].amax(1).flatten(1), min_pooling(pcm, tags)
    assert (value >= foreground.amin(1)).all()
    assert (value <= foreground.mean(1)).all()
    torch.testing.assert_close(min_pooling(pcm, tags, share=1.0), foreground.mean(1))


def test_each_image_is_scored_alone_and_the_module_gives_the_mean():
    pcm, tags = positive_maps(), random_tags()
    singles = [min_pooling(pcm[i : i + 1], tags[i : i + 1]) for i in range(3)]
    value = min_pooling(pcm, tags)
    assert torch.equal(value, torch.cat(singles))
    assert torch.equal(MinPooling()(pcm, tags), value.mean())


def test_the_order_of_classes_does_not_matter():
    pcm, tags = positive_maps(), random_tags()
    order = torch.tensor([2, 0, 3, 1])
    moved = torch.cat([pcm[:, :1], pcm[:, 1:][:, order]], dim=1)
    assert torch.equal(min_pooling(moved, tags[:, order]), min_pooling(pcm, tags))


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
def test_a_constant_map_costs_its_value_if_positive_and_has_a_finite_gradient(value):
    pcm, tags = torch.full((3, 5, 4, 4), value), random_tags(dtype=torch.float32)
    expected = max(value, 0.0) * tags.amax(1)
    np.testing.assert_allclose(min_pooling(pcm, tags), expected)
    (slope,) = gradients(min_pooling, [pcm], tags)
    assert slope.isfinite().all()


def test_the_gradient_is_that_of_finite_differences():
    pcm, tags = positive_maps((4, 5), batch=2), random_tags(batch=2)
    assert torch.autograd.gradcheck(lambda m: min_pooling(m, tags), pcm.requires_grad_())


def test_maps_without_a_background_channel_are_refused():
    with pytest.raises(ValueError, match="background first"):
        min_pooling(positive_maps(classes=3), random_tags())
