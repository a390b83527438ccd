"""Masks as pictures: laid over their images, and their outlines."""

import numpy as np
from jaxtyping import Bool, UInt8

from dealseg.data.palette import palette

_COLOURS = np.array(palette(), dtype=np.uint8).reshape(256, 3)


def overlay(
    image: UInt8[np.ndarray, "h w 3"],
    mask: UInt8[np.ndarray, "h w"],
    *,
    alpha: float = 0.5,
    outline: bool = True,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image with the classes of a mask in their colours over it.

    Background shows the image as it is; 255 (ignored) is painted in its pale colour as any other.

    Args:
        image: RGB; it is not changed.
        mask: class of each pixel, of the image's size.
        alpha: opacity of the colours, from 0 (the image) to 1 (the colours).
        outline: draw the borders of classes in white, see :func:`outlined`.

    Raises:
        ValueError: if the sizes differ or `alpha` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    if image.shape != (*mask.shape, 3):
        raise ValueError(f"the image must have the mask's size {mask.shape}, got {image.shape}")
    painted = image.copy()
    inside = mask != 0
    mixed = image[inside] * (1 - alpha) + _COLOURS[mask[inside]] * alpha
    painted[inside] = np.rint(mixed).astype(np.uint8)
    if outline:
        painted[outlined(mask)] = 255
    return painted


def outlined(mask: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels whose right or lower neighbour has another value: lines of one pixel."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    return edge
