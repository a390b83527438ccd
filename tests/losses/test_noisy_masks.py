import pytest
import torch

from dealseg.losses import (
    clipping_level,
    generalised_cross_entropy,
    gradient_clipping,
    pixel_cross_entropy,
    symmetric_cross_entropy,
    weighted_mean,
)
from dealseg.losses.noisy_masks import at_grid
from oracles import noisy_masks as oracle


def inputs(seed=0, size=(5, 7), spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(3, 4, *size, generator=generator, dtype=torch.float64)
    mask = torch.randint(0, 4, (3, *size), generator=generator).to(torch.uint8)
    mask[torch.rand(mask.shape, generator=generator) < 0.2] = 255
    return logits, mask


def slope(loss, logits, mask, **options):
    logits = logits.clone().requires_grad_()
    loss(logits, mask, **options).sum().backward()
    return logits.grad


def close(value, expected):
    torch.testing.assert_close(value, torch.from_numpy(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_cross_entropy_equals_the_loops(smoothing):
    logits, mask = inputs()
    expected = oracle.cross_entropy(logits.numpy(), mask.numpy(), smoothing)
    close(pixel_cross_entropy(logits, mask, smoothing=smoothing), expected)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalised_cross_entropy_equals_the_loops(q):
    logits, mask = inputs(1)
    expected = oracle.generalised(logits.numpy(), mask.numpy(), q)
    close(generalised_cross_entropy(logits, mask, q=q), expected)


def test_generalised_cross_entropy_lies_between_cross_entropy_and_absolute_error():
    logits, mask = inputs(2)
    near = generalised_cross_entropy(logits, mask, q=1e-7)
    torch.testing.assert_close(near, pixel_cross_entropy(logits, mask), atol=1e-5, rtol=0)
    values = [generalised_cross_entropy(logits, mask, q=q) for q in (0.2, 0.5, 0.9)]
    assert bool((values[0] >= values[1]).all())
    assert bool((values[1] >= values[2]).all())
    assert float(values[0].max()) <= 1 / 0.2


def test_its_gradient_is_that_of_cross_entropy_times_the_probability_to_the_q():
    logits, mask = inputs(3)
    p = logits.softmax(1).gather(1, mask.long().clamp(max=3)[:, None])
    expected = slope(pixel_cross_entropy, logits, mask) * p**0.7
    torch.testing.assert_close(slope(generalised_cross_entropy, logits, mask, q=0.7), expected)


@pytest.mark.parametrize(("alpha", "beta", "floor"), [(1.0, 1.0, -4.0), (0.1, 2.0, -6.0)])
def test_symmetric_cross_entropy_equals_the_loops(alpha, beta, floor):
    logits, mask = inputs(4)
    expected = oracle.symmetric(logits.numpy(), mask.numpy(), alpha, beta, floor)
    close(symmetric_cross_entropy(logits, mask, alpha=alpha, beta=beta, floor=floor), expected)


@pytest.mark.parametrize("patch", [(2, 3), (5, 7), (1, 1), (4, 4)])
@pytest.mark.parametrize("start", [0.1, 1e9])
def test_gradient_clipping_equals_the_loops(patch, start):
    logits, mask = inputs(5)
    expected = oracle.clipped(logits.numpy(), mask.numpy(), patch, start)
    close(gradient_clipping(logits, mask, patch=patch, start=start), expected)


def test_pixels_above_the_level_of_their_patch_give_no_gradient_and_others_all_of_it():
    logits, mask = inputs(6)
    level = clipping_level(pixel_cross_entropy(logits, mask), mask, (3, 3))
    above = pixel_cross_entropy(logits, mask) > level
    assert 0 < int(above.sum()) < above.numel() / 2
    clipped = slope(gradient_clipping, logits, mask, patch=(3, 3), start=1e9)
    plain = slope(pixel_cross_entropy, logits, mask)
    torch.testing.assert_close(clipped, plain * ~above[:, None])


def test_no_level_is_below_the_mean_of_all():
    logits, mask = inputs(7)
    values = pixel_cross_entropy(logits, mask)
    mean = values[mask != 255].mean()
    assert bool((clipping_level(values, mask, (2, 2)) >= mean).all())


@pytest.mark.parametrize(
    "loss", [pixel_cross_entropy, generalised_cross_entropy, symmetric_cross_entropy]
)
def test_ignored_pixels_are_worth_nothing_and_pull_nothing(loss):
    logits, mask = inputs(8)
    assert bool((loss(logits, mask)[mask == 255] == 0).all())
    assert bool((slope(loss, logits, mask).movedim(1, -1)[mask == 255] == 0).all())


@pytest.mark.parametrize(
    "loss", [pixel_cross_entropy, generalised_cross_entropy, symmetric_cross_entropy]
)
def test_large_logits_give_finite_losses_and_gradients(loss):
    logits, mask = inputs(9, spread=1e4)
    logits = logits.float()
    assert bool(loss(logits, mask).isfinite().all())
    assert bool(slope(loss, logits, mask).isfinite().all())


@pytest.mark.parametrize("seed", range(3))
def test_the_weighted_mean_equals_the_loops(seed):
    logits, mask = inputs(seed)
    values = pixel_cross_entropy(logits, mask)
    classes, images = torch.tensor([1.0, 0.0, 2.0, 0.5]), torch.tensor([0.3, 1.0, 0.0])
    found = weighted_mean(values, mask, class_weights=classes, image_weights=images)
    expected = oracle.mean(values.numpy(), mask.numpy(), classes.tolist(), images.tolist())
    assert float(found) == pytest.approx(expected, abs=1e-7)
    plain = values[mask != 255].mean()
    torch.testing.assert_close(weighted_mean(values, mask), plain)


def test_without_any_pixel_the_mean_and_its_gradient_are_zero():
    logits, mask = inputs()
    logits.requires_grad_()
    mask.fill_(255)
    for loss in (pixel_cross_entropy, lambda x, y: gradient_clipping(x, y, patch=(2, 2))):
        value = weighted_mean(loss(logits, mask), mask)
        value.backward()
        assert float(value.detach()) == 0
        assert bool((logits.grad == 0).all())


def test_the_label_at_a_cells_centre_is_taken():
    mask = torch.arange(48, dtype=torch.uint8).view(1, 6, 8)
    assert at_grid(mask, (6, 8)) is mask
    assert at_grid(mask, (2, 2))[0].tolist() == [[8 + 2, 8 + 6], [32 + 2, 32 + 6]]


@pytest.mark.parametrize("q", [0.0, 1.5])
def test_a_q_out_of_range_is_refused(q):
    logits, mask = inputs()
    with pytest.raises(ValueError, match="q must be"):
        generalised_cross_entropy(logits, mask, q=q)


def test_an_empty_patch_is_refused():
    logits, mask = inputs()
    with pytest.raises(ValueError, match="patch"):
        gradient_clipping(logits, mask, patch=(0, 2))
