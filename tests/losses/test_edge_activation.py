import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dealseg.losses import edge_activation, gate_zero
from oracles import deal as oracle

MUS = [-1.0, 0.0, 2.5, 6.0]


def unit(count=2001):
    return torch.linspace(0, 1, count, dtype=torch.float64)


def gradient(edges, mu=2.5):
    edges = edges.clone().requires_grad_()
    edge_activation(edges, mu).sum().backward()
    return edges.grad


@pytest.mark.parametrize("mu", MUS)
def test_equals_the_formula_to_1e_12_on_the_whole_interval(mu):
    expected = torch.tensor(
        np.array([oracle.activation(a, mu) for a in unit().tolist()]), dtype=torch.float64
    )
    torch.testing.assert_close(edge_activation(unit(), mu), expected, atol=1e-12, rtol=0)


@given(st.floats(0, 1), st.floats(-8, 8))
def test_equals_the_formula_for_any_strength_and_shift(a, mu):
    value = edge_activation(torch.tensor(a, dtype=torch.float64), mu)
    assert float(value) == pytest.approx(oracle.activation(a, mu), abs=1e-12)


@pytest.mark.parametrize(
    ("a", "expected"), [(0.01, -0.970), (0.05, -0.417), (0.1, 0.294), (0.2, 0.805), (0.5, 0.987)]
)
def test_has_the_values_of_the_method_s_table(a, expected):
    assert float(edge_activation(torch.tensor(a).double())) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mu", MUS)
def test_flat_is_minus_one_and_full_is_one_with_gradient_zero(mu, dtype):
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    assert edge_activation(ends, mu).tolist() == [-1.0, 1.0]
    assert gradient(ends, mu).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("mu", MUS)
def test_changes_sign_at_the_gate_s_zero(mu):
    zero = torch.tensor(gate_zero(mu), dtype=torch.float64)
    assert gate_zero(mu) == pytest.approx(1 / (1 + math.exp(mu)), rel=1e-15)
    assert float(edge_activation(zero, mu)) == pytest.approx(0, abs=1e-12)
    assert edge_activation(zero * 0.99, mu) < 0 < edge_activation(zero * 1.01, mu)


def test_the_paper_s_gate_opens_at_7_6_percent():
    assert gate_zero() == pytest.approx(0.07586, abs=5e-6)


@pytest.mark.parametrize("mu", MUS)
def test_gradient_is_the_derivative_of_the_formula(mu):
    a, e = unit(), math.exp(2 * mu)
    expected = 4 * e * a * (1 - a) / (e * a**2 + (1 - a) ** 2) ** 2
    torch.testing.assert_close(gradient(a, mu), expected, atol=1e-11, rtol=1e-11)


def test_gradient_is_largest_17_4_near_0_048():
    slope, place = gradient(unit(100_001)).max(dim=0)
    assert float(slope) == pytest.approx(17.4, abs=0.05)
    assert float(place) / 100_000 == pytest.approx(0.048, abs=1e-3)


def test_gradcheck():
    edges = torch.rand(3, 4, dtype=torch.float64).clamp(0.01, 0.99).requires_grad_()
    assert torch.autograd.gradcheck(edge_activation, (edges,))


@pytest.mark.parametrize("mu", MUS)
def test_rises_strictly_and_stays_within_one(mu):
    values = edge_activation(unit(), mu)
    assert (values.diff() > 0).all()
    assert values.abs().max() == 1


def test_is_odd_about_one_half_without_a_shift():
    torch.testing.assert_close(
        edge_activation(unit(), 0.0), -edge_activation(1 - unit(), 0.0), atol=1e-14, rtol=0
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8), (torch.float16, 5e-4)]
)
def test_keeps_the_dtype_and_loses_no_more_than_its_rounding(dtype, tolerance):
    edges = unit().to(dtype)
    value = edge_activation(edges)
    assert value.dtype == dtype
    exact = edge_activation(edges.double())
    torch.testing.assert_close(value.double(), exact, atol=tolerance, rtol=0)


def test_the_smallest_numbers_have_finite_value_and_gradient():
    tiny = torch.tensor([5e-45, 1e-38, 1e-20, 1e-10, 1 - 6e-8])
    assert edge_activation(tiny).isfinite().all()
    assert gradient(tiny).isfinite().all()


@pytest.mark.parametrize("mu", [-15.0, 15.0])
def test_large_shifts_stay_finite_in_float32(mu):
    edges = torch.tensor([0.0, 0.5, 1.0])
    assert edge_activation(edges, mu).tolist() == [-1.0, math.copysign(1.0, mu), 1.0]
    assert gradient(edges, mu).isfinite().all()
