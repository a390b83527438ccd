import math

import pytest
import torch
from jaxtyping import TypeCheckError

from dealseg.losses import ImportanceSampling, importance_sampling
from oracles import isl as oracle


def inputs(seed=0, dtype=torch.float64, size=(4, 5)):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(3, 4, *size, generator=generator, dtype=torch.float64)
    tags = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    return logits.to(dtype), tags.to(dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gradient(logits, tags, **options):
    logits = logits.clone().requires_grad_()
    importance_sampling(logits, tags, **options).sum().backward()
    return logits.grad


def flat(logits):
    return logits.flatten(2).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_the_expectation_equals_the_loops(seed):
    logits, tags = inputs(seed)
    expected = torch.from_numpy(oracle.expectation(flat(logits), tags.numpy()))
    value = importance_sampling(logits, tags, samples=None)
    torch.testing.assert_close(value, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("samples", [1, 10, 50])
def test_the_sampled_value_is_the_mean_over_cells_drawn_in_proportion_to_sigmoid(samples):
    logits, tags = inputs()
    weights = logits.sigmoid() + 1e-5
    cells = torch.multinomial(weights.view(12, 20), samples, replacement=True, generator=seeded(7))
    expected = oracle.at_cells(flat(logits), tags.numpy(), cells.view(3, 4, samples).numpy())
    value = importance_sampling(logits, tags, samples=samples, generator=seeded(7))
    torch.testing.assert_close(value, torch.from_numpy(expected), atol=1e-12, rtol=0)


def test_the_sampled_value_and_gradient_converge_to_the_expectation():
    logits, tags = inputs()
    exact = importance_sampling(logits, tags, samples=None)
    slope = gradient(logits, tags, samples=None)
    errors = []
    for samples in (100, 200_000):
        value = importance_sampling(logits, tags, samples=samples, generator=seeded(samples))
        noise = gradient(logits, tags, samples=samples, generator=seeded(samples)) - slope
        errors.append((float((value - exact).abs().max()), float(noise.abs().max())))
    # the noise of a mean of s draws falls with sqrt(s)
    assert errors[1][0] < 1e-2
    assert errors[1][1] < 1e-3
    assert errors[1][0] < errors[0][0] / 10
    assert errors[1][1] < errors[0][1] / 10


def test_small_samples_have_the_expectation_as_their_mean():
    logits, tags = inputs()
    many = logits.repeat(4000, 1, 1, 1), tags.repeat(4000, 1)
    values = importance_sampling(*many, samples=2, generator=seeded()).view(4000, 3)
    error = values.mean(dim=0) - importance_sampling(logits, tags, samples=None)
    assert (error.abs() < 4 * values.std(dim=0) / math.sqrt(4000)).all()


def test_the_drawing_gets_no_gradient():
    logits, tags = inputs()
    weights = (logits.sigmoid() + 1e-5).flatten(2)
    share = (weights / weights.sum(dim=-1, keepdim=True)).view_as(logits)
    expected = share * (logits.sigmoid() - tags[:, :, None, None]) / 4
    torch.testing.assert_close(gradient(logits, tags, samples=None), expected)


@pytest.mark.parametrize("samples", [None, 5])
def test_present_classes_are_raised_and_absent_ones_pushed_down(samples):
    logits, tags = inputs()
    options = {} if samples is None else {"generator": seeded()}
    slope = gradient(logits, tags, samples=samples, **options)
    present = tags[:, :, None, None].bool().expand_as(slope)
    assert (slope[present] <= 0).all()
    assert (slope[~present] >= 0).all()
    assert (slope.flatten(2).abs().sum(dim=2) > 0).all()


def test_a_map_high_at_one_cell_costs_what_that_cell_costs():
    logits = torch.full((2, 1, 3, 4), -40.0)
    logits[:, :, 1, 2] = 3.0
    tags = torch.tensor([[1.0], [0.0]])
    expected = torch.tensor([math.log1p(math.exp(-3)), math.log1p(math.exp(3))])
    drawn = importance_sampling(logits, tags, samples=10, generator=seeded())
    torch.testing.assert_close(drawn, expected)
    exact = importance_sampling(logits, tags, samples=None)
    torch.testing.assert_close(exact, expected, atol=6e-3, rtol=0)  # the floor of 1e-5 elsewhere


@pytest.mark.parametrize("samples", [None, 3])
def test_a_flat_map_costs_its_cross_entropy(samples):
    logits, tags = torch.zeros(1, 2, 3, 3), torch.tensor([[1.0, 0.0]])
    value = importance_sampling(logits, tags, samples=samples, generator=seeded())
    torch.testing.assert_close(value, torch.full((1,), math.log(2)))


@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_of_any_size_have_finite_value_and_gradient(samples, dtype):
    logits = torch.tensor([-6e4, -100.0, 0.0, 100.0, 6e4]).view(1, 1, 1, 5).repeat(1, 2, 1, 1)
    logits, tags = logits.to(dtype), torch.tensor([[1.0, 0.0]])
    value = importance_sampling(logits, tags, samples=samples, generator=seeded())
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    slope = gradient(logits, tags, samples=samples, generator=seeded())
    assert slope.dtype == dtype
    assert slope.isfinite().all()


@pytest.mark.parametrize("samples", [1, 10, None])
def test_a_cell_that_is_no_number_makes_the_loss_none_and_stops_nothing(samples):
    """torch's drawing would raise, on a GPU in a way that leaves the process unusable."""
    logits, tags = inputs(dtype=torch.float32)
    logits[1, 2, 3, 3] = torch.nan
    value = importance_sampling(logits, tags, samples=samples, generator=seeded())
    assert value.isnan().tolist() == [False, True, False]
    intact = inputs(dtype=torch.float32)[0]
    expected = importance_sampling(intact, tags, samples=samples, generator=seeded())
    assert torch.equal(value[[0, 2]], expected[[0, 2]])


def test_a_present_class_that_is_nowhere_still_gets_a_gradient():
    slope = gradient(torch.full((1, 1, 3, 3), -80.0), torch.ones(1, 1), samples=None)
    torch.testing.assert_close(slope, torch.full((1, 1, 3, 3), -1 / 9))


def test_autocast_computes_in_float32():
    logits, tags = inputs(dtype=torch.float32)
    expected = importance_sampling(logits, tags, samples=None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = importance_sampling(logits, tags, samples=None)
    assert torch.equal(value, expected)


def test_each_image_is_scored_alone():
    logits, tags = inputs()
    alone = [
        importance_sampling(logits[b : b + 1], tags[b : b + 1], samples=None) for b in range(3)
    ]
    torch.testing.assert_close(importance_sampling(logits, tags, samples=None), torch.cat(alone))


def test_the_order_of_classes_and_of_cells_does_not_matter():
    logits, tags = inputs()
    expected = importance_sampling(logits, tags, samples=None)
    order = torch.tensor([2, 0, 3, 1])
    mixed = logits[:, order].flip(-1).transpose(-1, -2)
    torch.testing.assert_close(importance_sampling(mixed, tags[:, order], samples=None), expected)


def test_a_seed_repeats_its_draws_and_leaves_the_global_state_alone():
    logits, tags = inputs()
    state = torch.get_rng_state()
    first, second, other = (
        importance_sampling(logits, tags, generator=seeded(s)) for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_module_is_the_mean_of_the_function():
    logits, tags = inputs()
    module = ImportanceSampling(samples=4)
    expected = importance_sampling(logits, tags, samples=4, generator=seeded()).mean()
    assert torch.equal(module(logits, tags, seeded()), expected)
    exact = ImportanceSampling(samples=None)(logits, tags)
    assert torch.equal(exact, importance_sampling(logits, tags, samples=None).mean())
    assert not list(module.parameters())


def test_does_not_change_its_arguments():
    logits, tags = inputs()
    kept = logits.clone(), tags.clone()
    importance_sampling(logits, tags, generator=seeded())
    assert torch.equal(logits, kept[0])
    assert torch.equal(tags, kept[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "generator must be a torch.Generator on cpu.*samples=None needs none"),
        ({"samples": 0, "generator": seeded()}, "samples must be >= 1, or None.*got 0"),
    ],
)
def test_drawing_without_a_generator_or_samples_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        importance_sampling(*inputs(), **options)


def test_rejects_tags_of_other_classes():
    logits, tags = inputs()
    with pytest.raises(TypeCheckError, match="parameter 'tags'"):
        importance_sampling(logits, tags[:, :3], samples=None)
