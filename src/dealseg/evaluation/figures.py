"""The figures at one threshold, and those of the tags."""

from dataclasses import dataclass

from dealseg.evaluation.counts import MaskCounts
from dealseg.metrics.boundary import boundary_iou, contour_f
from dealseg.metrics.confusion import class_figures, mean_iou


@dataclass(frozen=True)
class Figures:
    """Figures at one threshold, in [0, 1]; tuples go by class, background first.

    NaN stands where a class gives no figure, see :class:`dealseg.metrics.ClassFigures`;
    means leave it out.

    Attributes:
        threshold: constant background score; None if it is not known.
        threshold_origin: who chose it, and with what.
        mean_iou: over all classes, background included, of one confusion matrix over the set.
        boundary_iou: None if not computed; the same for the others that may be None.
    """

    threshold: float | None
    threshold_origin: str
    mean_iou: float
    iou: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    false_positive_share: tuple[float, ...]
    false_negative_share: tuple[float, ...]
    mean_boundary_iou: float | None = None
    boundary_iou: tuple[float, ...] | None = None
    mean_contour_f: float | None = None
    contour_f: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TagFigures:
    """How well the network tells which classes are in an image.

    Attributes:
        images: those with both tag scores and tags.
        mean_average_precision: mean of `average_precision` over the classes that occur.
        mean_f1: mean of `f1` at probability 0.5.
    """

    images: int
    mean_average_precision: float
    average_precision: tuple[float, ...]
    mean_f1: float
    f1: tuple[float, ...]


def figures(counts: MaskCounts, threshold: float | None, threshold_origin: str) -> Figures:
    """Return the figures of the summed counts."""
    shares = class_figures(counts.confusion)
    band = None if counts.boundary is None else boundary_iou(counts.boundary)
    contour = None if counts.contour is None else contour_f(counts.contour)
    return Figures(
        threshold=threshold,
        threshold_origin=threshold_origin,
        mean_iou=float(mean_iou(counts.confusion)),
        iou=tuple(shares.iou.tolist()),
        precision=tuple(shares.precision.tolist()),
        recall=tuple(shares.recall.tolist()),
        false_positive_share=tuple(shares.false_positive_share.tolist()),
        false_negative_share=tuple(shares.false_negative_share.tolist()),
        mean_boundary_iou=None if band is None else float(band.nanmean()),
        boundary_iou=None if band is None else tuple(band.tolist()),
        mean_contour_f=None if contour is None else float(contour.nanmean()),
        contour_f=None if contour is None else tuple(contour.tolist()),
    )
