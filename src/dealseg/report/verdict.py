"""What the figures say, in sentences: pure functions of the runs' records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from dealseg.report.naming import BASELINE, DEAL, Family, with_losses
from dealseg.report.records import Evaluation, Level, RunRecord

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
    """Return the one comparison that the runs allow, or None if there is none or several."""
    found = list(comparisons(runs, level).values())
    return found[0] if len(found) == 1 else None


def comparisons(
    runs: Sequence[RunRecord], level: Callable[[Evaluation], Level | None] = fixed
) -> dict[str, Comparison]:
    """Compare DEAL with the baseline in each family that has both and is comparable, by its name.

    Methods, backbones and other losses make a difference of their own, which is not DEAL's.
    """
    if not comparable(runs):
        return {}
    families = dict.fromkeys(run.family for run in runs)
    found = {
        _family_name(family, list(families)): _compare(
            [r for r in runs if r.family == family], level
        )
        for family in families
    }
    return {name: comparison for name, comparison in found.items() if comparison is not None}


def _family_name(family: Family, among: Sequence[Family]) -> str:
    """Name a family by its method, and by its backbone where the method alone does not tell."""
    several = len({other.backbone for other in among if other.method == family.method}) > 1
    backbone = f" on {family.backbone}" if several else ""
    return with_losses(f"{family.method}{backbone}", family.losses)


def _compare(
    runs: Sequence[RunRecord], level: Callable[[Evaluation], Level | None]
) -> Comparison | None:
    before, after = _figures(runs, BASELINE, level), _figures(runs, DEAL, level)
    if not before or not after:
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
    """Return the sentence at the top of the page."""
    judged = [run for run in runs if run.evaluation is not None]
    if not judged:
        return "Not evaluated yet: run “dealseg evaluate RUN DATA” for each run, then report again."
    if not comparable(runs):
        return "The runs were evaluated on different data, so their figures cannot be compared."
    found, what = comparisons(runs), "mIoU at the fixed threshold"
    if len(found) > 1:
        return f"{what}, baseline → DEAL: {_by_family(found)}."
    if not found:
        return f"{what}: {_each(judged)}.{_why_no_gain(judged)}"
    ((name, comparison),) = found.items()
    where = f", {name}" if len({run.family for run in judged}) > 1 else ""
    return f"{what}{where}: {_arrow(comparison)}, {_judgement(comparison)}."


def _each(judged: Sequence[RunRecord]) -> str:
    figures = [(run.label, run.evaluation.fixed.mean_iou) for run in judged if run.evaluation]
    return ", ".join(f"{label} {percent(figure)}" for label, figure in figures)


def _why_no_gain(judged: Sequence[RunRecord]) -> str:
    """Say why a baseline and a DEAL run side by side are not compared."""
    if {BASELINE, DEAL} <= {run.role for run in judged} and len({r.family for r in judged}) > 1:
        return (
            " The runs differ in more than DEAL (method, backbone or other losses), so that no "
            "gain can be put down to it."
        )
    return ""


def _by_family(found: Mapping[str, Comparison]) -> str:
    return ", ".join(
        f"{name} {each.baseline:.1f} → {each.deal:.1f} ({signed(each.gain)})"
        for name, each in found.items()
    )


def _arrow(found: Comparison) -> str:
    return f"baseline {found.baseline:.1f} → DEAL {found.deal:.1f}"


def _judgement(found: Comparison) -> str:
    if found.gain == 0:
        return "no difference"
    direction = "better" if found.gain > 0 else "worse"
    return f"{signed(found.gain)} points, DEAL is {direction}"


def oracle_sentence(runs: Sequence[RunRecord]) -> str | None:
    """Return the same for the thresholds that saw the ground truth, marked as such."""
    found = comparisons(runs, oracle)
    if not found:
        return None
    protocols = sorted({r.evaluation.protocol for r in runs if r.evaluation} - {None}, key=str)
    if len(protocols) > 1:
        return (
            f"figures of different protocols ({', '.join(map(str, protocols))}) are not compared."
        )
    one = next(iter(found.values()))
    told = _by_family(found) if len(found) > 1 else f"{_arrow(one)} ({signed(one.gain)})"
    if protocols == ["full"]:
        which = "the best threshold for this ground truth: an upper bound, not a result"
    else:
        which = (
            f"the threshold that protocol {protocols[0]} found with this ground truth: no result"
        )
    return f"{told} with {which}."


def spread_sentence(runs: Sequence[RunRecord]) -> str | None:
    """Say how sure the comparison is: by its number of runs and their spread."""
    found = comparisons(runs)
    if not found:
        return None
    if any(each.spread is None for each in found.values()):
        return (
            "One run does not show how much figures move with the seed: train with more seeds "
            "before you trust a small difference."
        )
    return " ".join(
        (f"{name}: means" if len(found) > 1 else "Means")
        + f" of {each.runs[0]} baseline and {each.runs[1]} DEAL runs; standard deviations "
        f"{each.spread[0]:.1f} and {each.spread[1]:.1f} points."
        for name, each in found.items()
        if each.spread is not None
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
