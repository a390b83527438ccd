import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dealseg.cam import threshold_mask
from dealseg.metrics.confusion import confusion_matrix
from dealseg.metrics.sweep import THRESHOLDS, score_histogram, sweep_confusions
from oracles import miou as oracle


def random_image(seed, classes=4, shape=(7, 11)):
    generator = torch.Generator().manual_seed(seed)
    winner = torch.randint(1, classes, shape, generator=generator).to(torch.uint8)
    truth = torch.randint(classes, shape, generator=generator)
    truth[torch.rand(shape, generator=generator) < 0.2] = 255
    score = torch.rand(shape, generator=generator)
    on_grid = torch.randint(101, shape, generator=generator) / 100
    score = torch.where(torch.rand(shape, generator=generator) < 0.5, score, on_grid)
    return winner, score, truth.to(torch.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_sweep_equals_the_loop_over_thresholds_count_for_count(seed):
    winner, score, truth = random_image(seed)
    swept = sweep_confusions(score_histogram(winner, score, truth, 4))
    assert swept.tolist() == oracle.sweep(winner, score, truth, 4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_scores_equal_to_a_threshold_or_one_float_beside_it_fall_as_in_the_loop(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    exact = torch.tensor(THRESHOLDS, device=device)
    down, up = torch.nextafter(exact, exact - 1), torch.nextafter(exact, exact + 1)
    score = torch.stack([exact, down, up]).clamp(0, 1)
    winner = torch.ones_like(score, dtype=torch.uint8)
    truth = (torch.arange(score.numel()) % 2).view_as(score).to(device, torch.uint8)
    swept = sweep_confusions(score_histogram(winner, score, truth, 2))
    for step, threshold in enumerate(THRESHOLDS):
        mask = threshold_mask(winner, score, threshold)
        assert torch.equal(swept[step], confusion_matrix(mask, truth, 2)), threshold


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_float32_score_falls_as_in_the_loop(values):
    score = torch.tensor([values])
    winner = torch.ones_like(score, dtype=torch.uint8)
    kept = sweep_confusions(score_histogram(winner, score, winner, 2))[:, 1, 1]
    loop = torch.stack([(score > threshold).sum() for threshold in THRESHOLDS])
    assert torch.equal(kept, loop)


def test_histograms_of_parts_add_up_to_the_histogram_of_the_whole():
    winner, score, truth = random_image(5)
    whole = score_histogram(winner, score, truth, 4)
    parts = [
        score_histogram(winner[part], score[part], truth[part], 4)
        for part in (slice(0, 3), slice(3, None))
    ]
    assert torch.equal(parts[0] + parts[1], whole)


def test_every_counted_pixel_is_in_every_matrix():
    winner, score, truth = random_image(2)
    swept = sweep_confusions(score_histogram(winner, score, truth, 4))
    assert swept.sum(dim=(1, 2)).unique().tolist() == [int((truth != 255).sum())]


def test_at_threshold_one_everything_is_background_and_at_zero_only_zero_scores_are():
    winner, score, truth = random_image(3)
    swept = sweep_confusions(score_histogram(winner, score, truth, 4))
    assert int(swept[-1][:, 1:].sum()) == 0
    assert int(swept[0][:, 0].sum()) == int(((score == 0) & (truth != 255)).sum())


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_scores_and_winners_under_ignored_pixels_never_matter(seed):
    winner, score, truth = random_image(seed)
    other_winner, other_score, _ = random_image(seed + 1)
    ignored = truth == 255
    changed = score_histogram(
        torch.where(ignored, other_winner, winner),
        torch.where(ignored, other_score, score),
        truth,
        4,
    )
    assert torch.equal(changed, score_histogram(winner, score, truth, 4))


@pytest.mark.parametrize("score", [-0.1, 1.01, float("nan"), float("inf")])
def test_scores_outside_zero_to_one_are_refused(score):
    winner = torch.ones(2, 2, dtype=torch.uint8)
    scores = torch.tensor([[0.0, 1.0], [0.5, score]])
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        score_histogram(winner, scores, winner, 3)


@pytest.mark.parametrize("value", [0, 3])
def test_winners_that_are_no_class_are_refused(value):
    winner = torch.tensor([[1, value]], dtype=torch.uint8)
    with pytest.raises(ValueError, match="winners must be 1 to 2, got"):
        score_histogram(winner, torch.zeros(1, 2), torch.zeros_like(winner), 3)
