"""Figures for masks and tags, as pure functions of tensors."""

from dealseg.metrics.confusion import (
    ClassFigures,
    class_figures,
    confusion_matrix,
    iou,
    mean_iou,
)
from dealseg.metrics.sweep import THRESHOLDS, score_histogram, sweep_confusions

__all__ = [
    "THRESHOLDS",
    "ClassFigures",
    "class_figures",
    "confusion_matrix",
    "iou",
    "mean_iou",
    "score_histogram",
    "sweep_confusions",
]
