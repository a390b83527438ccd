"""How an ORACLE threshold is searched for: all thresholds, or as the original programs do."""

from dataclasses import dataclass

from jaxtyping import Float64, Int64
from torch import Tensor

from dealseg.metrics.confusion import iou, mean_iou
from dealseg.metrics.sweep import STEPS, THRESHOLDS


@dataclass(frozen=True)
class Protocol:
    """A search over constant background scores i / 100.

    Attributes:
        name: what users call it.
        first: smallest i.
        last: largest i.
        stops_early: end at the first threshold that is no better than the best before it.
        absent_as_zero: a class in neither ground truth nor prediction counts with IoU 0; else
            it is left out of the mean.
    """

    name: str
    first: int
    last: int
    stops_early: bool = False
    absent_as_zero: bool = False


PROTOCOLS: dict[str, Protocol] = {
    "full": Protocol("full", 0, STEPS),
    "seam": Protocol("seam", 0, 59, absent_as_zero=True),
    "weaktr": Protocol("weaktr", 40, 59, stops_early=True),
}
"""Ours; SEAM's `evaluation.py --curve`; and WeakTr's, as its training calls it."""


@dataclass(frozen=True)
class Search:
    """What a protocol tried and found.

    Attributes:
        protocol: its name.
        first: smallest threshold it may try.
        last: largest one.
        thresholds: those it tried, in order.
        curve: mean IoU at each of them, with absent classes as the protocol counts them.
        best: threshold of the largest mean IoU; of equal ones the lowest.
        best_mean_iou: that mean IoU.
        stopped_early: whether it ended before `last`.
        absent_classes: `left out` of the mean, or `count as 0`.
    """

    protocol: str
    first: float
    last: float
    thresholds: tuple[float, ...]
    curve: tuple[float, ...]
    best: float
    best_mean_iou: float
    stopped_early: bool
    absent_classes: str

    @property
    def at_the_edge(self) -> bool:
        """Whether a better threshold may lie outside what was tried."""
        below = self.best == self.first > THRESHOLDS[0]
        above = self.best == self.last < THRESHOLDS[-1]
        return self.stopped_early or below or above


def search(confusions: Int64[Tensor, "t c c"], protocol: Protocol) -> Search:
    """Search as a protocol does, among the matrices of :func:`dealseg.metrics.sweep_confusions`.

    Sources: `evaluation.py` of YudeWang/SEAM (60 thresholds, IoU with 1e-10 in the denominator, so
    that an absent class counts 0) and of hustvl/WeakTr (`whole_eval` from 0.40, nanmean, ends at
    the first threshold that does not improve). Departures: IoU is computed without the 1e-10;
    WeakTr takes a softmax of the scores first, whose rounding can turn a near tie into a tie; where
    WeakTr finds nothing above 0 it says threshold 0, here it is the first one tried.
    """
    values = _means(confusions, protocol)[protocol.first : protocol.last + 1].tolist()
    tried = _until_no_better(values) if protocol.stops_early else len(values)
    curve = tuple(values[:tried])
    thresholds = THRESHOLDS[protocol.first : protocol.first + tried]
    best_mean_iou = max(curve)
    return Search(
        protocol=protocol.name,
        first=THRESHOLDS[protocol.first],
        last=THRESHOLDS[protocol.last],
        thresholds=thresholds,
        curve=curve,
        best=thresholds[curve.index(best_mean_iou)],
        best_mean_iou=best_mean_iou,
        stopped_early=tried < len(values),
        absent_classes="count as 0" if protocol.absent_as_zero else "left out",
    )


def _means(confusions: Int64[Tensor, "t c c"], protocol: Protocol) -> Float64[Tensor, " t"]:
    if protocol.absent_as_zero:
        return iou(confusions).nan_to_num(0.0).mean(dim=-1)
    return mean_iou(confusions)


def _until_no_better(values: list[float]) -> int:
    """Return how many values are looked at before the search gives up, the last look counted."""
    best = 0.0
    for count, value in enumerate(values, start=1):
        if value <= best:
            return count
        best = value
    return len(values)
