"""SEAM's adaptive min pooling: where no class is likely, its refined map shall be 0.

Source: Wang et al., SEAM, arXiv 2004.04581; the authors' code (it is not in the paper).
"""

from jaxtyping import Float
from torch import Tensor, nn

from dealseg.depth import at_least_float32
from dealseg.losses.equivariance import check_channels
from dealseg.losses.selection import count_of


def min_pooling(
    pcm: Float[Tensor, "b c h w"], tags: Float[Tensor, "b k"], *, share: float = 0.25
) -> Float[Tensor, " b"]:
    """Return the mean of the lowest quarter of an image's foreground, one value per image.

    The foreground of a pixel is the largest value of the classes present, or 0 if that is negative.
    The authors say that the loss does not change the best mIoU but moves the threshold where it is
    reached.

    Args:
        pcm: raw refined maps, background first (that channel is not read).
        tags: 1 for classes in the image, else 0.
        share: of an image's pixels, those that count; in (0, 1].

    Raises:
        ValueError: for another share, or if there is not one map for the background and each class.
    """
    check_channels(pcm, tags)
    maps = at_least_float32(pcm[:, 1:])
    foreground = (maps * tags[:, :, None, None].to(maps.dtype)).amax(dim=1).flatten(1)
    count = count_of(foreground.shape[1], share)
    lowest = foreground.topk(count, dim=1, largest=False, sorted=False).values
    return lowest.relu().mean(dim=1)


class MinPooling(nn.Module):
    """Batch mean of :func:`min_pooling`."""

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        self.share = share

    def forward(
        self, pcm: Float[Tensor, "b c h w"], tags: Float[Tensor, "b k"]
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return min_pooling(pcm, tags, share=self.share).mean()
