import pytest
import torch

from dealseg.losses.selection import count_of, top_weights


def random_values(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 7, 29, 30, 50])
def test_marks_the_largest_values(count, dtype):
    values = random_values(5, 6, dtype=dtype)
    expected = torch.zeros(30, dtype=dtype)
    expected[values.flatten().argsort(descending=True)[:count]] = 1
    assert torch.equal(top_weights(values, count), expected.view(5, 6))


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_equal_values_at_the_limit_share_what_is_left(count):
    values = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0, 0.0, -1.0, -1.0])
    weights = top_weights(values, count)
    assert weights.sum() == pytest.approx(count)
    assert (values * weights).sum() == pytest.approx(values.topk(count).values.sum())
    assert len(weights[1:5].unique()) == 1


def test_the_smallest_difference_decides():
    tiny = torch.finfo(torch.float32).smallest_normal
    values = torch.tensor([0.0, tiny / 4, tiny / 2])
    assert top_weights(values, 2).tolist() == [0, 1, 1]


def test_a_share_is_rounded_down_but_at_least_one_element():
    assert [count_of(n, 0.25) for n in (1, 4, 7, 8)] == [1, 1, 1, 2]
    assert count_of(10, 1.0) == 10
    with pytest.raises(ValueError, match="got 0"):
        count_of(10, 0)
