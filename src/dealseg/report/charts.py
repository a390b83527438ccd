"""What the charts show, as data: from the runs' records, before any drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

from dealseg.config.training import LOSSES
from dealseg.losses import EDGE_SHARE
from dealseg.report.naming import BASELINE
from dealseg.report.records import Curve, Evaluation, Level, RunRecord


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        place: of its run, which gives the colour.
        dashed: told apart from another curve of the same run.
    """

    label: str
    points: Curve
    place: int
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A marked point: full at the fixed threshold, open at the ORACLE one."""

    x: float
    y: float
    place: int
    oracle: bool


@dataclass(frozen=True)
class Chart:
    """A chart of lines.

    Attributes:
        note: how to read it, for the caption.
        across: what the x axis is.
        band: range of y that is shaded.
    """

    title: str
    note: str
    across: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Plan:
    title: str
    note: str
    column: str
    dashed: str | None = None
    band: tuple[float, float] | None = None


_PLANS = (
    _Plan(
        "Total loss",
        "What the training minimises. Other losses and methods have other terms, so compare its "
        "course only.",
        "loss/total",
    ),
    _Plan(
        "Class loss",
        "How well the tags are learnt, all class terms of the method; lower is better.",
        "loss/class",
    ),
    _Plan(
        "Importance sampling",
        "The class loss at cells drawn from the CAMs, before its weight; lower is better.",
        "isl/loss",
    ),
    _Plan(
        "Feature similarity",
        "How well CAMs agree with colours, before its weight; lower is better.",
        "fsl/loss",
    ),
    _Plan(
        "Alignment",
        "How well CAM edges and depth edges agree, \N{MINUS SIGN}1 to 1; higher is better.",
        "deal/alignment",
    ),
    _Plan(
        "Edge shares",
        "Edge cells of the CAMs (solid) and of the depth (dashed). The loss was found to help "
        "while the depth's share is in the shaded range.",
        "deal/cam_share",
        "deal/depth_share",
        EDGE_SHARE,
    ),
    _Plan(
        "Flat CAMs",
        "Share of CAMs without any edge cell; near 1 is the collapse.",
        "deal/flat_share",
    ),
    _Plan("Lambda", "Factor of the Depth Edge Alignment Loss.", "deal/lambda"),
)


_TERMS = {
    "er": ("Equivariance", "How far the CAMs of the two views are apart; lower is better."),
    "ecr": ("Cross equivariance", "How far each view's CAMs are from the other's refined ones."),
    "min_pool": ("Min pooling", "Mean of the lowest quarter of the refined CAMs; lower is better."),
}
"""Losses of a method's own beside the class loss; others are shown by their bare names."""


def training_charts(runs: Sequence[RunRecord]) -> list[Chart]:
    """Return a chart for each figure that at least one run logged."""
    charts = []
    for plan in (*_PLANS, *_own_terms(runs)):
        lines = _lines(runs, plan.column, dashed=False)
        if plan.dashed is not None:
            lines += _lines(runs, plan.dashed, dashed=True)
        if lines:
            charts.append(Chart(plan.title, plan.note, "epoch", tuple(lines), band=plan.band))
    return charts


def missing_columns(run: RunRecord) -> list[str]:
    """Return the columns a run should have logged and did not; a baseline has no alignment."""
    added = set(run.config.loss_names) - {"deal" if run.role == BASELINE else ""}
    expected = {"loss", *added}
    names = (name for plan in _PLANS for name in (plan.column, plan.dashed) if name is not None)
    wanted = [name for name in names if name.partition("/")[0] in expected]
    return [name for name in wanted if not _column(run, name)]


def _own_terms(runs: Sequence[RunRecord]) -> list[_Plan]:
    """Return a plan for each loss term that is neither the class loss nor an added one."""
    columns = dict.fromkeys(name for run in runs for name in run.metrics)
    names = [name.removeprefix("loss/") for name in columns if name.startswith("loss/")]
    told = {"total", "class", *LOSSES}
    own = [name for name in names if name not in told and not name.startswith("class_")]
    what = "A loss term of the method."
    return [_Plan(*_TERMS.get(name, (name, what)), f"loss/{name}") for name in own]


def threshold_chart(runs: Sequence[RunRecord]) -> Chart | None:
    """Return mIoU in per cent over the threshold, or None if no run was swept."""
    lines, marks = [], []
    for place, run in enumerate(runs):
        evaluation = run.evaluation
        if evaluation is None or not evaluation.curve:
            continue
        lines.append(Line(run.label, _curve(evaluation), place))
        levels = [(evaluation.fixed, False), (evaluation.oracle, True)]
        marks += [m for level, best in levels if (m := _mark(level, place, best)) is not None]
    if not lines:
        return None
    note = "Dot: the fixed threshold. Open diamond: ORACLE, chosen with the ground truth."
    if any(run.evaluation is not None and run.evaluation.protocol == "seam" for run in runs):
        note += " Protocol seam counts absent classes as 0: its diamond may lie below the curve."
    title = "mIoU against threshold"
    return Chart(title, note, "threshold", tuple(lines), tuple(marks))


def _curve(evaluation: Evaluation) -> Curve:
    pairs = zip(evaluation.thresholds, evaluation.curve, strict=False)
    return tuple((t, 100 * value) for t, value in pairs if value is not None)


def _mark(level: Level | None, place: int, best: bool) -> Mark | None:
    if level is None or level.threshold is None or level.mean_iou is None:
        return None
    return Mark(level.threshold, 100 * level.mean_iou, place, best)


def _lines(runs: Sequence[RunRecord], column: str, *, dashed: bool) -> list[Line]:
    curves = [(place, run.label, _column(run, column)) for place, run in enumerate(runs)]
    return [Line(label, curve, place, dashed) for place, label, curve in curves if curve]


def _column(run: RunRecord, name: str) -> Curve:
    """Return a column's curve; the class loss is the sum of its terms and of ISL's share of it."""
    if name != "loss/class":
        return run.metrics.get(name, ())
    terms = [found for found in run.metrics if found == name or found.startswith(f"{name}_")]
    if not terms:
        return ()
    shares = [dict(run.metrics[each]) for each in (*terms, "loss/isl") if each in run.metrics]
    epochs = [epoch for epoch in shares[0] if all(epoch in share for share in shares)]
    return tuple((epoch, sum(share[epoch] for share in shares)) for epoch in epochs)
