"""RandAugment over image, depth and mask: two of fifteen operations, each done every second time.

Source: Cubuk et al. 2020, in timm's form `rand-m9-mstd0.5-inc1` that DeiT and WeakTr take, where
every operation grows with the magnitude. Departures: warps are bilinear (timm: bicubic), and move
depth, validity and mask along; the numbers come from an explicit generator.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from dealseg.data.sample import Colour, Kind, Sample, each_part, replaced, size_of

LAYERS = 2
RAND_DRAWS = 4 * LAYERS
CHANCE = 0.5
DEVIATION = 0.5
MOST = 10.0
"""The magnitude at which operations are strongest."""

Image = UInt8[Tensor, "3 h w"]


class Warp(NamedTuple):
    """An affine change of place.

    Attributes:
        angle: degrees, clockwise about the middle.
        translate: pixels to the right and down.
        slope: pixels to the right for each row, and down for each column, against the content.
    """

    angle: float = 0.0
    translate: tuple[float, float] = (0.0, 0.0)
    slope: tuple[float, float] = (0.0, 0.0)


def rand_augment(sample: Sample, magnitude: float, draws: list[float], fill: Colour) -> Sample:
    """Return a new sample on which random operations were done, repetitions not excluded.

    Args:
        sample: it is not changed.
        magnitude: mean strength, 0 to 10; each operation's own is normal about it, deviation 0.5,
            cut to 0..10.
        draws: :data:`RAND_DRAWS` numbers in [0, 1).
        fill: colour outside the picture.
    """
    for layer in range(LAYERS):
        which, chance, strength, sign = draws[4 * layer : 4 * layer + 4]
        if chance < CHANCE:
            name = OPERATIONS[int(which * len(OPERATIONS))]
            level = NormalDist(magnitude, DEVIATION).inv_cdf(max(strength, 2**-53))
            level = min(max(level, 0.0), MOST)
            sample = operate(sample, name, -level if sign < 0.5 else level, fill)
    return sample


def operate(sample: Sample, name: str, level: float, fill: Colour) -> Sample:
    """Return a new sample after one operation.

    Args:
        sample: it is not changed.
        name: timm's name of the operation, one of :data:`OPERATIONS`.
        level: strength, -10 to 10; the sign is the direction, for operations that have two.
        fill: colour outside the picture.
    """
    share = level / MOST
    if name in _COLOURS:
        return replaced(sample, image=_COLOURS[name](sample["image"], share))
    warp = _WARPS[name](share, size_of(sample["image"]))
    return each_part(sample, partial(_warped, warp=warp), fill)


def _warped(part: Shaped[Tensor, "c h w"], kind: Kind, warp: Warp) -> Shaped[Tensor, "c h w"]:
    """Return the part moved; slopes leave the first row and column in place, as Pillow's do."""
    height, width = size_of(part)
    sloped = any(warp.slope)
    return F.affine(
        part,
        warp.angle,
        list(warp.translate),
        1.0,
        [math.degrees(math.atan(slope)) for slope in warp.slope],
        interpolation=kind.warp,
        fill=kind.fill,
        center=[0.0, 0.0] if sloped else [width / 2, height / 2],
    )


def _factor(share: float) -> float:
    """Return the factor, 0.1 to 1.9, at which a picture is blended with what lacks a property."""
    return max(0.1, 1 + 0.9 * share)


def _posterize(image: Image, share: float) -> Image:
    """Keep the highest 4 to 1 bits; timm's formula ends at none, which is a black image."""
    return F.posterize(image, max(1, 4 - int(4 * abs(share))))


def _solarize(image: Image, share: float) -> Image:
    """Invert what is at least as bright as a threshold, which may be above white."""
    threshold = 256 - int(256 * abs(share))
    return image if threshold > 255 else F.solarize(image, threshold)


def _solarize_add(image: Image, share: float) -> Image:
    """Brighten the darker half."""
    return torch.where(image < 128, image + int(110 * abs(share)), image)


_COLOURS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "AutoContrast": lambda image, _: F.autocontrast(image),
    "Equalize": lambda image, _: F.equalize(image),
    "Invert": lambda image, _: F.invert(image),
    "PosterizeIncreasing": _posterize,
    "SolarizeIncreasing": _solarize,
    "SolarizeAdd": _solarize_add,
    "ColorIncreasing": lambda image, share: F.adjust_saturation(image, _factor(share)),
    "ContrastIncreasing": lambda image, share: F.adjust_contrast(image, _factor(share)),
    "BrightnessIncreasing": lambda image, share: F.adjust_brightness(image, _factor(share)),
    "SharpnessIncreasing": lambda image, share: F.adjust_sharpness(image, _factor(share)),
}
_WARPS: Mapping[str, Callable[[float, tuple[int, int]], Warp]] = {
    "Rotate": lambda share, _: Warp(angle=-30 * share),
    "ShearX": lambda share, _: Warp(slope=(0.3 * share, 0.0)),
    "ShearY": lambda share, _: Warp(slope=(0.0, 0.3 * share)),
    "TranslateXRel": lambda share, size: Warp(translate=(-0.45 * share * size[1], 0.0)),
    "TranslateYRel": lambda share, size: Warp(translate=(0.0, -0.45 * share * size[0])),
}
OPERATIONS = (*_COLOURS, *_WARPS)
"""Names of the operations, as in timm."""
