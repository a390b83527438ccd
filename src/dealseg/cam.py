"""From class activation maps to masks: pure tensor functions."""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def normalise_cams(
    cams: Float[Tensor, "b k h w"],
    tags: Float[Tensor, "b k"],
    mode: Literal["max", "minmax"] = "max",
) -> Float[Tensor, "b k h w"]:
    """Return ReLU(cam) brought to [0, 1] over the image, and 0 for classes without a tag.

    Each map is divided by its own maximum; `minmax` takes off its minimum first, as SEAM and WeakTr
    do (their maps are nowhere near 0). A map that is nowhere positive, or for `minmax` has one
    value everywhere, becomes 0 (the originals divide by max + 1e-5 and let the noise through).

    Args:
        cams: raw class activation maps.
        tags: 1 for classes in the image, else 0.
        mode: what is mapped to 0: the value 0, or the map's minimum.
    """
    positive = cams.clamp(min=0) * tags[:, :, None, None].to(cams.dtype)
    if mode == "minmax":
        positive = positive - positive.amin(dim=(-2, -1), keepdim=True)
    peak = positive.amax(dim=(-2, -1), keepdim=True)
    return positive / torch.where(peak > 0, peak, torch.ones_like(peak))


def winner_and_score(
    normalised: Float[Tensor, "*b k h w"],
) -> tuple[UInt8[Tensor, "*b h w"], Float[Tensor, "*b h w"]]:
    """Return at each pixel the class with the largest score as a mask value (1..k), and the score.

    These two maps hold all that thresholding needs: for a constant background score t the label is
    the winner where the score is above t, else 0.
    """
    score, winner = normalised.max(dim=-3)
    return (winner + 1).to(torch.uint8), score


def threshold_mask(
    winner: UInt8[Tensor, "*b h w"], score: Float[Tensor, "*b h w"], threshold: float
) -> UInt8[Tensor, "*b h w"]:
    """Return the winner where its score is above `threshold`, else 0 (background wins ties)."""
    return torch.where(score > threshold, winner, torch.zeros_like(winner))


def best_class_and_score(
    probabilities: Float[Tensor, "c h w"], threshold: float
) -> tuple[UInt8[Tensor, "h w"], Float[Tensor, "h w"]]:
    r"""Return the most probable class as a mask value (1..c-1), and the score that says so.

    The score is the normalised CAM that would have given these odds against the background,

    $$ s = \min(1, t \, p_{class} / p_{background}), $$

    the way back from :func:`dealseg.refine.class_probabilities`. It is above t exactly where the
    class is more probable than the background, so :func:`threshold_mask` gives the argmax.

    Args:
        probabilities: background first; at least one class.
        threshold: t, above 0 and below 1.
    """
    best, winner = probabilities[1:].max(dim=0)
    background = probabilities[0]
    least = torch.finfo(best.dtype).tiny
    score = (threshold * best / background.clamp(min=least)).clamp(max=1)
    at = score.new_tensor(threshold)
    above = torch.nextafter(at, at.new_tensor(1))
    score = torch.where(best > background, score.clamp(min=above), score.clamp(max=at))
    return (winner + 1).to(torch.uint8), score


def lead(votes: Iterable[Float[Tensor, "h w"]]) -> Float[Tensor, "h w"]:
    """Return at each pixel by how much the largest of two or more maps exceeds the second largest.

    Raises:
        ValueError: if there are fewer than two maps.
    """
    first, second, *others = votes
    best, next_best = torch.maximum(first, second), torch.minimum(first, second)
    for each in others:
        next_best = torch.maximum(next_best, torch.minimum(best, each))
        best = torch.maximum(best, each)
    return best - next_best


def predicted_tags(logits: Float[Tensor, "b k"], probability: float = 0.5) -> Float[Tensor, "b k"]:
    """Return 1 where the class probability exceeds `probability`, else 0."""
    return (logits.sigmoid() > probability).to(logits.dtype)
