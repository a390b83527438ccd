"""From CAMs to probabilities: the decision of the threshold is kept."""

import pytest
import torch

from dealseg.cam import threshold_mask, winner_and_score
from dealseg.refine import class_probabilities


@pytest.mark.parametrize("threshold", [0.1, 0.4, 1.0])
def test_the_most_probable_class_is_that_of_thresholding(threshold):
    cams = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    found = class_probabilities(cams, threshold)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 8, 9))
    expected = threshold_mask(*winner_and_score(cams), threshold)
    assert torch.equal(found.argmax(1).to(torch.uint8), expected)


def test_a_cam_at_the_threshold_is_as_probable_as_the_background():
    found = class_probabilities(torch.full((1, 1, 2, 2), 0.3), 0.3)
    assert torch.equal(found, torch.full((1, 2, 2, 2), 0.5))


def test_an_image_without_classes_is_background():
    assert torch.equal(class_probabilities(torch.zeros(1, 0, 2, 3), 0.4), torch.ones(1, 1, 2, 3))


def test_a_threshold_of_zero_is_refused():
    with pytest.raises(ValueError, match="threshold must be > 0 to become a probability, got 0"):
        class_probabilities(torch.zeros(1, 1, 2, 2), 0)
