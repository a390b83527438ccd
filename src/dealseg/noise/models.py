"""Models of what goes wrong with depth, each a pure function of a map, its validity and a strength.

Maps are metres (`metric`) or inverse depth (`disparity`, `relative`). What is invalid stays invalid
and 0; what a model loses becomes invalid. Strength 0 changes nothing. How many numbers a generator
gives does not depend on the strength: the same seed gives the same pattern, only stronger.

Strengths are in metres or 1/metre for metric depth. Disparity is known up to a factor and relative
inverse depth up to an offset too, so theirs count in the map's own unit (:func:`unit_of`): every
model then commutes with what is not known.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dealseg.depth import Kind

Depth = Float[Tensor, "1 h w"]
Valid = Bool[Tensor, "1 h w"]

JUMP = 0.05
"""A step between neighbours is an edge above this share of the nearer depth, or of the unit."""

_FEW = 2**20  # torch.quantile takes 2^24 numbers at most


def unit_of(depth: Depth, valid: Valid, kind: Kind = "metric") -> float:
    """Return the unit that strengths count in.

    1 for metric depth; for disparity the map's median, as though its median depth were one metre;
    for relative inverse depth the spread between its 2nd and 98th percentile. Our choice: the
    smallest that makes strengths mean the same whatever the factor and the offset.
    """
    values = depth[valid]
    if kind == "metric" or len(values) == 0:
        return 1.0
    if kind == "disparity":
        return float(values.median())
    few = values[:: len(values) // _FEW + 1].double()
    low, high = torch.quantile(few, few.new_tensor([0.02, 0.98])).tolist()
    return float(high - low)


def gaussian(
    depth: Depth, valid: Valid, strength: float, *, kind: Kind, generator: torch.Generator
) -> tuple[Depth, Valid]:
    r"""Add the noise of triangulation, whose deviation grows with the square of the distance.

    $$ z' = z + \sigma z^2 n, \qquad n \sim N(0, 1) $$

    Inverse depth has the same noise everywhere: $q' = q + \sigma u n$ with the unit $u$. Depth that
    becomes negative, and disparity too, is lost.

    Source: error propagation of z = f b / d, Khoshelham and Elberink 2012 (Sensors 12(2)), eq. 8.
    There sigma is 1.4e-3 1/m (the first Kinect, half a step of disparity).

    Args:
        depth: the map.
        valid: where it was measured.
        strength: sigma, 1/metre: the deviation in metres at one metre; or in units of inverse
            depth.
        kind: what the map holds.
        generator: the only source of chance.
    """
    normal = torch.randn(depth.shape, generator=generator, dtype=depth.dtype).to(depth.device)
    growth = depth.square() if kind == "metric" else unit_of(depth, valid, kind)
    return _kept(depth + strength * growth * normal, valid, kind)


def quantise(depth: Depth, valid: Valid, step: float, *, kind: Kind) -> tuple[Depth, Valid]:
    r"""Round inverse depth to whole steps, as a stereo matcher of limited resolution does.

    $$ z' = \frac{1}{s \, [1 / (s z)]} $$

    Steps are counted from 0, of relative inverse depth from its least value. What is rounded to 0
    lies beyond the range and is lost.

    Source: Khoshelham and Elberink 2012, section 3.3; the first Kinect has s = 2.85e-3 1/m.

    Args:
        depth: the map.
        valid: where it was measured.
        step: s, 1/metre, or units of inverse depth.
        kind: what the map holds.
    """
    size = step * unit_of(depth, valid, kind)
    if size == 0 or not valid.any():
        return depth, valid
    if kind == "relative":
        low = depth[valid].min()
        return _kept(low + ((depth - low) / size).round() * size, valid, kind)
    if kind == "disparity":
        return _kept((depth / size).round() * size, valid, kind)
    inverse = (1 / (size * torch.where(valid, depth, 1.0))).round()
    kept = valid & (inverse > 0)
    return _kept(1 / (size * torch.where(kept, inverse, 1.0)), kept, kind)


def holes(
    depth: Depth, valid: Valid, share: float, size: float = 1.0, *, generator: torch.Generator
) -> tuple[Depth, Valid]:
    """Lose a share of the map in square patches at random places.

    Each square of a randomly placed lattice is lost with probability `share`: our choice, since
    block matching fails by neighbourhoods; its expectation is exact. `size` 1 loses single pixels.

    Args:
        depth: the map.
        valid: where it was measured.
        share: expected share of pixels that are lost.
        size: of a patch in pixels, rounded, at least 1.
        generator: the only source of chance.
    """
    return _kept_where(depth, valid & (_patches(depth.shape, size, generator) >= share))


def edge_holes(
    depth: Depth,
    valid: Valid,
    share: float,
    radius: float = 2.0,
    *,
    kind: Kind,
    generator: torch.Generator,
) -> tuple[Depth, Valid]:
    """Lose a share of the pixels near depth edges, where one view sees what the other cannot.

    Our choice: patches as in :func:`holes` and as wide as the band, on both sides of an edge. That
    sensors lose depth at outlines is reported by Mallick, Das and Majumdar 2014 (IEEE Sensors
    Journal), without a formula. Edges are those of the map as it comes: after strong noise or
    coarse steps they are everywhere, so let this model act first.

    Args:
        depth: the map.
        valid: where it was measured.
        share: expected share of the band that is lost.
        radius: of the band about edge pixels, see :func:`near_edges`.
        kind: what the map holds.
        generator: the only source of chance.
    """
    field = _patches(depth.shape, 2 * round(radius) + 1, generator)
    return _kept_where(depth, valid & ((field >= share) | ~near_edges(depth, valid, radius, kind)))


def near_edges(depth: Depth, valid: Valid, radius: float, kind: Kind) -> Valid:
    """Return the pixels within `radius` (rounded; a square) of a depth edge.

    The two pixels of an edge are neighbours across or down, both valid, that differ by more than
    JUMP of the smaller number, or of the unit for relative inverse depth.
    """
    unit = unit_of(depth, valid, kind)
    edge = torch.zeros_like(valid)
    for axis in (-2, -1):
        count = depth.shape[axis] - 1
        first, second = depth.narrow(axis, 0, count), depth.narrow(axis, 1, count)
        both = valid.narrow(axis, 0, count) & valid.narrow(axis, 1, count)
        scale = unit if kind == "relative" else torch.minimum(first, second)
        jump = both & ((first - second).abs() > JUMP * scale)
        edge.narrow(axis, 0, count).logical_or_(jump)
        edge.narrow(axis, 1, count).logical_or_(jump)
    reach = round(radius)
    return F.max_pool2d(edge[None].float(), 2 * reach + 1, stride=1, padding=reach)[0] > 0


def blur(depth: Depth, valid: Valid, sigma: float) -> tuple[Depth, Valid]:
    """Average valid depth with Gaussian weights: outlines melt into ramps of flying pixels.

    Normalised convolution (Knutsson and Westin 1993): invalid pixels give nothing and get nothing.
    The stored number is averaged, metres or inverse depth, as smoothing filters of cameras do. The
    kernel is cut off at three deviations.

    Args:
        depth: the map.
        valid: where it was measured.
        sigma: deviation of the weights in pixels.
    """
    if sigma == 0:
        return depth, valid
    reach = math.ceil(3 * sigma)
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = (-0.5 * (place / sigma).square()).exp().to(depth)
    maps = torch.stack([torch.where(valid, depth, 0.0), valid.to(depth)])
    across = F.conv2d(maps, weights[None, None, None], padding=(0, reach))
    total, weight = F.conv2d(across, weights[None, None, :, None], padding=(reach, 0))
    return torch.where(valid, total / torch.where(valid, weight, 1.0), 0.0), valid


def shift(depth: Depth, valid: Valid, right: float, down: float = 0.0) -> tuple[Depth, Valid]:
    """Move the map against its image, as a wrong calibration of the two cameras does.

    The same for every image, since a camera's calibration is. What comes from outside is invalid.

    Args:
        depth: the map.
        valid: where it was measured.
        right: pixels to the right (negative: left), rounded.
        down: pixels down (negative: up), rounded.
    """
    return _moved(depth, round(right), round(down)), _moved(valid, round(right), round(down))


def scale(depth: Depth, valid: Valid, error: float) -> tuple[Depth, Valid]:
    """Multiply by 1 + error: a wrong baseline, focal length or unit.

    A control: the loss normalises each map, so that it must not notice.
    """
    return depth * (1 + error), valid


def offset(depth: Depth, valid: Valid, error: float, *, kind: Kind) -> tuple[Depth, Valid]:
    """Add a constant: a wrong zero of the sensor. What becomes negative is lost.

    The loss does not notice it on inverse depth, but on metric depth it bends planes.

    Args:
        depth: the map.
        valid: where it was measured.
        error: metres, or units of inverse depth.
        kind: what the map holds.
    """
    return _kept(depth + error * unit_of(depth, valid, kind), valid, kind)


def _kept(depth: Depth, valid: Valid, kind: Kind) -> tuple[Depth, Valid]:
    """Lose what is no measurement any more."""
    measured = depth.isfinite() if kind == "relative" else depth.isfinite() & (depth > 0)
    return _kept_where(depth, valid & measured)


def _kept_where(depth: Depth, valid: Valid) -> tuple[Depth, Valid]:
    return torch.where(valid, depth, 0.0), valid


def _patches(
    shape: tuple[int, ...], size: float, generator: torch.Generator
) -> Float[Tensor, "1 h w"]:
    """Return a map of uniform numbers, constant on the squares of a randomly placed lattice."""
    side = max(1, round(size))
    _, height, width = shape
    lattice = (height // side + 2, width // side + 2)
    top, left = torch.randint(side, (2,), generator=generator).tolist()
    field = torch.rand(lattice, generator=generator).repeat_interleave(side, 0)
    return field.repeat_interleave(side, 1)[None, top : top + height, left : left + width]


def _moved(maps: Tensor, right: int, down: int) -> Tensor:
    """Return the map moved by whole pixels; 0 or False comes in."""
    height, width = maps.shape[-2:]
    result = torch.zeros_like(maps)
    if abs(right) < width and abs(down) < height:
        to_y, from_y = max(down, 0), max(-down, 0)
        to_x, from_x = max(right, 0), max(-right, 0)
        tall, wide = height - abs(down), width - abs(right)
        part = maps[..., from_y : from_y + tall, from_x : from_x + wide]
        result[..., to_y : to_y + tall, to_x : to_x + wide] = part
    return result
