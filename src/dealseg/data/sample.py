"""A training sample and how each of its parts is moved to other pixels.

A geometric change is written once, as a function of a part and its :class:`Kind`, and
:func:`each_part` applies it to all parts:

- image: bilinear, or bicubic where asked, with antialiasing; outside the picture the fill colour;
- mask: the nearest label, so that no new label can arise; outside 255;
- depth with its validity: see :func:`_resize_measured`; outside invalid.

The parts are plain tensors, not torchvision's `Mask`: its resize takes the legacy `nearest`, which
samples at cell corners and so shifts labels by half a cell against the image and the depth.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from dealseg.data.base import IGNORE, same_aspect
from dealseg.errors import DataError

Colour = tuple[int, int, int]

IMAGENET_MEAN: Colour = (124, 116, 104)
"""The colour that is 0 once the image is normalised."""


class Sample(TypedDict, total=False):
    """One picture and what is known of it. Only `image` must be there; `valid` goes with `depth`.

    Depth is metres or inverse depth, and may come on a grid of its own with the image's aspect.
    """

    image: UInt8[Tensor, "3 h w"]
    depth: Float[Tensor, "1 hd wd"]
    valid: Bool[Tensor, "1 hd wd"]
    mask: UInt8[Tensor, "h w"]
    tags: Float[Tensor, " k"]
    name: str


class Window(NamedTuple):
    """Pixels of a picture, which it may overhang."""

    top: int
    left: int
    height: int
    width: int


class Kind(NamedTuple):
    """How a part is sampled: its fill for each channel, and how it is resized and warped."""

    fill: list[float]
    resize: Callable[[Tensor, list[int]], Tensor]
    warp: InterpolationMode


def each_part(
    sample: Sample,
    change: Callable[[Tensor, Kind], Tensor],
    fill: Colour = IMAGENET_MEAN,
    *,
    cubic: bool = False,
) -> Sample:
    """Return a new sample in which image, mask and depth with validity went through `change`.

    `change` gets the mask as one channel, and depth (0 where invalid) with validity (1 or 0) as
    two. Depth is brought to the image's grid first, by the nearest pixel: this step must not blur
    what a zoom filters next. Parts that need no change may share memory with the given ones. The
    image is resized bicubically if `cubic`; depth never is, a cubic overshoots at its edges.

    Raises:
        DataError: if depth comes without validity, or has another aspect than the image.
    """
    how = _resize_cubic if cubic else _resize_smooth
    picture = Kind([float(c) for c in fill], how, InterpolationMode.BILINEAR)
    parts: dict[str, Any] = {"image": change(sample["image"], picture)}
    if "mask" in sample:
        parts["mask"] = change(sample["mask"][None], _LABELS)[0]
    if "depth" in sample:
        on_grid = resize(_measured(sample), _COARSE, size_of(sample["image"]))
        moved = change(on_grid, _MEASURED)
        parts |= {"depth": moved[:1], "valid": moved[1:] > 0.5}
    return replaced(sample, **parts)


def replaced(sample: Sample, **parts: Any) -> Sample:
    """Return the sample with some parts exchanged."""
    return Sample(**{**sample, **parts})  # type: ignore[typeddict-item]


def size_of(part: Tensor) -> tuple[int, int]:
    """Return height and width."""
    return part.shape[-2], part.shape[-1]


def cut(part: Shaped[Tensor, "c h w"], kind: Kind, window: Window) -> Shaped[Tensor, "c h2 w2"]:
    """Return the window of a part, filled where it overhangs."""
    height, width = size_of(part)
    left, top = max(0, -window.left), max(0, -window.top)
    right = max(0, window.left + window.width - width)
    bottom = max(0, window.top + window.height - height)
    if left or top or right or bottom:
        part = F.pad(part, [left, top, right, bottom], fill=kind.fill)
    return F.crop(part, window.top + top, window.left + left, window.height, window.width)


def resize(part: Shaped[Tensor, "c h w"], kind: Kind, size: tuple[int, int]) -> Tensor:
    """Return the part stretched to `size`; itself if it has that size."""
    return part if size_of(part) == size else kind.resize(part, list(size))


def _resize_smooth(part: Shaped[Tensor, "c h w"], size: list[int]) -> Shaped[Tensor, "c h2 w2"]:
    return F.resize(part, size, interpolation=InterpolationMode.BILINEAR, antialias=True)


def _resize_cubic(part: Shaped[Tensor, "c h w"], size: list[int]) -> Shaped[Tensor, "c h2 w2"]:
    return F.resize(part, size, interpolation=InterpolationMode.BICUBIC, antialias=True)


def _resize_nearest(part: Shaped[Tensor, "c h w"], size: list[int]) -> Shaped[Tensor, "c h2 w2"]:
    """Return the value at each new cell's centre."""
    return F.resize(part, size, interpolation=InterpolationMode.NEAREST_EXACT)


def _resize_measured(measured: Float[Tensor, "2 h w"], size: list[int]) -> Float[Tensor, "2 h2 w2"]:
    """Return depth and validity (1 or 0) on another grid, by normalised interpolation.

    Depth times validity and validity pass the same antialiased filter; their quotient is the mean
    of the valid pixels alone, so no invalid number is ever read. A new pixel is valid where valid
    pixels hold at least half of the filter's weight: at a straight border that is the border's own
    place, so resizing neither grows nor eats holes. Single holes close when the grid gets coarser.
    Averaging keeps the sensor's noise from being picked up as steps, which `nearest` would do.
    """
    depth, weight = _resize_smooth(measured, size)
    valid = weight >= 0.5
    return torch.stack([torch.where(valid, depth / weight.clamp(min=0.5), 0.0), valid.float()])


_LABELS = Kind([float(IGNORE)], _resize_nearest, InterpolationMode.NEAREST)
_COARSE = Kind([0.0, 0.0], _resize_nearest, InterpolationMode.NEAREST)
# Warped by the nearest pixel: depth was filtered once when it was resized, and a second mean would
# only widen the ramps that blur depth edges.
_MEASURED = Kind([0.0, 0.0], _resize_measured, InterpolationMode.NEAREST)


def _measured(sample: Sample) -> Float[Tensor, "2 h w"]:
    """Return depth, 0 where invalid, above its validity as 1 and 0."""
    _check_depth(sample)
    valid = sample["valid"] & sample["depth"].isfinite()
    return torch.cat([sample["depth"].masked_fill(~valid, 0.0), valid.to(sample["depth"].dtype)])


def _check_depth(sample: Sample) -> None:
    name = sample.get("name", "sample")
    if "valid" not in sample or sample["valid"].shape != sample["depth"].shape:
        raise DataError(f"{name}: depth needs a bool map `valid` of its own size beside it")
    (height, width), (rows, columns) = size_of(sample["image"]), size_of(sample["depth"])
    if not same_aspect((rows, columns), (height, width)):
        raise DataError(
            f"{name}: depth has {columns}x{rows} pixels and the image {width}x{height}, another "
            "aspect; register the depth to the image first"
        )
