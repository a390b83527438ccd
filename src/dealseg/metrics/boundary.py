"""How well outlines agree: boundary IoU and contour F-score, per class and summed over a set.

Both take masks in which some pixels are ignored in the ground truth. Such pixels are ignored in the
prediction as well, so what is predicted there never matters; they are not counted, and the edge of
an ignored region is no outline.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from dealseg.metrics.confusion import IGNORE

_OUTSIDE = 254  # larger than any class, so that the picture's border differs from all of them


def boundary_counts(
    prediction: UInt8[Tensor, "h w"],
    truth: UInt8[Tensor, "h w"],
    classes: int,
    *,
    ratio: float = 0.02,
) -> Int64[Tensor, "2 c"]:
    """Return intersection and union of each class's inner boundary bands; counts of images add up.

    The band of a class is its pixels within a Chebyshev distance of d pixels of a pixel known to be
    of another class, or of the outside of the picture; d = round(ratio * diagonal), at least 1.
    Ignored pixels count as neither, so a strip of them between two objects does not hide the
    objects' bands unless it is wider than d.

    Source: Cheng, Girshick, Dollar, Berg, Kirillov 2021, "Boundary IoU", eq. 2, with the rounding,
    the square structuring element and the picture's border as in the authors' code. Departs
    from it in the ignored pixels, which the paper does not have, and in summing over the
    images before dividing, as mIoU does.

    Args:
        prediction: class indices.
        truth: class indices or 255 (ignored).
        classes: number of classes, background included.
        ratio: distance as a share of the picture's diagonal.
    """
    radius = max(1, round(ratio * math.hypot(*truth.shape)))
    ignored = truth == IGNORE
    ours = _band_labels(prediction.masked_fill(ignored, IGNORE), radius)
    theirs = _band_labels(truth, radius)
    both = _count(ours[ours == theirs], classes)
    return torch.stack([both, _count(ours, classes) + _count(theirs, classes) - both])


def boundary_iou(counts: Int64[Tensor, "2 c"]) -> Float64[Tensor, " c"]:
    """Return the boundary IoU of each class; NaN for a class that is in neither."""
    both, union = counts.double().unbind()
    return both / union


def contour_counts(
    prediction: UInt8[Tensor, "h w"],
    truth: UInt8[Tensor, "h w"],
    classes: int,
    *,
    tolerance: float = 0.008,
) -> Int64[Tensor, "4 c"]:
    """Return matched and all contour pixels of each class; counts of images add up.

    A pixel is on the contours of two classes when it has the one and its neighbour to the right,
    below, or to the lower right has the other (one pixel wide, none at the picture's border). It is
    matched when the other mask has a contour pixel of that class within r = ceil(tolerance *
    diagonal) pixels, measured straight. Ignored pixels are passed over: the neighbour is the next
    known pixel in that direction, at most 2 r pixels further on, so that two objects with an
    ignored strip between them (as in VOC) have a contour along it, in both masks.

    Source: Perazzi et al. 2016 (DAVIS), the measure F, which the WSSS works ICAM and HFPL use.
    Departs from it in the ignored pixels, and in summing over the images before
    dividing, so that images without the class do not count as right.

    Args:
        prediction: class indices.
        truth: class indices or 255 (ignored).
        classes: number of classes, background included.
        tolerance: distance as a share of the picture's diagonal.

    Returns:
        matched and all contour pixels of the prediction, then of the ground truth.
    """
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    ignored = truth == IGNORE
    prediction = prediction.masked_fill(ignored, IGNORE)
    present = _count(prediction, classes) + _count(truth, classes)
    bits = _class_bits(present.nonzero().flatten().tolist(), truth.device)
    gap = 2 * radius if bool(ignored.any()) else 0
    ours, theirs = (_contours(labels, bits, gap) for labels in (prediction, truth))
    found = (ours & _dilate(theirs, radius), ours, theirs & _dilate(ours, radius), theirs)
    return torch.stack([_count_bits(words, bits)[:classes] for words in found])


def contour_f(counts: Int64[Tensor, "4 c"]) -> Float64[Tensor, " c"]:
    """Return 2 P R / (P + R) of each class; NaN without contours, 0 if only one mask has some."""
    ours_matched, ours, theirs_matched, theirs = counts.double().unbind()
    precision = ours_matched / ours.clamp(min=1)
    recall = theirs_matched / theirs.clamp(min=1)
    score = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo().tiny)
    return score.masked_fill(ours + theirs == 0, math.nan)


def _count(labels: UInt8[Tensor, "*n"], classes: int) -> Int64[Tensor, " c"]:
    return torch.bincount(labels.flatten(), minlength=256)[:classes]


def _band_labels(labels: UInt8[Tensor, "h w"], radius: int) -> UInt8[Tensor, "h w"]:
    """Return the labels where the square around a pixel holds another one, else 255.

    One band serves all classes: a known pixel is in the band of its class exactly when the largest
    and the smallest known label around it differ.
    """
    known = labels != IGNORE
    largest, smallest = labels.masked_fill(~known, 0), labels
    for step in ((0, 1), (1, 0)):
        pad = [radius * axis for axis in (step[1], step[1], step[0], step[0])]
        size = 2 * radius + 1
        largest = _slide(functional.pad(largest, pad, value=_OUTSIDE), size, torch.maximum, step)
        smallest = _slide(functional.pad(smallest, pad, value=IGNORE), size, torch.minimum, step)
    return labels.masked_fill(largest == smallest, IGNORE)


def _slide(
    values: Tensor, size: int, combine: Callable[[Tensor, Tensor], Tensor], step: tuple[int, int]
) -> Tensor:
    """Return `combine` over each window of `size` values along `step`, without padding.

    Windows of 2, 4, 8 ... values are joined, so the cost grows with the logarithm of the size.
    `combine` must be associative and not mind a value that is taken twice in order.
    """
    width = 1
    while width < size:
        hop = min(width, size - width)
        down, right = hop * step[0], hop * step[1]
        height, length = values.shape[-2] - down, values.shape[-1] - right
        values = combine(values[..., :height, :length], values[..., down:, right:])
        width += hop
    return values


def _first_known(near: Tensor, far: Tensor) -> Tensor:
    return torch.where(near == IGNORE, far, near)


def _class_bits(present: list[int], device: torch.device) -> UInt8[Tensor, "n 256"]:
    """Return a table that gives each class its own bit in one of n bytes, and other values none.

    So the outlines of eight classes are found, widened and compared at the price of one.
    """
    table = torch.zeros(math.ceil(len(present) / 8), 256, dtype=torch.uint8)
    for place, label in enumerate(present):
        table[place // 8, label] = 1 << place % 8
    return table.to(device)


def _count_bits(
    words: UInt8[Tensor, "n h w"], bits: UInt8[Tensor, "n 256"]
) -> Int64[Tensor, " 256"]:
    """Return the number of pixels that have the bit of each class."""
    counts = torch.zeros(256, dtype=torch.int64, device=words.device)
    for word, labels in zip(words, bits, strict=True):
        own = labels.nonzero().flatten()
        counts[own] = (word[word != 0] & labels[own, None]).count_nonzero(dim=1)
    return counts


def _contours(
    labels: UInt8[Tensor, "h w"], bits: UInt8[Tensor, "n 256"], gap: int
) -> UInt8[Tensor, "n h w"]:
    """Return the contours of all classes as bits; ignored strips up to `gap` are passed over."""
    height, width = labels.shape
    padded = functional.pad(labels, (0, gap + 1, 0, gap + 1), value=IGNORE)
    own = _look_up(bits, labels)
    contours = torch.zeros_like(own)
    for down, right in ((0, 1), (1, 0), (1, 1)):
        neighbour = _slide(padded, gap + 1, _first_known, (down, right))
        neighbour = neighbour[down : down + height, right : right + width]
        contours |= own ^ _look_up(bits, _first_known(neighbour, labels))
    return contours.masked_fill(labels == IGNORE, 0)


def _look_up(bits: UInt8[Tensor, "n 256"], labels: UInt8[Tensor, "h w"]) -> UInt8[Tensor, "n h w"]:
    return bits.index_select(1, labels.flatten().to(torch.int32)).view(-1, *labels.shape)


def _dilate(words: UInt8[Tensor, "n h w"], radius: int) -> UInt8[Tensor, "n h w"]:
    """Return the bits that some pixel within `radius` has, row by row of the disk."""
    height = words.shape[-2]
    near = torch.zeros_like(words)
    for down in range(min(radius, height - 1) + 1):
        reach = math.isqrt(radius**2 - down**2)
        wide = functional.pad(words, (reach, reach))
        wide = _slide(wide, 2 * reach + 1, torch.bitwise_or, (0, 1))
        near[:, down:] |= wide[:, : height - down]
        near[:, : height - down] |= wide[:, down:]
    return near
