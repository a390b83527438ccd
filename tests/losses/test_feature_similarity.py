"""The feature similarity loss against the sum over all pairs, and against the authors' numbers.

`goldens/fsl.npz` holds what the authors' published code (arvijj/hfpl, 1038a68) gave in float32 on a
CPU: for i = 0, 1, 2 colours `i_x`, predictions `i_y`, `i_sigma`, the batch mean `i_loss`, and
`i_grad`, its gradient in y (mu 2.5, all pairs).
"""

import importlib
import math
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from dealseg.losses import (
    FeatureSimilarity,
    edge_activation,
    feature_similarity,
    gate_zero,
    predictions_from_cams,
)
from dealseg.losses import feature_similarity as loss
from oracles import fsl as oracle

GOLDEN = Path(__file__).parents[1] / "goldens" / "fsl.npz"
MODULE = importlib.import_module("dealseg.losses.feature_similarity")  # not its namesake


def inputs(seed=0, size=(6, 9), channels=4, batch=2, dtype=torch.float64):
    """Blocky colours, so that alike and unlike pairs are both there, and any predictions."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(batch, 3, 2, 3, generator=generator, dtype=torch.float64)
    image = torch.nn.functional.interpolate(blocks, size)
    image = image + 0.1 * torch.rand(image.shape, generator=generator, dtype=torch.float64)
    y = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    return (image / 1.1).to(dtype), y.to(dtype)


def with_gradient(form, image, predictions, **options):
    predictions = predictions.clone().requires_grad_()
    value = form(image, predictions, **options)
    value.sum().backward()
    return value.detach(), predictions.grad


def assert_equals_the_oracle(image, predictions, **options):
    ours = with_gradient(loss, image, predictions, **options)
    if options.get("window"):
        options["radius"] = options["window"] * options.get("sigma", 5.0)
    options.pop("window", None)
    expected = with_gradient(oracle.feature_similarity, image, predictions, **options)
    torch.testing.assert_close(ours, expected, atol=1e-13, rtol=1e-10)


def one_pair(first, second):
    """A picture of two cells of grey, predicted to be of two classes."""
    image = torch.tensor([first, second], dtype=torch.float64).expand(1, 3, 1, 2)
    return loss(image, torch.eye(2, dtype=torch.float64).view(1, 2, 1, 2)).item()


@pytest.fixture
def untyped():
    """Turn the tests' type checks off, which the user's Python does not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("index", range(3))
def test_equals_the_authors_loss_and_gradient(index):
    golden = np.load(GOLDEN)
    image, predictions, expected, slope = (
        torch.from_numpy(golden[f"{index}_{name}"]) for name in ("x", "y", "loss", "grad")
    )
    values, gradient = with_gradient(
        loss, image, predictions, sigma=float(golden[f"{index}_sigma"])
    )
    torch.testing.assert_close(values.mean(), expected, atol=0, rtol=1e-4)
    atol = 1e-5 * float(slope.abs().max())
    torch.testing.assert_close(gradient / len(image), slope, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"mu": 0.0}, {"mu": 6.0}, {"sigma": 1.0}, {"sigma": 50.0}])
@pytest.mark.parametrize("size", [(6, 9), (9, 6), (1, 13), (13, 1), (1, 1), (2, 2)])
def test_equals_the_sum_over_all_pairs_in_value_and_gradient(size, options):
    assert_equals_the_oracle(*inputs(size=size), **options)


@pytest.mark.parametrize("block", [1, 7, 50, 300, 1000])
@pytest.mark.parametrize("window", [None, 0.3, 1.0, 2.2])
def test_equals_it_however_the_pairs_are_cut_in_blocks(block, window, monkeypatch):
    monkeypatch.setattr(MODULE, "CPU_BLOCK", block)
    image, predictions = inputs(size=(7, 11))
    tiles = MODULE._tiles(image, 2.0, math.inf if window is None else 2.0 * window)
    assert (tiles.height, tiles.width) != (7, 11) or block >= 50
    assert_equals_the_oracle(image, predictions, sigma=2.0, window=window)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 400), st.floats(0.1, 9), st.data())
