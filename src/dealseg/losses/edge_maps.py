"""Edge maps of depth and of CAMs on the grid where the Depth Edge Alignment Loss compares them.

Steps 1 and 2 of arXiv 2509.17702. Every keyword is a choice the paper leaves open; `docs/method.md`
gives the measurements behind the defaults.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dealseg.depth import (
    DepthSpace,
    Kind,
    at_least_float32,
    erode,
    measured,
    resample_valid,
    to_space,
    unit_range,
    usable_span,
)
from dealseg.losses.edges import sobel_magnitude

CamScale = Literal["max", "minmax", "sigmoid"]
CAM_SCALES: tuple[CamScale, ...] = ("max", "minmax", "sigmoid")


class DepthEdges(NamedTuple):
    """Depth edges on the loss's grid: strengths in [0, 1], and the cells where they are known."""

    strength: Float[Tensor, "b 1 h w"]
    valid: Bool[Tensor, "b 1 h w"]


@torch.no_grad()
def depth_edges(
    depth: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"] | None = None,
    *,
    size: tuple[int, int],
    space: DepthSpace = "inverse",
    kind: Kind = "metric",
    gain: float = 2.0,
    divide: bool = False,
) -> DepthEdges:
    """Return the edges of a depth map on a grid of `size` cells; no gradient, once per image.

    Depth in `space` is resampled (bicubic, anti-aliased, invalid pixels give nothing), mapped to
    [0, 1] over the image's valid cells, and passed through Sobel. `gain` 2 gives a step over the
    whole range strength 1. A cell that has an invalid cell in its 3x3 neighbourhood is not valid.

    Args:
        depth: metres, or inverse depth as `kind` says; not read where invalid (0, NaN, infinite).
        valid: True where depth was measured; what is not finite or positive is invalid anyhow.
        size: rows and columns of the grid.
        space: depth, log or inverse depth; see :func:`dealseg.depth.to_space`.
        kind: what the numbers are.
        gain: factor on Sobel's change per cell, before clamping to 1.
        divide: divide by the image's largest edge as well (scale-free; on coarse grids slopes
            of floors and walls then count as edges).
    """
    depth = at_least_float32(depth)
    known = measured(depth, valid, kind)
    values, known = resample_valid(to_space(depth, known, space, kind), known, size)
    strength = sobel_magnitude(unit_range(values, known))
    known = erode(known)
    strength = strength * known
    return DepthEdges(_to_unit(strength, gain, divide), known)


def _to_unit(strength: Tensor, gain: float, divide: bool) -> Tensor:
    """Bring Sobel strengths to [0, 1]."""
    if divide:
        peak = strength.amax(dim=(-2, -1), keepdim=True)
        noise = 64 * torch.finfo(peak.dtype).eps  # what rounding leaves of a flat map in [0, 1]
        return strength / torch.where(peak > noise, peak, torch.ones_like(peak))
    return (gain * strength).clamp(max=1)


def cam_edges(
    cams: Float[Tensor, "n 1 h w"],
    *,
    size: tuple[int, int],
    scale: CamScale = "max",
    gain: float = 2.0,
    divide: bool = False,
) -> Float[Tensor, "n 1 gh gw"]:
    """Return the edges of raw CAMs on a grid of `size` cells, in [0, 1].

    Args:
        cams: raw maps.
        size: rows and columns of the grid; maps are resized bilinearly (anti-aliased).
        scale: how a map reaches [0, 1]. `max`: ReLU, divided by its maximum (what labels are read
            from; a map that is nowhere positive is flat and gets no gradient). `minmax`: over its
            range. `sigmoid`: the class probability at each cell.
        gain: factor on Sobel's change per cell, before clamping to 1.
        divide: divide by the map's largest edge instead of applying `gain`.
    """
    grid = F.interpolate(cams, size, mode="bilinear", align_corners=False, antialias=True)
    return _to_unit(sobel_magnitude(_scaled(grid, scale)), gain, divide)


def _scaled(cams: Tensor, scale: CamScale) -> Tensor:
    """Bring raw maps to [0, 1], each by itself."""
    if scale not in CAM_SCALES:
        raise ValueError(f"scale must be one of {CAM_SCALES}, got {scale!r}")
    if scale == "sigmoid":
        return cams.sigmoid()
    top = cams.amax(dim=(-2, -1), keepdim=True)
    bottom = torch.zeros_like(top) if scale == "max" else cams.amin(dim=(-2, -1), keepdim=True)
    usable = usable_span(bottom, top)
    raised = torch.where(usable, cams - bottom, 0.0).clamp(min=0)
    return raised / torch.where(usable, top - bottom, torch.ones_like(top))


@torch.no_grad()
def near_support(
    cams: Float[Tensor, "n 1 h w"], size: tuple[int, int], *, level: float = 0.15, radius: int = 4
) -> Float[Tensor, "n 1 gh gw"]:
    """Return 1 on the cells within `radius` cells of where a CAM exceeds `level` of its maximum.

    The weight of the localised form: a class answers for the depth edges around its own object, not
    for those of the whole scene. A map that is nowhere positive has no support and gets weight 1
    everywhere, so that its penalty does not vanish.
    """
    grid = F.interpolate(cams, size, mode="bilinear", align_corners=False, antialias=True)
    support = (_scaled(grid, "max") > level).to(cams.dtype)
    near = F.max_pool2d(support, 2 * radius + 1, stride=1, padding=radius)
    return torch.where(near.amax(dim=(-2, -1), keepdim=True) > 0, near, torch.ones_like(near))
