import pytest
import torch

from dealseg.metrics.protocols import PROTOCOLS, search
from dealseg.metrics.sweep import THRESHOLDS, score_histogram, sweep_confusions
from oracles import protocols as oracle


def scene(seed, classes=5, present=5, shape=(9, 10)):
    """Scores that are higher where the winner is right; classes from `present` on are absent."""
    generator = torch.Generator().manual_seed(seed)
    winner = torch.randint(1, present, shape, generator=generator).to(torch.uint8)
    right = torch.rand(shape, generator=generator) < 0.6
    score = (0.3 * right + 0.7 * torch.rand(shape, generator=generator)).clamp(0, 1)
    score = torch.where(
        torch.rand(shape, generator=generator) < 0.3, (score * 100).round() / 100, score
    )
    truth = torch.where(right, winner, torch.zeros_like(winner))
    truth[torch.rand(shape, generator=generator) < 0.1] = 255
    return winner, score, truth, classes


def found(name, winner, score, truth, classes):
    histogram = score_histogram(winner, score, truth, classes)
    return search(sweep_confusions(histogram), PROTOCOLS[name])


def of_curve(name, values):
    """Search a set of two pixels a step whose mean IoU at step i is `values[i]`, nearly."""
    pixels = 10_000
    tables = []
    for value in values:
        # two classes of the same IoU v: of 2 pixels a class v hits, the rest crossed
        hits = round(pixels * 2 * value / (1 + value))
        tables.append([[hits, pixels - hits], [pixels - hits, hits]])
    return search(torch.tensor(tables), PROTOCOLS[name])


@pytest.mark.parametrize("present", [5, 3])
@pytest.mark.parametrize("seed", range(3))
def test_seam_s_search_equals_the_loop_over_its_thresholds(seed, present):
    case = scene(seed, present=present)
    result = found("seam", *case)
    curve, best = oracle.seam(*case)
    assert result.curve == pytest.approx(curve, abs=1e-9)  # its 1e-10 is left out of ours
    assert result.thresholds == THRESHOLDS[:60]
    assert result.best == best
    assert result.best_mean_iou == pytest.approx(max(curve), abs=1e-9)


@pytest.mark.parametrize("present", [5, 3])
@pytest.mark.parametrize("seed", range(6))
def test_weaktr_s_search_equals_the_loop_that_stops_early(seed, present):
    case = scene(seed, present=present)
    result = found("weaktr", *case)
    curve, best = oracle.weaktr(*case)
    assert result.curve == pytest.approx(curve, abs=1e-12)
    assert result.best == best
    assert len(result.thresholds) == len(curve)


def test_an_absent_class_counts_as_zero_for_seam_and_is_left_out_for_the_others():
    winner, score, truth, classes = scene(0, present=3)
    full, seam = (
        found("full", winner, score, truth, classes),
        found("seam", winner, score, truth, 5),
    )
    assert seam.curve == pytest.approx([3 / 5 * value for value in full.curve[:60]])
    assert (full.absent_classes, seam.absent_classes) == ("left out", "count as 0")


def rising_then_falling(peak):
    return [0.5 - abs(step - peak) / 400 for step in range(101)]


@pytest.mark.parametrize(
    ("peak", "best", "last", "early"),
    [
        (25, 0.40, 0.41, True),  # the optimum is below the range: it says its first threshold
        (45, 0.45, 0.46, True),
        (58, 0.58, 0.59, False),
        (80, 0.59, 0.59, False),  # above the range: it says its last one
    ],
)
def test_weaktr_s_search_ends_one_step_behind_the_first_peak(peak, best, last, early):
    result = of_curve("weaktr", rising_then_falling(peak))
    assert (result.best, result.thresholds[-1], result.stopped_early) == (best, last, early)
    assert of_curve("full", rising_then_falling(peak)).best == peak / 100


def test_weaktr_s_search_never_sees_a_second_higher_peak():
    values = [0.3] * 101
    values[41], values[50] = 0.4, 0.9
    assert of_curve("weaktr", values).best == 0.41
    assert of_curve("seam", values).best == 0.50


def test_a_plateau_stops_weaktr_s_search_and_the_lowest_of_equals_counts_elsewhere():
    flat = [0.4] * 101
    assert of_curve("weaktr", flat).thresholds == (0.40, 0.41)
    assert of_curve("full", flat).best == of_curve("seam", flat).best == 0.0


def test_a_search_that_finds_nothing_says_its_first_threshold():
    result = of_curve("weaktr", [0.0] * 101)
    assert (result.best, result.best_mean_iou, result.stopped_early) == (0.40, 0.0, True)


@pytest.mark.parametrize(
    ("name", "peak", "edge"),
    [
        ("seam", 0, False),
        ("seam", 30, False),
        ("seam", 80, True),
        ("full", 0, False),
        ("full", 100, False),
        ("weaktr", 20, True),
        ("weaktr", 45, True),
        ("weaktr", 70, True),
    ],
)
def test_a_search_knows_when_a_better_threshold_may_lie_outside(name, peak, edge):
    assert of_curve(name, rising_then_falling(peak)).at_the_edge is edge
