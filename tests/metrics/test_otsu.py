import pytest
import torch

from dealseg.metrics import otsu_bin
from oracles import sureness as oracle


@pytest.mark.parametrize("seed", range(20))
def test_the_split_is_the_best_of_a_loop_over_all(seed):
    generator = torch.Generator().manual_seed(seed)
    histogram = torch.randint(0, 9, (12,), generator=generator)
    histogram[torch.rand(12, generator=generator) < 0.3] = 0
    variances = oracle.otsu_splits(histogram.tolist())
    assert variances[otsu_bin(histogram)] == pytest.approx(max(variances.values()), abs=1e-12)


@pytest.mark.parametrize(
    ("histogram", "split"),
    [
        ([1, 1], 1),
        ([7, 0, 0, 0, 3], 2),
        ([7, 0, 0, 3], 2),
        ([0, 0, 5, 5, 0], 3),
        ([9, 9, 1, 0, 0, 0, 0, 1, 8, 9], 5),
    ],
)
def test_the_split_lies_in_the_middle_between_two_heaps(histogram, split):
    assert otsu_bin(torch.tensor(histogram)) == split


def test_equal_splits_that_lie_apart_are_not_averaged():
    heaps = torch.tensor([4, 0, 0, 4, 4, 0, 0, 4])
    variances = oracle.otsu_splits(heaps.tolist())
    assert variances[otsu_bin(heaps)] == pytest.approx(max(variances.values()))


def test_ten_times_the_samples_give_the_same_split():
    histogram = torch.tensor([5, 9, 2, 1, 4, 6])
    assert otsu_bin(10 * histogram) == otsu_bin(histogram)
    assert otsu_bin(10**9 * histogram) == otsu_bin(histogram)


@pytest.mark.parametrize("histogram", [[0, 0, 0], [0, 8, 0], [3]])
def test_samples_that_are_all_alike_have_no_split(histogram):
    assert otsu_bin(torch.tensor(histogram)) is None
