"""Random erasing: a rectangle of the image is filled with noise."""

import math

import torch
from jaxtyping import UInt8
from torch import Tensor

ATTEMPTS = 10
ERASE_DRAWS = 3 + 2 * ATTEMPTS

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_AREA = (0.02, 1 / 3)
_SHAPE = (0.3, 1 / 0.3)


def erased(
    image: UInt8[Tensor, "3 h w"],
    probability: float,
    draws: list[float],
    generator: torch.Generator,
) -> UInt8[Tensor, "3 h w"]:
    """Return the image, or with a `probability` a copy with a rectangle of noise in it.

    Source: Zhong et al. 2020, in timm's form (mode `pixel`, one rectangle) that WeakTr takes: area
    2 % to a third, shape 0.3 to 1 / 0.3, a standard normal number for each channel and pixel of the
    normalised image. Departure: the image is 8 bits here, so that the noise is rounded, and cut at
    black and white, which lie 1.8 to 2.6 deviations from ImageNet's mean.

    Args:
        image: RGB.
        probability: of erasing.
        draws: :data:`ERASE_DRAWS` numbers in [0, 1).
        generator: of the noise; drawn from only if something is erased.
    """
    chance, down, across, *attempts = draws
    if chance >= probability:
        return image
    height, width = image.shape[-2:]
    rows, columns = _rectangle((height, width), attempts)
    top, left = int(down * (height - rows + 1)), int(across * (width - columns + 1))
    result = image.clone()
    result[:, top : top + rows, left : left + columns] = _noise(rows, columns, generator)
    return result


def _rectangle(size: tuple[int, int], attempts: list[float]) -> tuple[int, int]:
    """Return the first drawn height and width that are smaller than the image; none if none is."""
    for first, second in zip(attempts[::2], attempts[1::2], strict=True):
        pixels = size[0] * size[1] * (_AREA[0] + first * (_AREA[1] - _AREA[0]))
        shape = _SHAPE[0] * (_SHAPE[1] / _SHAPE[0]) ** second
        rows, columns = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if rows < size[0] and columns < size[1]:
            return rows, columns
    return 0, 0


def _noise(rows: int, columns: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (_MEAN, _STD))
    noise = torch.randn(3, rows, columns, generator=generator)
    return ((mean + std * noise) * 255).round().clamp(0, 255).to(torch.uint8)
