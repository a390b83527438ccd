"""Looking at a large image through windows: pure tensors."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Network = Callable[[Tensor], Tensor]
"""From images (b, 3, h, w) to logits (b, c, h, w)."""


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where the windows along one side begin; together they cover it, none sticks out.

    Windows are `window * (1 - overlap)` apart; the last one is moved back to end with the side. A
    side that is no longer than a window has one.

    Args:
        length: pixels of the side.
        window: pixels of a window's side.
        overlap: share of a window that the next one covers again, in [0, 1).
    """
    if length <= window:
        return [0]
    step = max(1, round(window * (1 - overlap)))
    return [*range(0, length - window, step), length - window]


def windowed_logits(
    network: Network, images: Float[Tensor, "b 3 h w"], window: int, overlap: float
) -> Float[Tensor, "b c h w"]:
    """Return the logits of images seen through windows, averaged where windows overlap.

    An image that fits into one window is seen whole, so the result is then `network(images)`.
    The sums are kept in float32 for all classes at the image's size.

    Args:
        network: gives logits of the size of its input.
        images: all of one size.
        window: pixels of a window's side.
        overlap: as in :func:`window_starts`.
    """
    height, width = images.shape[-2:]
    if max(height, width) <= window:
        return network(images)
    total, seen = None, images.new_zeros(1, 1, height, width)
    for top in window_starts(height, window, overlap):
        for left in window_starts(width, window, overlap):
            place = (..., slice(top, top + window), slice(left, left + window))
            logits = network(images[place]).float()
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], height, width)
            total[place] += logits
            seen[place] += 1
    if total is None:
        raise ValueError(f"images must have pixels, got {tuple(images.shape)}")
    return total / seen
