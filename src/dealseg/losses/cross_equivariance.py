"""SEAM's cross loss: the refined map of one view agrees with the CAM of the other.

Source: Wang et al., SEAM, arXiv 2004.04581, and the authors' code.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.losses.equivariance import comparable
from dealseg.losses.selection import count_of


def cross_equivariance(
    cam1: Float[Tensor, "b c h1 w1"],
    cam2: Float[Tensor, "b c h w"],
    pcm1: Float[Tensor, "b c h1 w1"],
    pcm2: Float[Tensor, "b c h w"],
    tags: Float[Tensor, "b k"],
    *,
    share: float = 0.2,
) -> Float[Tensor, " b"]:
    r"""Score how refined maps differ from the other view's CAMs, in [0, 2], one value per image.

    $$ L = \mathrm{top}(|m(b) - \hat a|) + \mathrm{top}(|m(a) - \hat b|) $$

    with a, b the CAMs and the hatted ones the refined maps of views 1 and 2, all after
    :func:`dealseg.losses.max_norm`, at view 2's size, 0 for absent classes; m as in
    :func:`winners_only`; top the mean of the `share` of an image's elements, over all channels and
    pixels, that are largest.

    Only the refined maps get a gradient: the CAMs are targets.

    Source: SEAM, eq. 5 and the authors' code (ECR; the hardest 20 % as they choose).

    Args:
        cam1: raw CAMs of the view, background first (that channel is not read).
        cam2: those of the same view made smaller.
        pcm1: refined maps of the view, background first.
        pcm2: those of the smaller view.
        tags: 1 for classes in the image, else 0.
        share: of all elements, those that count; in (0, 1].

    Raises:
        ValueError: for another share, or if there is not one map for the background and each class.
    """
    size = (cam2.shape[-2], cam2.shape[-1])
    with torch.no_grad():
        target1, target2 = (winners_only(comparable(cam, tags, size)) for cam in (cam1, cam2))
    error1 = (target2 - comparable(pcm1, tags, size)).abs()
    error2 = (target1 - comparable(pcm2, tags, size)).abs()
    return hardest(error1.flatten(1), share) + hardest(error2.flatten(1), share)


def winners_only(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Keep at each pixel the largest class's value alone; background is 1 minus that value."""
    top = maps[:, 1:].amax(dim=1, keepdim=True)
    return torch.cat([1 - top, torch.where(maps[:, 1:] == top, maps[:, 1:], 0.0)], dim=1)


def hardest(errors: Float[Tensor, "b n"], share: float) -> Float[Tensor, " b"]:
    """Return the mean of the `share` of each row's elements that are largest."""
    return errors.topk(count_of(errors.shape[1], share), dim=1, sorted=False).values.mean(dim=1)


class CrossEquivariance(nn.Module):
    """Batch mean of :func:`cross_equivariance`."""

    def __init__(self, share: float = 0.2) -> None:
        super().__init__()
        self.share = share

    def forward(
        self,
        cam1: Float[Tensor, "b c h1 w1"],
        cam2: Float[Tensor, "b c h w"],
        pcm1: Float[Tensor, "b c h1 w1"],
        pcm2: Float[Tensor, "b c h w"],
        tags: Float[Tensor, "b k"],
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return cross_equivariance(cam1, cam2, pcm1, pcm2, tags, share=self.share).mean()
