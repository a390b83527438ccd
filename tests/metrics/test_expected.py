import pytest
import torch
from torch.nn.functional import one_hot

from dealseg.metrics import confusion_matrix, expected_mean_iou, mean_iou
from oracles import sureness as oracle


def random_case(seed, classes=3, size=(5, 6)):
    generator = torch.Generator().manual_seed(seed)
    votes = torch.rand(classes, *size, generator=generator, dtype=torch.float64)
    votes[:, :, 0] = 0
    return votes, torch.randint(classes, size, generator=generator)


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_the_loop_over_pixels_and_classes(seed):
    votes, mask = random_case(seed)
    found = expected_mean_iou(list(votes), mask)
    assert float(found) == pytest.approx(oracle.expected_mean_iou(votes.tolist(), mask.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_of_certain_votes_it_is_the_mean_iou_with_what_they_say(seed):
    _, mask = random_case(seed)
    _, truth = random_case(seed + 100)
    votes = one_hot(truth, 3).permute(2, 0, 1).double()
    expected = mean_iou(confusion_matrix(mask.to(torch.uint8), truth.to(torch.uint8), 3))
    assert float(expected_mean_iou(list(votes), mask)) == pytest.approx(float(expected))
    assert float(expected_mean_iou(list(votes), truth)) == 1


def test_it_is_near_the_mean_of_the_mean_iou_over_drawn_ground_truths():
    generator = torch.Generator().manual_seed(0)
    votes = torch.rand(3, 30, 30, generator=generator)
    mask = votes.argmax(0)
    rows = (votes / votes.sum(0)).flatten(1).T
    drawn = [
        float(mean_iou(confusion_matrix(mask.to(torch.uint8), truth.to(torch.uint8), 3)))
        for truth in torch.multinomial(rows, 200, True, generator=generator).T.view(200, 30, 30)
    ]
    expected = sum(drawn) / len(drawn)
    assert float(expected_mean_iou(list(votes), mask)) == pytest.approx(expected, abs=0.002)


def test_only_the_ratio_of_votes_counts():
    votes, mask = random_case(0)
    factor = 10 * torch.rand(mask.shape, dtype=torch.float64) + 0.1
    twice = expected_mean_iou(list(factor * votes), mask)
    torch.testing.assert_close(twice, expected_mean_iou(list(votes), mask))


def test_a_class_that_is_said_to_be_there_and_has_no_vote_and_no_pixel_counts_0():
    ones, mask = torch.ones(4, 4), torch.zeros(4, 4, dtype=torch.uint8)
    assert float(expected_mean_iou([ones], mask)) == 1
    assert float(expected_mean_iou([ones, 0 * ones], mask)) == 0.5


def test_without_any_vote_nothing_is_expected():
    assert float(expected_mean_iou([torch.zeros(2, 2)] * 2, torch.ones(2, 2))) == 0
