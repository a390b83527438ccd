"""How well image tags are predicted."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def average_precision(
    scores: Float[Tensor, "n k"], tags: Float[Tensor, "n k"]
) -> Float64[Tensor, " k"]:
    """Return the average precision of each class over the images; NaN for one that no image has.

    AP = sum over thresholds of (R_i - R_(i-1)) P_i, the thresholds being the scores that occur,
    highest first; images of equal score enter together. This is scikit-learn's definition,
    without interpolation.

    Args:
        scores: one per image and class, larger for a class that is more likely there.
        tags: 1 for classes in the image, else 0.
    """
    columns = zip(scores.unbind(1), tags.unbind(1), strict=True)
    return torch.stack([_average_precision(score, tag > 0) for score, tag in columns])


def f1(predicted: Float[Tensor, "n k"], tags: Float[Tensor, "n k"]) -> Float64[Tensor, " k"]:
    """Return 2 TP / (2 TP + FP + FN) of each class; NaN for one neither tagged nor predicted.

    Args:
        predicted: 1 for classes said to be in the image, else 0.
        tags: 1 for classes in the image, else 0.
    """
    said, there = predicted > 0, tags > 0
    both = (said & there).sum(dim=0).double()
    return 2 * both / (said.sum(dim=0) + there.sum(dim=0))


def _average_precision(score: Tensor, tag: Tensor) -> Tensor:
    order = score.argsort(descending=True)
    score, hits = score[order], tag[order].double().cumsum(0)
    last_of_ties = torch.ones_like(score, dtype=torch.bool)
    last_of_ties[:-1] = score[:-1] != score[1:]
    places = torch.arange(1, len(score) + 1, device=score.device)[last_of_ties]
    hits = hits[last_of_ties]
    gained = hits.diff(prepend=hits.new_zeros(1))
    return (gained * hits / places).sum() / hits[-1]
