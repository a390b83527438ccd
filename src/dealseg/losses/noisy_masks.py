"""Pixel losses for masks that are partly wrong: each returns one value a pixel, 0 where ignored."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from dealseg.depth import at_least_float32

IGNORE = 255
"""The mask value of pixels that take no part."""


def pixel_cross_entropy(
    logits: Float[Tensor, "b c h w"], mask: Integer[Tensor, "b h w"], *, smoothing: float = 0.0
) -> Float[Tensor, "b h w"]:
    r"""Return the cross-entropy, with the share `smoothing` of the target spread over all classes.

    $$ L = -\sum_c t_c \log p_c, \quad t_c = (1 - s) [c = y] + s / C $$

    Source: label smoothing is that of Szegedy et al. (arXiv 1512.00567).

    Args:
        logits: class scores before the softmax, background first.
        mask: class of each pixel; 255 is ignored.
        smoothing: s, in [0, 1).
    """
    wide = at_least_float32(logits)
    return F.cross_entropy(
        wide, mask.long(), reduction="none", ignore_index=IGNORE, label_smoothing=smoothing
    )


def generalised_cross_entropy(
    logits: Float[Tensor, "b c h w"], mask: Integer[Tensor, "b h w"], *, q: float = 0.7
) -> Float[Tensor, "b h w"]:
    r"""Return the generalised cross-entropy, which wrong labels pull less the less likely they are.

    $$ L = (1 - p_y^q) / q $$

    It is the cross-entropy as q goes to 0 and the mean absolute error 1 - p_y at q = 1. Its
    gradient is that of the cross-entropy times $p_y^q$.

    Source: Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks
    with Noisy Labels" (arXiv 1805.07836), eq. 6, without the truncation.

    Args:
        logits: class scores before the softmax, background first.
        mask: class of each pixel; 255 is ignored.
        q: in (0, 1].
    """
    if not 0 < q <= 1:
        raise ValueError(f"q must be in (0, 1], got {q}")
    return -torch.expm1(-q * pixel_cross_entropy(logits, mask)) / q


def symmetric_cross_entropy(
    logits: Float[Tensor, "b c h w"],
    mask: Integer[Tensor, "b h w"],
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    floor: float = -4.0,
) -> Float[Tensor, "b h w"]:
    r"""Return cross-entropy and reverse cross-entropy, in which the label is the uncertain one.

    $$ L = \alpha (-\log p_y) + \beta (-A) (1 - p_y) $$

    The second term is $-\sum_c p_c \log t_c$ with A in place of log 0.

    Source: Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels" (arXiv
    1908.06112), eq. 6 and 7.

    Args:
        logits: class scores before the softmax, background first.
        mask: class of each pixel; 255 is ignored.
        alpha: weight of the cross-entropy.
        beta: weight of the reverse one.
        floor: A, negative.
    """
    entropy = pixel_cross_entropy(logits, mask)
    return alpha * entropy + beta * floor * torch.expm1(-entropy)


def weighted_mean(
    values: Float[Tensor, "b h w"],
    mask: Integer[Tensor, "b h w"],
    *,
    class_weights: Float[Tensor, " c"] | None = None,
    image_weights: Float[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over the pixels that are not ignored, in proportion to their weights.

    A pixel's weight is that of its class times that of its image. Without any pixel it is 0.

    Args:
        values: one a pixel.
        mask: class of each pixel; 255 is ignored.
        class_weights: of each class, background first.
        image_weights: of each image.
    """
    weights = (mask != IGNORE).to(values.dtype)
    if class_weights is not None:
        known = mask.long().where(mask != IGNORE, torch.zeros_like(mask.long()))
        weights = weights * class_weights.to(values.dtype)[known]
    if image_weights is not None:
        weights = weights * image_weights.to(values.dtype)[:, None, None]
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, torch.ones_like(total))


def at_grid(mask: UInt8[Tensor, "b h w"], grid: tuple[int, int]) -> UInt8[Tensor, "b h2 w2"]:
    """Return the label at each cell's centre on another grid; itself if it has that size."""
    if tuple(mask.shape[-2:]) == grid:
        return mask
    return F.interpolate(mask[:, None], grid, mode="nearest-exact")[:, 0]
