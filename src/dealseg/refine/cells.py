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
_LARGEST = 50.0  # logarithms of weights are cut here; others would be denormal or overflow

Window = tuple[EllipsisType, slice, slice]
"""Rows and columns of a ringed grid: every cell's neighbour on one side."""


@dataclass(frozen=True)
class Look:
    """What the pixels or cells of one image look like.

    Attributes:
        colour: in deviations of the kernel of colour.
        depth: in deviations of the kernel of colour and depth, 0 where invalid; None if all is.
        valid: where there is depth; None if everywhere, or if there is none.
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
        if self.depth is None:
            return Look(colour)
        if self.valid is None:
            return Look(colour, cell_means(self.depth[None], stride)[0], None, self.slack)
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
    liker, values, own = _liker(cells, pixels, stride), _ring(maps), _spatial(_OWN, stride, maps)
    total = maps[:, None].repeat(1, stride**2, 1, 1)
    weights = maps.new_ones(stride**2, *maps.shape[-2:])
    for step in _BESIDE:
        seen = _window(step, maps)
        weight = liker(seen).add_(own - _spatial(step, stride, maps))
        weight = weight.clamp_(-_LARGEST, _LARGEST).exp_()
        weights += weight
        for sums, beside in zip(total, values[seen].contiguous(), strict=True):
            sums.addcmul_(weight, beside)
    return _join(total.div_(weights), stride)[:, :height, :width]


def _liker(cells: Look, pixels: Look, stride: int) -> Callable[[Window], Float[Tensor, "s2 gh gw"]]:
    """Return what tells how much more alike pixels are to a cell seen than to their own.

    As the logarithm of the kernels' ratio. Where one kernel holds for all pairs, half of
    |g - g_0|^2 - |g - g_J|^2 is (g - g_0) d - |d|^2 / 2 with d = g_J - g_0, which takes half of the
    work.
    """
    rows, columns = cells.colour.shape[-2:]
    if pixels.valid is not None:
        fine, near = _by_place(pixels, rows, columns, stride), _ringed(cells)
        least = _apart(fine, near, _window(_OWN, cells.colour))
        return lambda seen: torch.sub(least, _apart(fine, near, seen)).mul_(0.5)
    own = cells.features()
    inward = _split(pixels.features(), rows, columns, stride).sub_(own[:, None])
    around = _ring(own)

    def liker(seen: Window) -> Float[Tensor, "s2 gh gw"]:
        outward = around[seen] - own
        alike = torch.addcmul((outward * outward).sum(0) / -2, inward[0], outward[0])
        for one, other in zip(inward[1:], outward[1:], strict=True):
            alike.addcmul_(one, other)
        return alike

    return liker


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
    apart = maps.view(-1, rows, stride, columns, stride).permute(0, 2, 4, 1, 3)
    return apart.reshape(-1, stride**2, rows, columns)  # pixel_unshuffle, 3 times as fast


def _join(parts: Float[Tensor, "c s2 gh gw"], stride: int) -> Float[Tensor, "c h w"]:
    """Return the pixels that :func:`_split` has taken apart, borders included."""
    count, _, rows, columns = parts.shape
    together = parts.view(count, stride, stride, rows, columns).permute(0, 3, 1, 4, 2)
    return together.reshape(count, rows * stride, columns * stride)


def _by_place(look: Look, rows: int, columns: int, stride: int) -> tuple[Tensor, ...]:
    """Return colour, depth, what depth takes from colour, and validity of pixels by place."""
    colour = _split(look.colour, rows, columns, stride)
    depth, valid = _split(_measured(look), rows, columns, stride)
    return colour, depth, valid * (1 - look.slack**2), valid


def _ringed(look: Look) -> tuple[Tensor, ...]:
    """Return colour, depth and validity of cells, with a ring of copies around."""
    return _ring(look.colour), *_ring(_measured(look))


def _measured(look: Look) -> Float[Tensor, "2 h w"]:
    """Return depth and 1 where it is valid, 0 elsewhere."""
    if look.depth is None:
        return torch.zeros_like(look.colour[:2])
    known = torch.ones_like(look.depth) if look.valid is None else look.valid.to(look.depth.dtype)
    return torch.stack([look.depth, known])


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
    """Return half the squared distance of places in a cell to the centre of a cell nearby."""
    place = (torch.arange(stride, dtype=like.dtype, device=like.device) + 0.5) / stride - 0.5
    apart = ((place - step[0]) ** 2)[:, None] + (place - step[1]) ** 2
    return (apart / (2 * _SHARPNESS**2)).view(-1, 1, 1)
