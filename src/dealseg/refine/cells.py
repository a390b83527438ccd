"""A coarse grid of square cells over the pixels, and the way back along colour and depth."""

from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_OWN, _BESIDE = (0, 0), ((-1, 0), (1, 0), (0, -1), (0, 1))  # the corners as well change nothing
_SHARPNESS = 0.7  # deviation, in cells, of the spatial weight of the way back
_FARTHEST = 100.0  # squared distances are cut here; other weights would be denormal or overflow

Window = tuple[EllipsisType, slice, slice]
"""Rows and columns of a ringed grid: every cell's neighbour on one side."""


@dataclass(frozen=True)
class Look:
    """What the pixels or cells of one image look like.

    Attributes:
        colour: in deviations of the kernel of colour.
        depth: in deviations of the kernel of colour and depth, 0 where invalid; None if all is.
        valid: where there is depth; None if nowhere.
        slack: deviation of colour in the kernel of colour alone, divided by that beside depth.
    """

    colour: Float[Tensor, "3 h w"]
    depth: Float[Tensor, "h w"] | None = None
    valid: Bool[Tensor, "h w"] | None = None
    slack: float = 1.0

    def cells(self, stride: int) -> "Look":
        """Return what cells of `stride` x `stride` pixels look like: their means.

        A cell has a depth where at least half of it has; invalid pixels give nothing to it.
        """
        colour = cell_means(self.colour, stride)
        if self.depth is None or self.valid is None:
            return Look(colour)
        share = cell_means(self.valid.to(colour.dtype)[None], stride)[0]
        total = cell_means((self.depth * self.valid)[None], stride)[0]
        valid = share >= 0.5
        depth = torch.where(valid, total / torch.where(valid, share, 1.0), 0.0)
        return Look(colour, depth, valid, self.slack)

    def features(self) -> Float[Tensor, "k h w"]:
        """Return what one kernel compares between all pairs: colour, or with all of the depth."""
        if self.depth is None:
            return self.colour
        return torch.cat([self.slack * self.colour, self.depth[None]])

    def measured(self) -> Float[Tensor, "2 h w"]:
        """Return depth and 1 where it is valid, 0 elsewhere."""
        if self.depth is None or self.valid is None:
            return torch.zeros_like(self.colour[:2])
        return torch.stack([self.depth, self.valid.to(self.depth.dtype)])


def cell_means(maps: Float[Tensor, "c h w"], stride: int) -> Float[Tensor, "c gh gw"]:
    """Return the mean over cells of `stride` x `stride` pixels; border cells may be smaller."""
    if stride == 1:
        return maps
    return F.avg_pool2d(maps[None], stride, ceil_mode=True, count_include_pad=False)[0]


