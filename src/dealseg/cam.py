"""From class activation maps to masks: pure tensor functions."""

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


def predicted_tags(logits: Float[Tensor, "b k"], probability: float = 0.5) -> Float[Tensor, "b k"]:
    """Return 1 where the class probability exceeds `probability`, else 0."""
    return (logits.sigmoid() > probability).to(logits.dtype)
