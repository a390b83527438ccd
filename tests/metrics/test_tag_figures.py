import math

import pytest
import torch

from dealseg.metrics.tags import average_precision, f1
from oracles import tags as oracle


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [3, 1000], ids=["many ties", "few ties"])
def test_average_precision_equals_the_sum_over_thresholds(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (30, 4), generator=generator) / levels
    tags = (torch.rand(30, 4, generator=generator) < 0.3).float()
    expected = [
        oracle.average_precision(scores[:, c].tolist(), tags[:, c].tolist()) for c in range(4)
    ]
    assert average_precision(scores, tags).tolist() == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_the_worked_example_in_scikit_learns_manual():
    # sklearn.metrics.average_precision_score docs: y_true [0, 0, 1, 1], scores [.1, .4, .35, .8]
    scores = torch.tensor([[0.1], [0.4], [0.35], [0.8]])
    tags = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    assert float(average_precision(scores, tags)) == pytest.approx(0.8333333, abs=1e-6)


def test_order_of_images_does_not_matter_even_with_ties():
    scores, tags = torch.tensor([[0.5], [0.5], [0.2]]), torch.tensor([[1.0], [0.0], [1.0]])
    flipped = average_precision(scores.flip(0), tags.flip(0))
    assert torch.equal(flipped, average_precision(scores, tags))


def test_a_class_that_no_image_has_gives_nan():
    assert math.isnan(average_precision(torch.rand(3, 1), torch.zeros(3, 1)))
    assert math.isnan(f1(torch.zeros(3, 1), torch.zeros(3, 1)))


@pytest.mark.parametrize("seed", range(5))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(seed):
    generator = torch.Generator().manual_seed(seed)
    said, there = (torch.randint(2, (12, 3), generator=generator).float() for _ in range(2))
    expected = [oracle.f1(said[:, c].tolist(), there[:, c].tolist()) for c in range(3)]
    assert f1(said, there).tolist() == pytest.approx(expected, abs=1e-12)