def test_equals_it_for_any_grid_cut_and_window(height, width, block, sigma, data):
    window = data.draw(st.one_of(st.none(), st.floats(0.1, 5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "CPU_BLOCK", block)
        assert_equals_the_oracle(*inputs(size=(height, width)), sigma=sigma, window=window)


@pytest.mark.parametrize(
    ("grey", "expected"), [(1.0, -0.0062401), (0.0, 0.0062401), (gate_zero(), 0.0)]
)
def test_two_classes_gain_on_an_edge_pay_on_a_flat_and_nothing_at_the_gate_s_zero(grey, expected):
    # at the zero the source's epsilon leaves tanh(1e-5 / d) of it, here 1e-6
    assert one_pair(0.0, grey) == pytest.approx(expected, abs=1e-6)


@given(st.floats(0, 1))
def test_the_gate_is_that_of_the_alignment_loss_but_for_the_epsilon(grey):
    expected = -math.exp(-0.02) / (50 * math.pi) * edge_activation(torch.tensor(grey).double())
    assert one_pair(0.0, grey) == pytest.approx(float(expected), abs=2e-6)


def test_descent_smooths_on_one_colour_and_separates_on_two():
    y = torch.tensor([0.4, 0.6], dtype=torch.float64).repeat_interleave(2).view(1, 1, 1, 4)
    flat = torch.full((1, 3, 1, 4), 0.5, dtype=torch.float64)
    edge = torch.tensor([0.2, 0.2, 0.8, 0.8], dtype=torch.float64).expand(1, 3, 1, 4)
    for image, sign in ((flat, -1), (edge, 1)):
        _, slope = with_gradient(loss, image, y)
        moved = y - slope
        assert sign * (moved[..., 2:].mean() - moved[..., :2].mean() - 0.2) > 1e-3


@pytest.mark.parametrize("window", [None, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_stays_within_minus_one_and_one_for_probabilities(seed, window):
    image, predictions = inputs(seed, size=(12, 12))
    for sharpness in (1, 1000):
        shares = (sharpness * predictions).softmax(dim=1)
        value = loss(image, shares, sigma=1.0, window=window)
        assert value.shape == (2,)
        assert value.abs().max() <= 1 + 1e-8


def test_the_best_and_the_worst_come_near_the_bounds():
    checks = torch.arange(40)[:, None].add(torch.arange(40)) % 2
    y = torch.stack([checks, 1 - checks])[None].double()
    flat = loss(torch.zeros(1, 3, 40, 40).double(), y, sigma=1.5)
    assert 0.4 < float(flat) < 0.5  # half of the neighbours are of the other class
    matched = loss(y[:, :1].expand(1, 3, 40, 40), y, sigma=1.5)
    torch.testing.assert_close(matched, -flat, atol=1e-6, rtol=0)


@pytest.mark.parametrize("window", [None, 1.0])
def test_each_image_is_scored_alone(window):
    image, predictions = inputs(batch=3)
    whole = with_gradient(loss, image, predictions, window=window)
    for b in range(3):
        alone = with_gradient(loss, image[b : b + 1], predictions[b : b + 1], window=window)
        torch.testing.assert_close(alone, tuple(part[b : b + 1] for part in whole))


def test_a_constant_added_to_the_predictions_changes_nothing():
    image, predictions = inputs()
    shift = torch.tensor([3.0, -1, 0.5, 100]).double()[:, None, None]
    torch.testing.assert_close(
        with_gradient(loss, image, predictions + shift),
        with_gradient(loss, image, predictions),
        atol=1e-12,
        rtol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_predictions_cost_nothing_and_have_no_gradient(dtype):
    image, predictions = inputs(dtype=dtype)
    level = predictions[..., :1, :1].expand_as(predictions)
    value, slope = with_gradient(loss, image, level)
    assert value.abs().max() < 1e-12
    assert (slope == 0).all()


def test_constant_channels_change_neither_the_value_nor_the_others_gradient():
    image, predictions = inputs()
    constant = torch.tensor([0.0, 0.7]).double().view(1, 2, 1, 1).expand(2, 2, 6, 9)
    value, slope = with_gradient(loss, image, predictions)
    more = torch.cat([constant[:, :1], predictions, constant[:, 1:]], dim=1)
    value_with, slope_with = with_gradient(loss, image, more)
    torch.testing.assert_close(value_with, value)
    torch.testing.assert_close(slope_with[:, 1:-1], slope)
    assert (slope_with[:, [0, -1]] == 0).all()


def test_the_order_of_the_classes_does_not_matter():
    image, predictions = inputs()
    torch.testing.assert_close(loss(image, predictions.flip(1)), loss(image, predictions))


def test_mirrored_and_turned_pictures_cost_the_same():
    image, predictions = inputs()
    expected = loss(image, predictions)
    for change in (lambda t: t.flip(-1), lambda t: t.flip(-2), lambda t: t.transpose(-1, -2)):
        torch.testing.assert_close(loss(change(image), change(predictions)), expected)


@settings(max_examples=20, deadline=None)
@given(st.floats(-4, 4))
def test_grows_with_the_square_of_the_predictions(factor):
    image, predictions = inputs()
    torch.testing.assert_close(
        loss(image, factor * predictions), factor**2 * loss(image, predictions)
    )


def test_a_large_sigma_weighs_all_pairs_alike_and_a_small_one_none():
    image, predictions = inputs()
    x, y = image.flatten(2), predictions.flatten(2)
    distance = (x[..., :, None] - x[..., None, :]).abs().mean(dim=1)
    squares = (y[..., :, None] - y[..., None, :]).square().sum(dim=1) / 2
    uniform = -(oracle.gate(distance) * squares).sum(dim=(1, 2)) / 54
    value = loss(image, predictions, sigma=1e4) * 2 * math.pi * 1e8
    torch.testing.assert_close(value, uniform, rtol=1e-6, atol=0)
    value, slope = with_gradient(loss, image, predictions, sigma=0.05)
    assert value.abs().max() < 1e-30
    assert slope.abs().max() < 1e-30


@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_a_window_over_the_whole_grid_leaves_nothing_out(sigma):
    image, predictions = inputs(dtype=torch.float32)
    exact = with_gradient(loss, image, predictions, sigma=sigma)
    wide = with_gradient(loss, image, predictions, sigma=sigma, window=40.0)
    assert all(torch.equal(a, b) for a, b in zip(exact, wide, strict=True))


def left_out(window, sigma):
    """The bound on the weights left out of a cell's sum, as the loss documents it."""
    return 4 / math.pi * math.exp(-((window - 1 / (2 * sigma)) ** 2) / 2)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("window", [1.5, 2.0, 3.0, 4.0])
def test_the_weights_that_a_window_leaves_out_are_within_their_bound(window, sigma):
    window = max(window, math.sqrt(2) + 1 / (2 * sigma))
    line = torch.arange(-60, 61).double()
    squares = line[:, None] ** 2 + line**2
    weight = torch.exp(-squares / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    mass = float(weight[squares > (window * sigma) ** 2].sum())
    assert mass <= left_out(window, sigma)


@pytest.mark.parametrize("sigma", [1.0, 1.5])
@pytest.mark.parametrize("window", [2.0, 2.5, 3.0])
@pytest.mark.parametrize("kind", ["random", "one-hot", "opposed"])
def test_a_window_errs_by_no_more_than_the_documented_bound(window, sigma, kind):
    image, y = inputs(size=(11, 14), channels=3)
    if kind == "one-hot":
        y = torch.nn.functional.one_hot(y.argmax(dim=1), 3).permute(0, 3, 1, 2).to(y)
    if kind == "opposed":  # far cells differ most and have one colour: what a window hurts most
        image, y = torch.zeros_like(image), torch.zeros_like(y)
        y[..., 7:] = 1.0
    exact, slope = with_gradient(loss, image, y, sigma=sigma)
    value, windowed = with_gradient(loss, image, y, sigma=sigma, window=window)
    cells = y.flatten(2).transpose(1, 2)
    reach = float(torch.cdist(cells, cells).max())
    error = (value - exact).abs().max()
    assert 0 < error <= left_out(window, sigma) * reach**2 / 2
    errors = torch.linalg.vector_norm(windowed - slope, dim=1)
    assert 0 < errors.max() <= 2 * left_out(window, sigma) * reach / y[0, 0].numel()


def test_the_documented_bound_at_three_sigma_is_2_percent():
    assert left_out(3, 5) == pytest.approx(0.019, abs=5e-5)


@pytest.mark.parametrize("window", [None, 1.0])
def test_gradcheck(window):
    image, predictions = inputs(size=(3, 4), channels=2)
    predictions.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda y: loss(image, y, sigma=2.0, window=window), (predictions,)
    )


def test_a_second_derivative_is_refused():
    image, predictions = inputs(size=(2, 2))
    predictions.requires_grad_()
    value = loss(image, predictions).sum()
    with pytest.raises(RuntimeError, match=r"no second derivative.*without create_graph"):
        torch.autograd.grad(value, predictions, create_graph=True)


def test_black_and_white_and_equal_colours_have_finite_gradients():
    image = torch.zeros(1, 3, 4, 4)
    image[..., 2:] = 1.0
    for mu in (-15.0, 2.5, 15.0):
        value, slope = with_gradient(loss, image, torch.rand(1, 3, 4, 4), mu=mu)
        assert value.isfinite().all()
        assert slope.isfinite().all()


def test_colours_out_of_range_are_clamped():
    image, predictions = inputs()
    wild = 3 * image - 1
    assert torch.equal(loss(wild, predictions), loss(wild.clamp(0, 1), predictions))


def test_the_image_gets_no_gradient():
    image, predictions = inputs()
    loss(image.requires_grad_(), predictions.requires_grad_()).sum().backward()
    assert image.grad is None
    assert predictions.grad is not None


def test_a_nan_is_not_hidden():
    image, predictions = inputs()
    predictions[0, 1, 2, 3] = math.nan
    value, slope = with_gradient(loss, image, predictions)
    assert value.isnan().tolist() == [True, False]
    assert slope.isnan().flatten(1).any(dim=1).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    image, predictions = (t.to(dtype) for t in inputs())
    value, slope = with_gradient(loss, image, predictions)
    exact, steep = with_gradient(loss, image.double(), predictions.double())
    assert value.dtype == torch.float32
    assert slope.dtype == dtype
    torch.testing.assert_close(value.double(), exact, atol=1e-6, rtol=1e-5)
    rounding = torch.finfo(dtype).eps * float(steep.abs().max())
    torch.testing.assert_close(slope.double(), steep, atol=4 * rounding + 1e-8, rtol=1e-3)


def test_autocast_changes_nothing():
    image, predictions = inputs(dtype=torch.float32)
    expected = with_gradient(loss, image, predictions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = with_gradient(loss, image, predictions)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_is_kept_for_the_backward_pass_is_one_map_of_the_predictions_size():
    image, predictions = inputs(size=(20, 20), channels=3, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        loss(image, predictions.requires_grad_())
    assert kept == [predictions.numel()]


@pytest.mark.parametrize("side", [64, 256, 1024])
def test_the_pairs_held_at_once_do_not_grow_with_their_number(side):
    tiles = MODULE._tiles(torch.zeros(1, 3, side, side), 5.0, 15.0)
    assert tiles.scratch[0].numel() == tiles.kernel.numel() < 2**18


def test_the_module_is_the_mean_of_the_function():
    image, predictions = inputs()
    options = {"mu": 1.0, "sigma": 2.0, "window": 2.0}
    module = FeatureSimilarity(**options)
    assert torch.equal(module(image, predictions), loss(image, predictions, **options).mean())
    assert not list(module.parameters())


def test_does_not_change_its_arguments():
    given_ = inputs()
    kept = [t.clone() for t in given_]
    feature_similarity(*given_)
    assert all(torch.equal(a, b) for a, b in zip(given_, kept, strict=True))


@pytest.mark.parametrize("options", [{"sigma": 0.0}, {"window": 0.0}, {"sigma": math.nan}])
def test_a_reach_of_nothing_is_refused(options):
    with pytest.raises(ValueError, match="sigma and window must be > 0, got sigma"):
        loss(*inputs(), **options)


def test_an_image_of_another_grid_is_refused(untyped):
    image, predictions = inputs()
    with pytest.raises(ValueError, match=r"image must have the grid.*\(6, 9\), got \(6, 8\)"):
        loss(image[..., :-1], predictions)


def test_rejects_shapes_that_do_not_belong_together():
    image, predictions = inputs()
    for wrong in (image[:1], image[:, :2], image[..., :-1]):
        with pytest.raises(TypeCheckError, match=r"parameter '(predictions|image)'"):
            loss(wrong, predictions)


def cams_and_tags(seed=0):
    cams = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed)).double()
    return cams, torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).double()


def test_predictions_are_the_max_norm_of_present_classes_and_what_they_leave():
    cams, tags = cams_and_tags()
    expected = torch.stack(
        [oracle.predictions_from_cams(*each) for each in zip(cams, tags, strict=True)]
    )
    torch.testing.assert_close(predictions_from_cams(cams, tags), expected)


def test_predictions_are_in_0_1_and_the_strongest_class_and_background_make_one():
    cams, tags = cams_and_tags()
    maps = predictions_from_cams(cams, tags)
    assert maps.min() >= 0
    assert maps.max() <= 1
    torch.testing.assert_close(maps[:, 0] + maps[:, 1:].amax(dim=1), torch.ones(3, 5, 6).double())
    assert (maps[:, 1:][tags == 0] == 0).all()
    assert (maps[1, 0] == 1).all()


def test_gradcheck_through_minimum_and_maximum():
    cams, tags = cams_and_tags()
    torch.autograd.gradcheck(lambda c: predictions_from_cams(c, tags), (cams.requires_grad_(),))


def test_absent_classes_get_no_gradient_through_the_loss():
    cams, tags = cams_and_tags()
    image = torch.rand(3, 3, 5, 6, generator=torch.Generator().manual_seed(1)).double()
    loss(image, predictions_from_cams(cams.requires_grad_(), tags)).sum().backward()
    moved = cams.grad.flatten(2).abs().sum(dim=2) > 0
    assert torch.equal(moved, tags.bool())


def test_half_precision_cams_give_float32_predictions():
    cams, tags = cams_and_tags()
    assert predictions_from_cams(cams.bfloat16(), tags.bfloat16()).dtype == torch.float32
