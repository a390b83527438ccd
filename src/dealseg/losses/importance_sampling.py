"""The importance sampling loss (ISL): a class loss on cells drawn from the CAM instead of a pool.

Source: Jonnarth, Zhang, Felsberg, "High-fidelity Pseudo-labels for Boosting Weakly-Supervised
Segmentation" (HFPL), WACV 2024, arXiv 2304.02621, and its published code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.depth import at_least_float32

FLOOR = 1e-5
"""HFPL's, added to every cell's probability before drawing: no map is without a cell to draw."""
SURE = 1e20
"""The weight of a cell that is drawn whatever the others are; they are at most 1."""


def importance_sampling(
    logits: Float[Tensor, "b k h w"],
    tags: Float[Tensor, "b k"],
    *,
    samples: int | None = 10,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " b"]:
    r"""Return the class loss of cells drawn in proportion to the CAM, one value per image.

    $$ L = \frac{1}{K S} \sum_{k,s} \mathrm{BCE}(l_{k, i_{ks}}, y_k), \quad
    i_{ks} \sim \frac{p_{ki}}{\sum_j p_{kj}}, \quad p = \sigma(l) + 10^{-5} $$

    for all classes, present or absent: where a present class's map is high it is raised, where an
    absent one's is high it is lowered. Drawn with replacement; the gradient passes through the
    logits drawn, not through the drawing. The sum is stable for logits of any size.

    `samples=None` is ours: the exact expectation, sum_i p_i BCE(l_i, y) / sum_i p_i with p held
    constant. Sampled value and gradient have it as their mean; it has no noise and needs no
    generator.

    Args:
        logits: raw maps, of which the sigmoid is the probability of the class at a cell; half
            precision is computed with in float32.
        tags: 1 for classes in the image, else 0.
        samples: cells drawn for each image and class; None takes the expectation.
        generator: draws the cells; on the device of the logits.

    Raises:
        ValueError: for samples below 1, or samples without a generator.
    """
    flat = at_least_float32(logits).flatten(2)
    weights = flat.detach().sigmoid() + FLOOR
    labels = tags[:, :, None].to(flat.dtype)
    if samples is None:
        share = weights / weights.sum(dim=-1, keepdim=True)
        return (share * _cross_entropy(flat, labels)).sum(dim=-1).mean(dim=-1)
    cells = _draw(weights, samples, generator)
    return _cross_entropy(flat.gather(-1, cells), labels).mean(dim=(-2, -1))


def _draw(weights: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """Return the indices of cells drawn with replacement, (b, k, samples).

    A cell that is NaN is as good as certain to be drawn, so that the loss is NaN as well, where
    torch would stop without a word on the cause, on a GPU for good.
    """
    if samples < 1:
        raise ValueError(f"samples must be >= 1, or None for the expectation, got {samples}")
    if generator is None:
        raise ValueError(
            f"generator must be a torch.Generator on {weights.device} to draw samples, got None; "
            "samples=None needs none"
        )
    rows = weights.flatten(0, 1).nan_to_num(nan=SURE)
    cells = torch.multinomial(rows, samples, replacement=True, generator=generator)
    return cells.view(*weights.shape[:2], samples)


def _cross_entropy(logits: Float[Tensor, "b k n"], labels: Float[Tensor, "b k 1"]) -> Tensor:
    """Return the sigmoid cross entropy of each logit: max(l, 0) - l y + log(1 + exp(-|l|))."""
    return F.binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")


class ImportanceSampling(nn.Module):
    """Batch mean of :func:`importance_sampling`, which documents the options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(
        self,
        logits: Float[Tensor, "b k h w"],
        tags: Float[Tensor, "b k"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return importance_sampling(logits, tags, generator=generator, **self.options).mean()
