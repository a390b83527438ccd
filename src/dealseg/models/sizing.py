"""The size at which a network sees images."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def at_long_side(
    images: Float[Tensor, "b 3 h w"], long_side: int | None
) -> Float[Tensor, "b 3 h2 w2"]:
    """Return images with `long_side` pixels on their longer side; as they are for None.

    Bilinear, and averaging where images shrink.
    """
    if long_side is None:
        return images
    height, width = images.shape[-2:]
    factor = long_side / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return F.interpolate(images, size, mode="bilinear", antialias=True)
