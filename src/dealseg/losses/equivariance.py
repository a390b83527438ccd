"""SEAM's equivariance loss: the CAM of a smaller view is the smaller CAM.

Source: Wang, Zhang, Kan, Shan, Chen, "Self-supervised Equivariant Attention Mechanism for Weakly
Supervised Semantic Segmentation", arXiv 2004.04581, and the authors' code.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.depth import at_least_float32
from dealseg.losses.bilinear import at_size

MARGIN = 1e-5
"""What the original takes from every value, and adds to the range that it divides by."""


def max_norm(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    r"""Bring each map to [0, 1] over its own range, after ReLU.

    $$ \frac{\max(p - \min p - \epsilon, 0)}{\max p - \min p + \epsilon}, \quad
    p = \max(\mathrm{map}, 0), \quad \epsilon = 10^{-5} $$

    The gradient passes through minimum and maximum as well. A map that is constant or nowhere
    positive becomes 0, with gradient 0.
    """
    positive = maps.relu()
    low = positive.amin(dim=(-2, -1), keepdim=True)
    high = positive.amax(dim=(-2, -1), keepdim=True)
    return (positive - low - MARGIN).relu() / (high - low + MARGIN)


def comparable(
    maps: Float[Tensor, "b c h0 w0"], tags: Float[Tensor, "b k"], size: tuple[int, int]
) -> Float[Tensor, "b c h w"]:
    """Return maps (background first) normalised, resized to `size`, and 0 for absent classes.

    Raises:
        ValueError: if there is not one map for the background and one for each class.
    """
    check_channels(maps, tags)
    normed = at_size(max_norm(at_least_float32(maps)), size)
    return normed * F.pad(tags, (1, 0), value=1.0)[:, :, None, None].to(normed.dtype)


def check_channels(maps: Tensor, tags: Tensor) -> None:
    """Refuse maps that do not have one channel for the background and one for each class."""
    if maps.shape[1] != 1 + tags.shape[1]:
        raise ValueError(
            f"maps must have 1 + {tags.shape[1]} channels (background first, then the classes that "
            f"tags has), got {maps.shape[1]}"
        )


def equivariance(
    cam1: Float[Tensor, "b c h1 w1"],
    cam2: Float[Tensor, "b c h w"],
    tags: Float[Tensor, "b k"],
) -> Float[Tensor, " b"]:
    r"""Score how the CAMs of two views of an image differ, in [0, 1], one value per image.

    $$ L = \frac{1}{K h w} \sum_{k,ij} |a_{k,ij} - b_{k,ij}| $$

    with a and b the maps of the classes present after :func:`max_norm`, those of view 1 resized to
    view 2. The mean runs over all K classes, so that the absent ones dilute it: the original does
    so on purpose. Both sides get a gradient; the background channel is not read.

    Source: SEAM, eq. 3 and the authors' code (L1; ER of the paper).

    Args:
        cam1: raw CAMs of the view, background first.
        cam2: those of the same view made smaller (0.3 of its size in the original).
        tags: 1 for classes in the image, else 0.

    Raises:
        ValueError: if there is not one map for the background and one for each class.
    """
    size = (cam2.shape[-2], cam2.shape[-1])
    difference = comparable(cam1, tags, size) - comparable(cam2, tags, size)
    return difference[:, 1:].abs().mean(dim=(1, 2, 3))


class Equivariance(nn.Module):
    """Batch mean of :func:`equivariance`."""

    def forward(
        self,
        cam1: Float[Tensor, "b c h1 w1"],
        cam2: Float[Tensor, "b c h w"],
        tags: Float[Tensor, "b k"],
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return equivariance(cam1, cam2, tags).mean()
