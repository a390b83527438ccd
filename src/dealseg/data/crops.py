"""Which part of an image becomes a training sample: three ways to draw it, from numbers in [0, 1).

Sizes are (height, width).
"""

import math
from typing import NamedTuple

from dealseg.data.sample import Window

Size = tuple[int, int]
Range = tuple[float, float]

ATTEMPTS = 10
"""Windows of random area and shape that are tried before the middle of the image is taken."""


class Crop(NamedTuple):
    """What is done to a picture: stretched, a window cut out, brought to size, put on a canvas.

    Attributes:
        stretched: the picture's size before the cut; None leaves it.
        window: what is cut out; it may overhang the picture.
        size: of the window's content after the cut.
        canvas: the result as seen from the content, which it may overhang; None takes the content.
    """

    stretched: Size | None
    window: Window
    size: Size
    canvas: Window | None


def zoom_crop(image: Size, size: Size, scale: Range, draws: list[float]) -> Crop:
    """Return a window of the result's aspect whose zoom is log-uniform in `scale`.

    At 1 it is the largest in the image; below 1 it overhangs.

    Args:
        image: of the image.
        size: of the result.
        scale: smallest and largest zoom.
        draws: three numbers: zoom, place down, place across.
    """
    zoom, down, across = draws
    low, high = (math.log(limit) for limit in scale)
    cover = min(image[0] / size[0], image[1] / size[1])
    height, width = (
        max(1, round(length * cover / math.exp(low + zoom * (high - low)))) for length in size
    )
    top, left = round(down * (image[0] - height)), round(across * (image[1] - width))
    return Crop(None, Window(top, left, height, width), size, None)


def area_crop(
    image: Size, size: Size, area: Range, ratio: Range, draws: list[float], attempts: list[float]
) -> Crop:
    """Return a window of random area and shape inside the image, stretched to `size`.

    Source: torchvision's `RandomResizedCrop`, which WeakTr takes by way of timm.

    Args:
        image: of the image.
        size: of the result.
        area: smallest and largest share of the image.
        ratio: smallest and largest width over height.
        draws: two numbers: place down, place across.
        attempts: two numbers, area and shape, for each of :data:`ATTEMPTS`.
    """
    for first, second in zip(attempts[::2], attempts[1::2], strict=True):
        pixels = image[0] * image[1] * (area[0] + first * (area[1] - area[0]))
        shape = ratio[0] * (ratio[1] / ratio[0]) ** second
        height, width = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 0 < height <= image[0] and 0 < width <= image[1]:
            top = _between(0, image[0] - height, draws[0])
            left = _between(0, image[1] - width, draws[1])
            return Crop(None, Window(top, left, height, width), size, None)
    return Crop(None, _middle(image, ratio), size, None)


def _middle(image: Size, ratio: Range) -> Window:
    """Return the largest window in the image's middle whose shape is within `ratio`."""
    height, width = image
    if width < ratio[0] * height:
        height = max(1, round(width / ratio[0]))
    elif width > ratio[1] * height:
        width = max(1, round(height * ratio[1]))
    return Window((image[0] - height) // 2, (image[1] - width) // 2, height, width)


def long_crop(image: Size, size: Size, long: Range, draws: list[float]) -> Crop:
    """Return a window of `size` in the image stretched to a random longer side.

    Where the stretched image is smaller than the window, it lies at a random place in it.

    Source: SEAM's `RandomResizeLong` and `RandomCrop`.

    Args:
        image: of the image.
        size: of the result.
        long: least and greatest longer side, relative to the result's.
        draws: three numbers: longer side, place down, place across.
    """
    low, high = (round(factor * max(size)) for factor in long)
    factor = _between(low, high, draws[0]) / max(image)
    height, width = (max(1, round(length * factor)) for length in image)
    top, rows = _overlap(height, size[0], draws[1])
    left, columns = _overlap(width, size[1], draws[2])
    window = Window(max(0, top), max(0, left), rows, columns)
    canvas = Window(min(0, top), min(0, left), *size)
    return Crop((height, width), window, (rows, columns), canvas)


def _overlap(length: int, wanted: int, u: float) -> tuple[int, int]:
    """Return where a stretch of `wanted` pixels starts, and how many of `length` it covers."""
    start = _between(min(0, length - wanted), max(0, length - wanted), u)
    return start, min(length, wanted)


def _between(low: int, high: int, u: float) -> int:
    """Return the integer, both limits included, at which `u` stands in [0, 1)."""
    return low + int(u * (high - low + 1))
