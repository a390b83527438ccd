"""Depth as sensors and estimators give it, brought to a grid: pure tensor functions.

Depth never travels without its validity: a boolean map, True where a number was measured.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

DepthSpace = Literal["depth", "log", "inverse"]
Kind = Literal["metric", "disparity", "relative"]

SPACES: tuple[DepthSpace, ...] = ("depth", "log", "inverse")
KINDS: tuple[Kind, ...] = ("metric", "disparity", "relative")


def at_least_float32(maps: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """Return half precision as float32: it cannot be resampled on CPU, and its steps are edges."""
    return maps if maps.dtype == torch.float64 else maps.float()


def measured(
    depth: Float[Tensor, "*b h w"],
    valid: Bool[Tensor, "*b h w"] | None = None,
    kind: Kind = "metric",
) -> Bool[Tensor, "*b h w"]:
    """Return where depth holds a measurement: finite, positive if metric, and marked valid if said.

    An estimator's relative inverse depth has an arbitrary offset, so 0 and negative numbers are
    measurements there; for `disparity` 0 is the stereo matcher's "no match".
    """
    found = (depth - depth) == 0  # neither infinite nor NaN, in half the passes of isfinite
    if kind != "relative":
        found = found & (depth > 0)
    return found if valid is None else found & valid


def to_space(
    depth: Float[Tensor, "*b h w"],
    valid: Bool[Tensor, "*b h w"],
    space: DepthSpace = "inverse",
    kind: Kind = "metric",
) -> Float[Tensor, "*b h w"]:
    """Return depth expressed in `space`, 0 where it is not valid.

    A plane is linear in inverse depth (its image coordinates are projective), so slanted floors and
    walls have a constant slope there, and the slope fades with distance. Inputs that are inverse
    depth already (`disparity`, `relative`) stay as they are in space `inverse`.

    Raises:
        ValueError: for an unknown space or kind, and for `relative` in another space than
            `inverse`, since an unknown offset forbids taking its reciprocal or logarithm.
    """
    if space not in SPACES or kind not in KINDS:
        raise ValueError(
            f"space must be one of {SPACES} and kind one of {KINDS}, got {space!r}, {kind!r}"
        )
    if kind == "relative" and space != "inverse":
        raise ValueError(
            f"relative inverse depth has no {space!r} space: its offset is unknown; use 'inverse'"
        )
    values = torch.where(valid, depth, torch.ones_like(depth))
    if space == "log":
        values = values.log()
    elif (space == "inverse") == (kind == "metric"):
        values = values.reciprocal()
    return torch.where(valid, values, torch.zeros_like(values))


def resample_valid(
    maps: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    size: tuple[int, int],
    *,
    mode: Literal["bilinear", "bicubic"] = "bicubic",
    enough: float = 0.5,
) -> tuple[Float[Tensor, "b 1 gh gw"], Bool[Tensor, "b 1 gh gw"]]:
    """Resize to `size` by normalised resampling: filter(maps * valid) / filter(valid).

    Invalid pixels give nothing to their neighbours. The filter is anti-aliased. A cell is valid
    where at least `enough` of the filter's weight fell on valid pixels.

    Source: normalised convolution, Knutsson and Westin 1993, with a resampling kernel.
    """
    inside = torch.where(valid, maps, torch.zeros_like(maps))
    weight = _resize(valid.to(maps.dtype), size, mode)
    total = _resize(inside, size, mode)
    kept = weight >= enough
    return torch.where(kept, total / torch.where(kept, weight, torch.ones_like(weight)), 0.0), kept


def _resize(maps: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size, mode=mode, align_corners=False, antialias=True)


def unit_range(
    maps: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Map each image's valid values to [0, 1]; a constant image, or an unmeasured one, gives 0.

    Constant means up to rounding (see :func:`usable_span`).
    """
    infinity = torch.full_like(maps, torch.inf)
    low = torch.where(valid, maps, infinity).amin(dim=(-2, -1), keepdim=True)
    high = torch.where(valid, maps, -infinity).amax(dim=(-2, -1), keepdim=True)
    usable = usable_span(low, high)
    scaled = (maps - low) / torch.where(usable, high - low, torch.ones_like(low))
    return torch.where(valid & usable, scaled, torch.zeros_like(scaled))


def usable_span(low: Float[Tensor, "*b"], high: Float[Tensor, "*b"]) -> Bool[Tensor, "*b"]:
    """Return where a range is wider than what rounding makes of one number.

    Resampling a constant map leaves differences of a few units in the last place; dividing by them
    would turn rounding into edges over the whole map.
    """
    noise = 64 * torch.finfo(low.dtype).eps * torch.maximum(low.abs(), high.abs())
    return (high - low > noise) & high.isfinite()


def erode(valid: Bool[Tensor, "b 1 h w"], radius: int = 1) -> Bool[Tensor, "b 1 h w"]:
    """Return True where the (2 radius + 1)-square around a pixel, inside the map, is all valid."""
    invalid = (~valid).to(torch.float32)
    return F.max_pool2d(invalid, 2 * radius + 1, stride=1, padding=radius) == 0
