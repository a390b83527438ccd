import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dealseg.cam import (
    best_class_and_score,
    lead,
    normalise_cams,
    predicted_tags,
    threshold_mask,
    winner_and_score,
)
from dealseg.refine import class_probabilities
from oracles import cam as oracle


def random_cams(seed, shape=(3, 4, 5, 6), dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_tags(seed, shape=(3, 4)):
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed + 1)).double()


def masks(cams, tags, threshold=0.3):
    return threshold_mask(*winner_and_score(normalise_cams(cams, tags)), threshold)


@pytest.mark.parametrize("seed", range(5))
def test_normalised_cams_winner_score_and_mask_equal_the_loops(seed):
    cams, tags = random_cams(seed), random_tags(seed)
    cams[0, 1] = -cams[0, 1].abs()
    expected = oracle.normalised(cams.tolist(), tags.tolist())
    normalised = normalise_cams(cams, tags)
    assert normalised.tolist() == expected
    winner, score = winner_and_score(normalised)
    mask = threshold_mask(winner, score, 0.3)
    for image, maps in enumerate(expected):
        expected_winner, expected_score = oracle.winner_and_score(maps)
        assert winner[image].tolist() == expected_winner
        assert score[image].tolist() == expected_score
        expected_mask = oracle.thresholded(expected_winner, expected_score, 0.3)
        assert mask[image].tolist() == expected_mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_type_of_numbers_is_kept_and_the_range_is_0_to_1(dtype):
    normalised = normalise_cams(random_cams(0, dtype=dtype), torch.ones(3, 4))
    assert normalised.dtype == dtype
    assert normalised.min() == 0
    assert torch.equal(normalised.amax((-2, -1)), torch.ones(3, 4, dtype=dtype))
    winner, score = winner_and_score(normalised)
    assert (winner.dtype, score.dtype) == (torch.uint8, dtype)
    assert threshold_mask(winner, score, 0.5).dtype == torch.uint8


def test_a_score_at_the_threshold_is_background_and_just_above_it_is_not():
    winner = torch.tensor([[3, 3, 3]], dtype=torch.uint8)
    score = torch.tensor([[0.25, 0.25 + 1e-6, 0.25 - 1e-6]])
    assert threshold_mask(winner, score, 0.25).tolist() == [[0, 3, 0]]
    assert threshold_mask(winner, torch.ones(1, 3), 1.0).tolist() == [[0, 0, 0]]
    assert threshold_mask(winner, torch.zeros(1, 3), 0.0).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("value", [0.0, -1.0, -1e-30])
def test_a_map_that_is_nowhere_positive_stays_zero_and_finite(value):
    normalised = normalise_cams(torch.full((1, 2, 3, 3), value), torch.ones(1, 2))
    assert torch.equal(normalised, torch.zeros(1, 2, 3, 3))


@pytest.mark.parametrize("value", [1e-30, 1e-6, 1e30])
def test_a_map_with_any_positive_value_reaches_one(value):
    cams = torch.tensor([-1.0, value, value / 2]).view(1, 1, 1, 3)
    expected = torch.tensor([0.0, 1.0, 0.5])
    torch.testing.assert_close(normalise_cams(cams, torch.ones(1, 1)).flatten(), expected)


def test_absent_classes_never_win_however_strong_they_are():
    cams = random_cams(2)
    cams[:, 1] = 1e6
    tags = torch.tensor([[1.0, 0.0, 1.0, 0.0]]).expand(3, 4).double()
    found = set(masks(cams, tags).unique().tolist())
    assert found <= {0, 1, 3}
    assert torch.equal(masks(cams, tags), masks(cams * tags[:, :, None, None], tags))


def test_without_tags_all_is_background():
    assert not masks(random_cams(3), torch.zeros(3, 4).double(), threshold=0.0).any()


