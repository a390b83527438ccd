"""What the figures say, in sentences: pure functions of the runs' records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from dealseg.report.records import BASELINE, DEAL, Evaluation, Level, RunRecord

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Comparison:
    """The mIoU of the baseline and of DEAL in per cent, rounded as it is shown.

    Attributes:
        baseline: mean over the baseline's runs.
        deal: mean over DEAL's runs.
        spread: standard deviations of the two, None with fewer than two runs each.
        runs: how many runs of each.
    """

    baseline: float
    deal: float
    spread: tuple[float, float] | None
    runs: tuple[int, int]

    @property
    def gain(self) -> float:
        """Points by which DEAL is above the baseline: of the rounded figures, as a reader would."""
        return round(self.deal - self.baseline, 1)


def percent(share: float | None) -> str:
    """Return a share as a percentage with one decimal, or a dash."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}"


def signed(points: float) -> str:
    """Return points with their sign; a typographic minus."""
    return f"+{points:.1f}" if points > 0 else f"{points:.1f}".replace("-", MINUS)


def fixed(evaluation: Evaluation) -> Level | None:
    """Return the level at the fixed threshold."""
    return evaluation.fixed


def oracle(evaluation: Evaluation) -> Level | None:
    """Return the level at the oracle threshold."""
    return evaluation.oracle


def comparable(runs: Sequence[RunRecord]) -> bool:
    """Return whether all evaluations judged the same images of the same classes."""
    return len({run.evaluation.subject for run in runs if run.evaluation is not None}) <= 1


def compare(
    runs: Sequence[RunRecord], level: Callable[[Evaluation], Level | None] = fixed
) -> Comparison | None:
    """Compare DEAL with the baseline, or return None where one is missing or not comparable."""
    before, after = _figures(runs, BASELINE, level), _figures(runs, DEAL, level)
    if not before or not after or not comparable(runs):
        return None
    spread = None if min(len(before), len(after)) < 2 else (stdev(before), stdev(after))
    return Comparison(
        round(fmean(before), 1), round(fmean(after), 1), spread, (len(before), len(after))
    )


def _figures(
    runs: Sequence[RunRecord], role: str, level: Callable[[Evaluation], Level | None]
) -> list[float]:
    levels = [level(r.evaluation) for r in runs if r.role == role and r.evaluation is not None]
    return [100 * each.mean_iou for each in levels if each and each.mean_iou is not None]


def verdict(runs: Sequence[RunRecord]) -> str:
    """Return the one sentence at the top of the page."""
    found = compare(runs)
    if found is not None:
        return f"mIoU at the fixed threshold: {_arrow(found)}, {_judgement(found)}."
    judged = [run for run in runs if run.evaluation is not None]
    if not judged:
        return "Not evaluated yet: run “dealseg evaluate RUN DATA” for each run, then report again."
    if not comparable(runs):
        return "The runs were evaluated on different data, so their figures cannot be compared."
    shown = ", ".join(
        f"{run.label} {percent(run.evaluation.fixed.mean_iou)}"
        for run in judged
        if run.evaluation is not None
    )
    return f"mIoU at the fixed threshold: {shown}."


def _arrow(found: Comparison) -> str:
    return f"baseline {found.baseline:.1f} → DEAL {found.deal:.1f}"


def _judgement(found: Comparison) -> str:
    if found.gain == 0:
        return "no difference"
    direction = "better" if found.gain > 0 else "worse"
    return f"{signed(found.gain)} points, DEAL is {direction}"


def oracle_sentence(runs: Sequence[RunRecord]) -> str | None:
    """Return the same for the thresholds that saw the ground truth, marked as such."""
    found = compare(runs, oracle)
    if found is None:
        return None
    return (
        f"{_arrow(found)} ({signed(found.gain)}) with the best threshold for this ground truth: "
        "an upper bound, not a result."
    )


def spread_sentence(runs: Sequence[RunRecord]) -> str | None:
    """Say how sure the comparison is: by its number of runs and their spread."""
    found = compare(runs)
    if found is None:
        return None
    if found.spread is None:
        return (
            "One run does not show how much figures move with the seed: train with more seeds "
            "before you trust a small difference."
        )
    before, after = found.spread
    return (
        f"Means of {found.runs[0]} baseline and {found.runs[1]} DEAL runs; standard deviations "
        f"{before:.1f} and {after:.1f} points."
    )


def meaning(runs: Sequence[RunRecord]) -> list[str]:
    """Return what the figures mean, in plain sentences."""
    sentences = [
        "mIoU is the share of overlap between masks and ground truth, averaged over all classes "
        "with background; boundary IoU and contour F look at the outlines alone, where the Depth "
        "Edge Alignment Loss acts.",
        "The fixed threshold comes from elsewhere than this data's ground truth (the table says "
        "where from), so its figures are what you would get on images of your own; the ORACLE "
        "threshold was chosen with the ground truth and only says how good the CAMs could be.",
    ]
    found = compare(runs)
    if found is None:
        return sentences
    if found.gain > 0:
        last = f"Here DEAL's masks are {found.gain:.1f} points better at the fixed threshold"
    elif found.gain < 0:
        last = (
            f"Here DEAL's masks are {-found.gain:.1f} points worse: see the "
            "training curves of the flat CAMs and the edge shares before anything else"
        )
    else:
        last = "Here DEAL makes no difference at the fixed threshold"
    return [*sentences, f"{last}."]
