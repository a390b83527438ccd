"""All background thresholds in one pass over the pixels."""

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from dealseg.metrics.confusion import truth_rows

STEPS = 100
THRESHOLDS: tuple[float, ...] = tuple(step / STEPS for step in range(STEPS + 1))
"""The swept background scores 0.00, 0.01, ... 1.00."""
_BINS = STEPS + 1


def score_histogram(
    winner: UInt8[Tensor, "*n"],
    score: Float32[Tensor, "*n"],
    truth: UInt8[Tensor, "*n"],
    classes: int,
) -> Int64[Tensor, "c k bins"]:
    """Count pixels by ground truth class, winning class and number of thresholds below the score.

    This is all that :func:`sweep_confusions` needs, and histograms of images add up. The
    number of thresholds below a score is found without a search: with r = round(100 score), all
    thresholds before r are below, all after r are not, and r itself is compared, as a float32
    number, as :func:`dealseg.cam.threshold_mask` does. So scores that equal a threshold
    are counted exactly as the plain loop counts them.

    Args:
        winner: class with the largest score, a mask value 1 to classes - 1.
        score: its score in [0, 1], see :func:`dealseg.cam.winner_and_score`.
        truth: class indices or 255 (ignored).
        classes: number of classes, background included.

    Raises:
        ValueError: if a winner, score or ground truth value is out of range.
    """
    _check_winner_and_score(winner, score, classes)
    nearest = (score * STEPS).round_()
    steps = nearest.new_tensor(STEPS)  # CUDA multiplies by the rounded reciprocal of a plain number
    above = score > nearest / steps
    index = truth_rows(truth, classes).to(torch.int32).mul_(classes).add_(winner.to(torch.int32))
    index.mul_(_BINS).add_(nearest.to(torch.int32)).add_(above.to(torch.int32))
    table = torch.bincount(index.flatten(), minlength=(classes + 1) * classes * _BINS)
    return table.view(classes + 1, classes, _BINS)[:classes, 1:].contiguous()


def sweep_confusions(histogram: Int64[Tensor, "c k bins"]) -> Int64[Tensor, "t c c"]:
    """Return the confusion matrix at each of `THRESHOLDS`, from :func:`score_histogram`.

    At threshold i a pixel keeps its winner when more than i thresholds are below its score, and
    is background otherwise.
    """
    from_top = histogram.flip(-1).cumsum(-1).flip(-1)
    total = from_top[..., 0].sum(dim=1, keepdim=True)
    kept = torch.cat([from_top[..., 1:], torch.zeros_like(from_top[..., :1])], dim=-1)
    kept = kept.permute(2, 0, 1)
    return torch.cat([total - kept.sum(dim=-1, keepdim=True), kept], dim=-1)


def _check_winner_and_score(
    winner: UInt8[Tensor, "*n"], score: Float32[Tensor, "*n"], classes: int
) -> None:
    low, high = (int(value) for value in winner.aminmax())
    if low < 1 or high >= classes:
        raise ValueError(f"winners must be 1 to {classes - 1}, got {low} to {high}")
    smallest, largest = (float(value) for value in score.aminmax())
    if not (smallest >= 0 and largest <= 1):
        raise ValueError(f"scores must be in [0, 1], got {smallest:.3g} to {largest:.3g}")
