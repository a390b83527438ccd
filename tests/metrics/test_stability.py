import pytest
import torch

from dealseg.metrics import most_stable
from oracles import sureness as oracle


@pytest.mark.parametrize("seed", range(30))
def test_the_threshold_is_the_best_of_a_loop_over_all(seed):
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(9, generator=generator).sort(descending=True).values
    if seed % 3 == 0:
        shares[:2], shares[-1] = 1, 0
    changes = oracle.changes_of_shares(shares.tolist())
    assert changes[most_stable(shares)] == pytest.approx(min(changes.values()), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_plateau_is_found_whether_objects_are_small_or_large(dtype):
    small = torch.tensor([0.5, 0.3, 0.1, 0.09, 0.088, 0.04, 0.01], dtype=dtype)
    assert most_stable(small) == 3
    large = torch.tensor([0.9, 0.8, 0.63, 0.62, 0.61, 0.4, 0.2], dtype=dtype)
    assert most_stable(large) == 3


def test_a_flood_that_cannot_grow_is_not_taken_for_a_plateau():
    shares = torch.tensor([0.99, 0.985, 0.98, 0.6, 0.3, 0.295, 0.29, 0.1])
    relative = (shares[:-2] / shares[2:]).log()
    assert int(relative.argmin()) + 1 == 1
    assert most_stable(shares) == 5


def test_of_equal_ones_the_middle_is_taken():
    assert most_stable(torch.tensor([0.9, 0.4, 0.4, 0.4, 0.4, 0.4, 0.1])) == 3
    assert most_stable(torch.full((6,), 0.5)) == 2


def test_a_share_that_grows_counts_as_one_that_stays():
    assert most_stable(torch.tensor([0.6, 0.2, 0.2, 0.2, 0.1, 0.1, 0.15])) == 2


def test_rounding_does_not_part_equal_ones():
    shares = torch.full((6,), 0.5, dtype=torch.float64)
    shares[0] += 1e-12
    assert most_stable(shares) == 2


@pytest.mark.parametrize("shares", [[0.5, 0.4], [1, 1, 1, 1], [0, 0, 0], [1, 0.5, 0], []])
def test_without_two_sides_around_a_threshold_there_is_none(shares):
    assert most_stable(torch.tensor(shares, dtype=torch.float32)) is None
