"""From normalised CAMs to class probabilities."""

import torch
from jaxtyping import Float
from torch import Tensor


def class_probabilities(
    normalised: Float[Tensor, "b k h w"], threshold: float
) -> Float[Tensor, "b 1+k h w"]:
    """Return the background score and the CAMs, background first, divided by their sum.

    So the most probable class is what thresholding gives (a pixel is background unless a CAM is
    above the threshold), and a pixel whose CAM is at the threshold is undecided.

    Source: SEAM's and WeakTr's inference, which put a constant background plane beside the
    normalised maps; the division is ours, since refinement needs rows that sum to 1.

    Args:
        normalised: normalised CAMs of the classes present.
        threshold: the background score.

    Raises:
        ValueError: if the threshold is not above 0.
    """
    if not threshold > 0:
        raise ValueError(f"threshold must be > 0 to become a probability, got {threshold}")
    batch, _, height, width = normalised.shape
    background = normalised.new_full((batch, 1, height, width), threshold)
    scores = torch.cat([background, normalised], dim=1)
    return scores / scores.sum(dim=1, keepdim=True)
