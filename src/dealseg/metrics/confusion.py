"""One confusion matrix over the whole set, and the figures a segmentation is judged by."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

IGNORE = 255
"""Ground truth value of pixels that take no part in any figure."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures per class (background first), in [0, 1]; NaN where the quotient is 0 / 0.

    With T, P and TP the class's pixels in the ground truth, in the prediction and in both:

    Attributes:
        iou: TP / (T + P - TP); NaN for a class that is in neither.
        precision: TP / P.
        recall: TP / T.
        false_positive_share: (P - TP) / (T + P - TP), SEAM's "FP" (over-activation).
        false_negative_share: (T - TP) / (T + P - TP), SEAM's "FN" (under-activation).
            IoU and the two shares add up to 1.
    """

    iou: Float64[Tensor, " c"]
    precision: Float64[Tensor, " c"]
    recall: Float64[Tensor, " c"]
    false_positive_share: Float64[Tensor, " c"]
    false_negative_share: Float64[Tensor, " c"]


def truth_rows(truth: UInt8[Tensor, "*n"], classes: int) -> UInt8[Tensor, "*n"]:
    """Return the ground truth with `IGNORE` replaced by `classes`, a row to throw away.

    Raises:
        ValueError: if a value is neither a class index below `classes` nor `IGNORE`.
    """
    if not 1 <= classes < IGNORE:
        raise ValueError(f"classes (with background) must be 1 to {IGNORE - 1}, got {classes}")
    lowest_above = int((truth - classes).amin())  # uint8 wraps: values below `classes` come last
    if lowest_above < IGNORE - classes:
        raise ValueError(
            f"ground truth values must be 0 to {classes - 1} or {IGNORE} (ignored), "
            f"got {lowest_above + classes}"
        )
    return truth.clamp(max=classes)


def confusion_matrix(
    prediction: UInt8[Tensor, "*n"], truth: UInt8[Tensor, "*n"], classes: int
) -> Int64[Tensor, "c c"]:
    """Return how many pixels of each ground truth class (row) were given each label (column).

    Pixels whose ground truth is `IGNORE` are left out whatever was predicted there. Matrices of
    several images, or of parts of one set, add up.

    Args:
        prediction: class indices, 0 is background.
        truth: class indices or `IGNORE`.
        classes: number of classes, background included.

    Raises:
        ValueError: if a counted pixel has a value outside the classes.
    """
    rows = truth_rows(truth, classes).to(torch.int32)
    index = torch.add(prediction.to(torch.int32), rows, alpha=256)
    table = torch.bincount(index.flatten(), minlength=256 * (classes + 1))
    table = table.view(classes + 1, 256)[:classes]
    if table[:, classes:].any():
        found = int(table[:, classes:].any(dim=0).nonzero().max()) + classes
        raise ValueError(
            f"predicted values must be 0 to {classes - 1} where the ground truth is known, "
            f"got {found}"
        )
    return table[:, :classes].contiguous()


def iou(confusion: Int64[Tensor, "*n c c"]) -> Float64[Tensor, "*n c"]:
    """Return the intersection over union of each class; NaN for a class that is in neither."""
    both, truth, predicted = _marginals(confusion)
    return both / (truth + predicted - both)


def mean_iou(confusion: Int64[Tensor, "*n c c"]) -> Float64[Tensor, "*n"]:
    """Return the mean IoU over all classes, background included, of one matrix over the set.

    A class absent from both ground truth and prediction is left out of the mean. A class that is
    predicted but not in the ground truth counts with IoU 0. NaN for an empty matrix.
    """
    return iou(confusion).nanmean(dim=-1)


def class_figures(confusion: Int64[Tensor, "c c"]) -> ClassFigures:
    """Return IoU, precision, recall and SEAM's decomposition of what is missing to IoU 1."""
    both, truth, predicted = _marginals(confusion)
    union = truth + predicted - both
    return ClassFigures(
        iou=both / union,
        precision=both / predicted,
        recall=both / truth,
        false_positive_share=(predicted - both) / union,
        false_negative_share=(truth - both) / union,
    )


def _marginals(
    confusion: Int64[Tensor, "*n c c"],
) -> tuple[Float64[Tensor, "*n c"], Float64[Tensor, "*n c"], Float64[Tensor, "*n c"]]:
    """Return the pixels of each class in both, in the ground truth and in the prediction."""
    counts = confusion.double()
    return counts.diagonal(dim1=-2, dim2=-1), counts.sum(dim=-1), counts.sum(dim=-2)
