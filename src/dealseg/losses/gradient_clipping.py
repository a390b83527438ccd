"""WeakTr's clipping of gradients from pixels whose labels the network disputes."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from dealseg.losses.noisy_masks import IGNORE, pixel_cross_entropy


def gradient_clipping(
    logits: Float[Tensor, "b c h w"],
    mask: Integer[Tensor, "b h w"],
    *,
    patch: tuple[int, int],
    start: float = 1.2,
) -> Float[Tensor, "b h w"]:
    r"""Return the cross-entropy, cut at a level above which a pixel gives no gradient.

    $$ L' = L \text{ if } m > \tau, \text{ else } \min(L, \max(m_P, m)) $$

    with m the mean over the batch and $m_P$ that over a patch's pixels in all its images; both are
    constants for the gradient. So once the network has learnt something (m falls to $\tau$), the
    pixels that fit worst, most of them wrongly labelled, no longer pull.

    Source: WeakTr (arXiv 2304.01184), section on online retraining, in which patches have 120 of
    480 pixels. Departures: ignored pixels take no part in the means (there they count as 0), and
    the last patches of a row or column may be smaller.

    Args:
        logits: class scores before the softmax, background first.
        mask: class of each pixel; 255 is ignored.
        patch: height and width of a patch, pixels.
        start: tau, the mean below which clipping starts.
    """
    if min(patch) < 1:
        raise ValueError(f"patch must be two positive numbers of pixels, got {patch}")
    entropy = pixel_cross_entropy(logits, mask)
    level = clipping_level(entropy.detach(), mask, patch)
    mean = level.amin()  # no patch is below the mean of all
    return torch.where(mean > start, entropy, torch.minimum(entropy, level))


def clipping_level(
    values: Float[Tensor, "b h w"], mask: Integer[Tensor, "b h w"], patch: tuple[int, int]
) -> Float[Tensor, "h w"]:
    """Return at each pixel the mean of its patch over the batch, or that of all if it is larger."""
    valid = (mask != IGNORE).to(values.dtype)
    sums, counts = (values * valid).sum(0), valid.sum(0)
    mean = sums.sum() / counts.sum().clamp(min=1)
    found = _patch_sums(sums, patch) / _patch_sums(counts, patch).clamp(min=1)
    rows, columns = values.shape[-2:]
    spread = found.repeat_interleave(patch[0], 0).repeat_interleave(patch[1], 1)
    return torch.maximum(spread[:rows, :columns], mean)


def _patch_sums(values: Float[Tensor, "h w"], patch: tuple[int, int]) -> Float[Tensor, "h2 w2"]:
    margins = (0, -values.shape[1] % patch[1], 0, -values.shape[0] % patch[0])
    padded = F.pad(values, margins)[None, None]
    return F.avg_pool2d(padded, patch, divisor_override=1)[0, 0]