def pixel_counts(height: int, width: int, stride: int, like: Tensor) -> Float[Tensor, "gh gw"]:
    """Return how many pixels each cell holds."""
    rows, columns = (
        torch.full((-(-size // stride),), float(stride), dtype=like.dtype, device=like.device)
        for size in (height, width)
    )
    rows[-1] -= len(rows) * stride - height
    columns[-1] -= len(columns) * stride - width
    return rows[:, None] * columns


def to_pixels(
    maps: Float[Tensor, "c gh gw"], cells: Look, pixels: Look, stride: int
) -> Float[Tensor, "c h w"]:
    r"""Return at each pixel the mean of its cell and the four beside it, weighted by likeness.

    $$ w_{iJ} = \exp(-|x_i - x_J|^2 / (2 \cdot 0.7^2 s^2)) \, k(g_i, g_J) $$

    for pixel i, cell J, its centre x_J, the stride s and the kernel k of colour, or of
    colour and depth where pixel and cell are both valid. The weight of a cell beside it is between
    e^-50 and e^50 times that of the pixel's own cell.

    Source: Kopf, Cohen, Lischinski, Uyttendaele 2007, "Joint Bilateral Upsampling", eq. 3, with a
    Gaussian range kernel.
    """
    height, width = pixels.colour.shape[-2:]
    farther, values = _farther(cells, pixels, stride), _ring(maps)
    total = maps[:, None].repeat(1, stride**2, 1, 1)
    weights = maps.new_ones(stride**2, *maps.shape[-2:])
    for step in _BESIDE:
        seen = _window(step, maps)
        apart = farther(seen).add_(_spatial(step, stride, maps) - _spatial(_OWN, stride, maps))
        weight = apart.clamp_(-_FARTHEST, _FARTHEST).mul_(-0.5).exp_()
        weights += weight
        for value, sums in zip(values, total, strict=True):
            sums.addcmul_(weight, value[seen])
    total /= weights
    return F.pixel_shuffle(total.flatten(0, 1)[None], stride)[0, :, :height, :width]


def _farther(
    cells: Look, pixels: Look, stride: int
) -> Callable[[Window], Float[Tensor, "s2 gh gw"]]:
    """Return what tells how much less alike pixels are to a cell seen than to their own.

    In squared deviations. Where one kernel holds for all pairs, |g - g_J|^2 - |g - g_0|^2 is
    |d|^2 - 2 (g - g_0) d with d = g_J - g_0, which takes half of the work.
    """
    rows, columns = cells.colour.shape[-2:]
    if pixels.depth is not None and pixels.valid is not None and not bool(pixels.valid.all()):
        fine, near = _by_place(pixels, rows, columns, stride), _ringed(cells)
        least = _apart(fine, near, _window(_OWN, cells.colour))
        return lambda seen: _apart(fine, near, seen).sub_(least)
    own = cells.features()
    inward = _split(pixels.features(), rows, columns, stride) - own[:, None]
    around = _ring(own)

    def farther(seen: Window) -> Float[Tensor, "s2 gh gw"]:
        outward = around[seen] - own
        total = (outward * outward).sum(0).repeat(stride**2, 1, 1)
        for one, other in zip(inward, outward, strict=True):
            total.addcmul_(one, other, value=-2)
        return total

    return farther


def _window(step: tuple[int, int], maps: Float[Tensor, "c gh gw"]) -> Window:
    """Return where a ringed grid has each cell's neighbour a step down and right."""
    rows, columns = maps.shape[-2:]
    down, right = 1 + step[0], 1 + step[1]
    return ..., slice(down, down + rows), slice(right, right + columns)


def _split(
    maps: Float[Tensor, "c h w"], rows: int, columns: int, stride: int
) -> Float[Tensor, "c s2 gh gw"]:
    """Return pixels by their place in a cell, borders repeated to whole cells.

    The places come first, so that what is done for all cells runs along memory.
    """
    right, below = columns * stride - maps.shape[2], rows * stride - maps.shape[1]
    if right or below:
        maps = F.pad(maps[None], (0, right, 0, below), mode="replicate")[0]
    return F.pixel_unshuffle(maps, stride).view(len(maps), stride**2, rows, columns)


def _by_place(look: Look, rows: int, columns: int, stride: int) -> tuple[Tensor, ...]:
    """Return colour, depth, what depth takes from colour, and validity of pixels by place."""
    colour = _split(look.colour, rows, columns, stride)
    depth, valid = _split(look.measured(), rows, columns, stride)
    return colour, depth, valid * (1 - look.slack**2), valid


def _ringed(look: Look) -> tuple[Tensor, ...]:
    """Return colour, depth and validity of cells, with a ring of copies around."""
    return _ring(look.colour), *_ring(look.measured())


def _ring(maps: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
    return F.pad(maps[None], (1, 1, 1, 1), mode="replicate")[0]


def _apart(
    fine: tuple[Tensor, ...], near: tuple[Tensor, ...], seen: Window
) -> Float[Tensor, "s2 gh gw"]:
    """Return squared distances in colour, and in depth where pixel and cell have one."""
    apart = torch.zeros_like(fine[0][0])
    for own, other in zip(fine[0], near[0], strict=True):
        step = own - other[seen]
        apart.addcmul_(step, step)
    _, depth, easing, valid = fine
    known = near[2][seen]
    apart *= 1 - easing * known
    step = (depth - near[1][seen]).mul_(valid).mul_(known)
    return apart.addcmul_(step, step)


def _spatial(step: tuple[int, int], stride: int, like: Tensor) -> Float[Tensor, "s2 1 1"]:
    """Return the squared distance of each place in a cell to the centre of a cell nearby."""
    place = (torch.arange(stride, dtype=like.dtype, device=like.device) + 0.5) / stride - 0.5
    apart = ((place - step[0]) ** 2)[:, None] + (place - step[1]) ** 2
    return (apart / _SHARPNESS**2).view(-1, 1, 1)