def test_each_image_is_normalised_alone():
    cams, tags = random_cams(4), random_tags(4)
    cams[1] *= 1000
    together = normalise_cams(cams, tags)
    for image in range(3):
        alone = normalise_cams(cams[image : image + 1], tags[image : image + 1])
        assert torch.equal(together[image : image + 1], alone)


@given(seed=st.integers(0, 1000), power=st.integers(-20, 20), k=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_masks_do_not_change_when_one_class_map_is_scaled(seed, power, k):
    cams, tags = random_cams(seed), random_tags(seed)
    scaled = cams.clone()
    scaled[:, k] *= 2.0**power  # exact in floating point, so that ties stay ties
    assert torch.equal(masks(cams, tags), masks(scaled, tags))


@given(seed=st.integers(0, 1000), low=st.floats(0, 1), high=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_higher_threshold_only_takes_pixels_away(seed, low, high):
    low, high = sorted((low, high))
    cams, tags = random_cams(seed), random_tags(seed)
    wide, narrow = masks(cams, tags, low), masks(cams, tags, high)
    assert torch.equal(narrow[narrow > 0], wide[narrow > 0])


def test_254_classes_fit_in_a_mask():
    normalised = torch.zeros(1, 254, 1, 254)
    normalised[0, torch.arange(254), 0, torch.arange(254)] = 1
    winner, score = winner_and_score(normalised)
    assert winner.flatten().tolist() == list(range(1, 255))
    assert torch.equal(threshold_mask(winner, score, 0.5), winner)


def test_predicted_tags_are_the_classes_more_probable_than_asked():
    logits = torch.tensor([[0.0, 1e-3, -1e-3, 2.0]])
    assert predicted_tags(logits).tolist() == [[0, 1, 0, 1]]
    assert predicted_tags(logits, 0.8).tolist() == [[0, 0, 0, 1]]
    assert predicted_tags(logits, 0.0).tolist() == [[1, 1, 1, 1]]
    assert predicted_tags(logits.double()).dtype == torch.float64


def random_probabilities(seed, classes=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (4 * torch.randn(classes, 7, 9, generator=generator, dtype=dtype)).softmax(0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.01, 0.37, 0.99])
def test_thresholding_the_score_of_the_best_class_gives_the_most_probable_one(seed, threshold):
    probabilities = random_probabilities(seed)
    winner, score = best_class_and_score(probabilities, threshold)
    mask = threshold_mask(winner, score, threshold)
    assert torch.equal(mask.long(), probabilities.argmax(0))
    assert score.min() >= 0
    assert score.max() <= 1


def test_classes_as_probable_as_the_background_are_background_and_hardly_more_are_not():
    probabilities = torch.full((3, 1, 2), 1 / 3)
    probabilities[1, 0, 1] = torch.nextafter(torch.tensor(1 / 3), torch.tensor(1.0))
    for step in range(1, 100):
        winner, score = best_class_and_score(probabilities, step / 100)
        assert threshold_mask(winner, score, step / 100).tolist() == [[0, 1]]


def test_a_background_that_is_impossible_gives_the_score_1():
    winner, score = best_class_and_score(torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1), 0.4)
    assert (winner.item(), score.item()) == (2, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_score_of_unrefined_probabilities_is_the_normalised_cam(seed):
    maps = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    winner, score = best_class_and_score(class_probabilities(maps, 0.4)[0], 0.4)
    expected_winner, expected = winner_and_score(maps[0])
    assert torch.equal(winner, expected_winner)
    torch.testing.assert_close(score, expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_the_lead_is_the_difference_of_the_two_largest_votes(seed, classes):
    votes = random_probabilities(seed, classes, torch.float64)
    ordered = votes.sort(0, descending=True).values
    assert torch.equal(lead(votes), ordered[0] - ordered[1])
    assert torch.equal(lead(votes.flip(0)), lead(votes))


def test_a_single_vote_has_nothing_to_lead():
    with pytest.raises(ValueError, match="not enough values"):
        lead([torch.zeros(2, 2)])
