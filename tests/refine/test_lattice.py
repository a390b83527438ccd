"""The permutohedral lattice against the Gaussian of every pair."""

import pytest
import torch

from dealseg.refine.lattice import build_lattice
from oracles.refine import gaussian


def points(count, d, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.rand(count, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 6])
def test_barycentric_shares_are_positive_and_sum_to_one(d):
    lattice = build_lattice(points(500, d, 8.0))
    shares = lattice.corners.weight.view(500, d + 1)
    assert shares.min() >= -1e-12
    torch.testing.assert_close(shares.sum(1), torch.ones(500).double())


@pytest.mark.parametrize("d", [1, 2, 3, 5, 6])
def test_normalised_sums_are_near_those_of_the_gaussian(d):
    features = points(700, d, 3.0)
    values = (features.sum(1, keepdim=True) * torch.tensor([1.0, -2.0])).sin()
    lattice, kernel = build_lattice(features), gaussian(features)
    ones = torch.ones_like(values[:, :1])
    found = lattice.filter(values) / lattice.filter(ones)
    expected = kernel @ values / kernel.sum(1, keepdim=True)
    assert (found - expected).abs().mean() < 0.04 * values.abs().mean()


def test_the_kernel_is_positive_and_ends():
    features = points(60, 3, 6.0)
    kernel = build_lattice(features).filter(torch.eye(60).double())
    assert kernel.diagonal().min() > 0.4
    assert kernel.min() >= 0
    far = torch.cdist(features, features) > 5
    assert far.any()
    assert kernel[far].max() == 0


def test_sums_are_linear_and_do_not_mix_channels():
    lattice = build_lattice(points(80, 4, 4.0))
    values = points(80, 3, 1.0, seed=1)
    together = lattice.filter(values)
    for channel in range(3):
        one = slice(channel, channel + 1)
        torch.testing.assert_close(lattice.filter(values[:, one]), together[:, one])
    torch.testing.assert_close(lattice.filter(3 * values), 3 * together)


def test_order_of_points_does_not_matter():
    features, values = points(90, 5, 4.0), points(90, 2, 1.0, seed=1)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(2))
    found = build_lattice(features[order]).filter(values[order])
    torch.testing.assert_close(found, build_lattice(features).filter(values)[order])


def test_a_single_point_gets_itself():
    value = build_lattice(torch.zeros(1, 2).double()).filter(torch.ones(1, 1).double())
    assert 0.4 < float(value) <= 1
