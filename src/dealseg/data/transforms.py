"""Joint geometric and colour augmentation of a training sample, from an explicit generator.

One set of drawn parameters moves every part of a sample; :mod:`dealseg.data.sample` says how each
part is sampled. Depth values are moved and never rescaled, under zoom neither: a closer view would
divide metres by the zoom, but the edge loss is invariant to the scale of depth.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from dealseg.data.sample import (
    IMAGENET_MEAN,
    Colour,
    Kind,
    Sample,
    Window,
    cut,
    each_part,
    replaced,
    resize,
    size_of,
)
from dealseg.errors import ConfigError

GEOMETRY_DRAWS = 7
COLOUR_DRAWS = 4


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training sample.

    Attributes:
        size: height and width of the result; None keeps the image's own.
        scale: smallest and largest zoom, drawn log-uniformly. At 1 the largest window of the
            result's aspect is cut from the image; above 1 a smaller window; below 1 the window
            overhangs the image and is padded. Whether a window keeps the tagged objects is not
            known: large zooms make tags wrong.
        flip: probability of a horizontal flip.
        brightness: largest relative change, in [0, 1].
        contrast: largest relative change, in [0, 1].
        saturation: largest relative change, in [0, 1].
        hue: largest shift of the hue in turns, in [0, 0.5].
        rotation: largest angle in degrees, either way.
        shear: largest shear in degrees, either way, drawn for x and y apart.
        fill: colour outside the picture.
    """

    size: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.8, 1.4)
    flip: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.05
    rotation: float = 10.0
    shear: float = 5.0
    fill: Colour = IMAGENET_MEAN

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"size must be two positive numbers of pixels, got {self.size}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"scale must be (low, high) with 0 < low <= high, got {self.scale}")
        for name, limit in _LIMITS.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ConfigError(f"{name} must be in [0, {limit:g}], got {getattr(self, name)}")


_LIMITS = {
    "flip": 1.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "hue": 0.5,
    "rotation": 180.0,
    "shear": 80.0,
}


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Return the generator of sample `index` in `epoch`: the same for whichever worker asks."""
    state = np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def augment(sample: Sample, augmentation: Augmentation, generator: torch.Generator) -> Sample:
    """Return a new sample, randomly cropped, zoomed, sheared, rotated, flipped and recoloured.

    The window is brought to size before it is rotated and sheared about its centre, so that the
    cost depends on the result's size and not on the camera's. Every call takes the same number of
    draws, whatever is switched on: an option changes no other's numbers.

    Args:
        sample: see :class:`Sample`; it is not changed. Depth comes back on the image's grid,
            0 where it is invalid.
        augmentation: the ranges.
        generator: the only source of randomness; take :func:`sample_generator`'s.

    Raises:
        DataError: if depth comes without validity, or has another aspect than the image.
    """
    count = GEOMETRY_DRAWS + COLOUR_DRAWS
    draws = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
    move = _draw_move(augmentation, size_of(sample["image"]), draws[:GEOMETRY_DRAWS])
    moved = each_part(sample, partial(_moved, move=move), augmentation.fill)
    image = _recoloured(moved["image"], augmentation, draws[GEOMETRY_DRAWS:])
    return replaced(moved, image=image)


def resize_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Return a new sample stretched to `size` (height, width); raises as :func:`augment`."""
    return each_part(sample, partial(resize, size=size))


def to_size(sample: Sample, size: tuple[int, int]) -> Sample:
    """Return a new sample scaled to fit `size` with its aspect kept, padded right and below.

    The deterministic form for evaluation: pictures of different shapes go into one batch, and the
    top left :func:`fitted_size` of a result belongs to the picture. Raises as :func:`augment`.
    """
    fitted = fitted_size(size_of(sample["image"]), size)
    window = Window(0, 0, *size)
    return each_part(sample, lambda part, kind: cut(resize(part, kind, fitted), kind, window))


def fitted_size(image_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the largest height and width of the image's aspect inside `size`."""
    ratio = min(size[0] / image_size[0], size[1] / image_size[1])
    return max(1, round(image_size[0] * ratio)), max(1, round(image_size[1] * ratio))


class _Move(NamedTuple):
    """One drawn geometry. Angles are degrees."""

    window: Window
    size: tuple[int, int]
    flip: bool
    angle: float
    shear: list[float]


def _draw_move(aug: Augmentation, image_size: tuple[int, int], draws: list[float]) -> _Move:
    """Return the geometry that seven numbers in [0, 1) stand for."""
    zoom, down, across, flip, *turns = draws
    size = aug.size or image_size
    low, high = (math.log(limit) for limit in aug.scale)
    cover = min(image_size[0] / size[0], image_size[1] / size[1])
    height, width = (
        max(1, round(length * cover / math.exp(low + zoom * (high - low)))) for length in size
    )
    top, left = round(down * (image_size[0] - height)), round(across * (image_size[1] - width))
    limits = (aug.rotation, aug.shear, aug.shear)
    angle, *shear = (_spread(u, limit) for u, limit in zip(turns, limits, strict=True))
    return _Move(Window(top, left, height, width), size, flip < aug.flip, angle, shear)


def _moved(part: Shaped[Tensor, "c h w"], kind: Kind, move: _Move) -> Shaped[Tensor, "c h2 w2"]:
    part = resize(cut(part, kind, move.window), kind, move.size)
    if move.angle or any(move.shear):
        part = F.affine(
            part, move.angle, [0, 0], 1.0, move.shear, interpolation=kind.warp, fill=kind.fill
        )
    return F.hflip(part) if move.flip else part


def _recoloured(
    image: UInt8[Tensor, "3 h w"], aug: Augmentation, draws: list[float]
) -> UInt8[Tensor, "3 h w"]:
    """Return the image with brightness, contrast, saturation and hue changed, in this order."""
    steps = (
        (F.adjust_brightness, aug.brightness, 1.0),
        (F.adjust_contrast, aug.contrast, 1.0),
        (F.adjust_saturation, aug.saturation, 1.0),
        (F.adjust_hue, aug.hue, 0.0),
    )
    for (adjust, strength, neutral), u in zip(steps, draws, strict=True):
        if strength:
            image = adjust(image, neutral + _spread(u, strength))
    return image


def _spread(u: float, limit: float) -> float:
    """Return the point of [-limit, limit) at which `u` stands in [0, 1)."""
    return (2 * u - 1) * limit
