"""Figures for masks and tags, as pure functions of tensors."""

from dealseg.metrics.boundary import boundary_counts, boundary_iou, contour_counts, contour_f
from dealseg.metrics.confusion import (
    ClassFigures,
    class_figures,
    confusion_matrix,
    iou,
    mean_iou,
)
from dealseg.metrics.expected import expected_mean_iou
from dealseg.metrics.otsu import otsu_bin
from dealseg.metrics.protocols import PROTOCOLS, Protocol, Search, search
from dealseg.metrics.stability import most_stable
from dealseg.metrics.sweep import THRESHOLDS, score_histogram, sweep_confusions
from dealseg.metrics.tags import average_precision, f1

__all__ = [
    "PROTOCOLS",
    "THRESHOLDS",
    "ClassFigures",
    "Protocol",
    "Search",
    "average_precision",
    "boundary_counts",
    "boundary_iou",
    "class_figures",
    "confusion_matrix",
    "contour_counts",
    "contour_f",
    "expected_mean_iou",
    "f1",
    "iou",
    "mean_iou",
    "most_stable",
    "otsu_bin",
    "score_histogram",
    "search",
    "sweep_confusions",
]
