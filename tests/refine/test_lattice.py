"""The permutohedral lattice against the Gaussian of every pair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dealseg.refine import lattice as lattice_module
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


KEYS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.integers(2**63 - 4, 2**63 - 1)


@given(keys=st.sets(KEYS, min_size=1, max_size=60), others=st.lists(KEYS, max_size=30))
def test_keys_are_found_where_bisection_finds_them(keys, others):
    keys = sorted(keys)
    wanted = torch.tensor([*others, *keys[::2]])
    expected = [keys.index(each) if each in keys else len(keys) for each in wanted.tolist()]
    found = lattice_module._places(torch.tensor(keys), wanted)
    assert found.dtype == torch.int32
    assert found.tolist() == expected


def test_keys_that_all_share_a_bucket_are_found():
    keys = torch.arange(500) * 2
    wanted = torch.arange(-3, 1003).view(2, -1)
    expected = [k // 2 if k % 2 == 0 and 0 <= k < 1000 else 500 for k in range(-3, 1003)]
    assert lattice_module._places(keys, wanted).flatten().tolist() == expected


@pytest.mark.parametrize("count", [1, 2**13, 2**13 + 1, 2**15 - 1, 2**15, 2**15 + 9])
def test_keys_are_sorted_with_equal_ones_in_their_order(count):
    generator = torch.Generator().manual_seed(count)
    keys = torch.randint(-(2**63), 2**63 - 1, (count // 3 + 1,), generator=generator)
    keys[-1] = 2**63 - 1  # as what shorter ones are filled up with
    keys = keys[torch.randint(len(keys), (count,), generator=generator)]
    found, order = lattice_module._sorted(keys)
    listed = keys.tolist()
    expected = sorted(range(count), key=listed.__getitem__)
    assert order.tolist() == expected
    assert torch.equal(found, keys[order])
