"""Joint geometric and colour augmentation of a training sample, from an explicit generator.

One set of drawn parameters moves every part of a sample; :mod:`dealseg.data.sample` says how each
part is sampled. Depth values are moved and never rescaled, under zoom neither: a closer view would
divide metres by the zoom, but the edge loss is invariant to the scale of depth.
"""

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from dealseg.data.crops import ATTEMPTS, Crop, area_crop, long_crop, zoom_crop
from dealseg.data.erasing import ERASE_DRAWS, erased
from dealseg.data.randaugment import RAND_DRAWS, rand_augment
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

_DRAWS = {"geometry": 7, "colour": 4}
_MORE_DRAWS = {"attempts": 2 * ATTEMPTS, "operations": RAND_DRAWS, "erasing": ERASE_DRAWS}


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training sample.

    Attributes:
        size: height and width of the result; None keeps the image's own.
        crop: how the result is cut from the image, see :mod:`dealseg.data.crops`. Images are
            resized bilinearly for `zoom`, and bicubically for `area` and `long`, as the originals.
        scale: for `zoom`, the smallest and largest zoom, drawn log-uniformly. At 1 the largest
            window of the result's aspect is cut from the image; above 1 a smaller window; below 1
            the window overhangs the image and is padded. Whether a window keeps the tagged objects
            is not known: large zooms make tags wrong.
        area: for `area`, the smallest and largest share of the image.
        ratio: for `area`, the smallest and largest width over height.
        long: for `long`, the least and greatest longer side of the image, relative to the result's.
        flip: probability of a horizontal flip.
        brightness: largest relative change, in [0, 1].
        contrast: largest relative change, in [0, 1].
        saturation: largest relative change, in [0, 1].
        hue: largest shift of the hue in turns, in [0, 0.5].
        rotation: largest angle in degrees, either way.
        shear: largest shear in degrees, either way, drawn for x and y apart.
        randaugment: magnitude of :func:`dealseg.data.randaugment.rand_augment`; 0 is off.
        erase: probability of noise in a rectangle of the image, see :mod:`dealseg.data.erasing`.
        fill: colour outside the picture.
    """

    size: tuple[int, int] | None = None
    crop: Literal["zoom", "area", "long"] = "zoom"
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    long: tuple[float, float] = (1.0, 12 / 7)
    scale: tuple[float, float] = (0.8, 1.4)
    flip: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.05
    rotation: float = 10.0
    shear: float = 5.0
    randaugment: float = 0.0
    erase: float = 0.0
    fill: Colour = IMAGENET_MEAN

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"size must be two positive numbers of pixels, got {self.size}")
        for name in ("scale", "area", "ratio", "long"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                got = (low, high)
                raise ConfigError(f"{name} must be (low, high) with 0 < low <= high, got {got}")
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
    "randaugment": 10.0,
    "erase": 1.0,
}


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Return the generator of sample `index` in `epoch`: the same for whichever worker asks."""
    state = np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def augment(sample: Sample, augmentation: Augmentation, generator: torch.Generator) -> Sample:
    """Return a new sample: randomly cropped, sheared, rotated, flipped, recoloured, erased.

    The window is brought to size before it is rotated and sheared about its centre, so that the
    cost depends on the result's size and not on the camera's. Every call takes the same number of
    draws, whatever is switched on: an option changes no other's numbers.

    The canvas of the crop `long` is filled after colours have changed, so that what is outside the
    picture keeps its colour. Erasing spares the depth: noise hides what an image shows, and says
    nothing of the scene's shape.

    Args:
        sample: see :class:`Sample`; it is not changed. Depth comes back on the image's grid,
            0 where it is invalid.
        augmentation: the ranges.
        generator: the only source of randomness; take :func:`sample_generator`'s.

    Raises:
        DataError: if depth comes without validity, or has another aspect than the image.
    """
    fill, draws = augmentation.fill, _draws(generator)
    move = _draw_move(augmentation, size_of(sample["image"]), draws)
    cubic = augmentation.crop != "zoom"
    moved = each_part(sample, partial(_moved, move=move), fill, cubic=cubic)
    result = replaced(moved, image=_recoloured(moved["image"], augmentation, draws["colour"]))
    if augmentation.randaugment:
        result = rand_augment(result, augmentation.randaugment, draws["operations"], fill)
    canvas = move.crop.canvas
    if canvas is not None:
        result = each_part(result, partial(cut, window=canvas), fill)
    image = erased(result["image"], augmentation.erase, draws["erasing"], generator)
    return replaced(result, image=image)


def _draws(generator: torch.Generator) -> dict[str, list[float]]:
    """Return the numbers in [0, 1) of every choice but the noise, by what they decide."""
    found: dict[str, list[float]] = {}
    for counts in (_DRAWS, _MORE_DRAWS):
        total = sum(counts.values())
        numbers = iter(torch.rand(total, generator=generator, dtype=torch.float64).tolist())
        found |= {name: list(islice(numbers, count)) for name, count in counts.items()}
    return found


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

    crop: Crop
    flip: bool
    angle: float
    shear: list[float]


def _draw_move(
    aug: Augmentation, image_size: tuple[int, int], draws: dict[str, list[float]]
) -> _Move:
    """Return the geometry that numbers in [0, 1) stand for."""
    *place, flip, turn, lean, tilt = draws["geometry"]
    limits = zip((turn, lean, tilt), (aug.rotation, aug.shear, aug.shear), strict=True)
    angle, *shear = (_spread(u, limit) for u, limit in limits)
    crop = _draw_crop(aug, image_size, place, draws["attempts"])
    return _Move(crop, flip < aug.flip, angle, shear)


def _draw_crop(
    aug: Augmentation, image_size: tuple[int, int], place: list[float], attempts: list[float]
) -> Crop:
    size = aug.size or image_size
    if aug.crop == "area":
        return area_crop(image_size, size, aug.area, aug.ratio, place[1:], attempts)
    if aug.crop == "long":
        return long_crop(image_size, size, aug.long, place)
    return zoom_crop(image_size, size, aug.scale, place)


def _moved(part: Shaped[Tensor, "c h w"], kind: Kind, move: _Move) -> Shaped[Tensor, "c h2 w2"]:
    crop = move.crop
    part = resize(part, kind, crop.stretched) if crop.stretched else part
    part = resize(cut(part, kind, crop.window), kind, crop.size)
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
