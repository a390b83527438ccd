"""A coarse grid of square cells over the pixels, and the way back along colour and depth."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_AROUND = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # the corners as well change nothing
_SHARPNESS = 0.7  # deviation, in cells, of the spatial weight of the way back
_FARTHEST = 100.0  # squared distances are cut here; smaller weights would be denormal, and slow


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
    colour and depth where pixel and cell are both valid.

    Source: Kopf, Cohen, Lischinski, Uyttendaele 2007, "Joint Bilateral Upsampling", eq. 3, with a
    Gaussian range kernel.
    """
    height, width = pixels.colour.shape[-2:]
    rows, columns = maps.shape[-2:]
    fine = _by_place(pixels, rows, columns, stride)
    near, values = _ringed(cells), _ring(maps)
    total = maps.new_zeros(len(maps), stride**2, rows, columns)
    weights = maps.new_zeros(stride**2, rows, columns)
    for down, right in _AROUND:
        seen = (slice(1 + down, 1 + down + rows), slice(1 + right, 1 + right + columns))
        apart = _apart(fine, near, seen).add_(_spatial(down, right, stride, maps))
        weight = apart.clamp_(max=_FARTHEST).mul_(-0.5).exp_()
        weights += weight
        for value, sums in zip(values, total, strict=True):
            sums.addcmul_(weight, value[seen])
    total /= weights
    return F.pixel_shuffle(total.flatten(0, 1)[None], stride)[0, :, :height, :width]


def _by_place(look: Look, rows: int, columns: int, stride: int) -> tuple[Tensor, ...]:
    """Return colour, and depth and validity if any, of pixels by their place in a cell.

    The places come first, so that what is done for all cells runs along memory.
    """

    def split(maps: Float[Tensor, "c h w"]) -> Float[Tensor, "c s2 gh gw"]:
        right, below = columns * stride - maps.shape[2], rows * stride - maps.shape[1]
        if right or below:
            maps = F.pad(maps[None], (0, right, 0, below), mode="replicate")[0]
        return F.pixel_unshuffle(maps, stride).view(len(maps), stride**2, rows, columns)

    if look.depth is None or look.valid is None:
        return (split(look.colour),)
    both = split(torch.stack([look.depth, look.valid.to(look.depth.dtype)]))
    return split(look.colour), both[0], both[1] * (1 - look.slack**2), both[1]


def _ringed(look: Look) -> tuple[Tensor, ...]:
    """Return the same of cells, with a ring of copies around."""
    if look.depth is None or look.valid is None:
        return (_ring(look.colour),)
    both = _ring(torch.stack([look.depth, look.valid.to(look.depth.dtype)]))
    return _ring(look.colour), both[0], both[1]


def _ring(maps: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
    return F.pad(maps[None], (1, 1, 1, 1), mode="replicate")[0]


def _apart(
    fine: tuple[Tensor, ...], near: tuple[Tensor, ...], seen: tuple[slice, slice]
) -> Float[Tensor, "s2 gh gw"]:
    """Return squared distances in colour, and in depth where pixel and cell have one."""
    apart = torch.zeros_like(fine[0][0])
    for own, other in zip(fine[0], near[0], strict=True):
        step = own - other[seen]
        apart.addcmul_(step, step)
    if len(fine) == 1:
        return apart
    _, depth, easing, valid = fine
    known = near[2][seen]
    apart *= 1 - easing * known
    step = (depth - near[1][seen]).mul_(valid).mul_(known)
    return apart.addcmul_(step, step)


def _spatial(down: int, right: int, stride: int, like: Tensor) -> Float[Tensor, "s2 1 1"]:
    """Return the squared distance of each place in a cell to the centre of a cell nearby."""
    place = (torch.arange(stride, dtype=like.dtype, device=like.device) + 0.5) / stride - 0.5
    apart = ((place - down) ** 2)[:, None] + (place - right) ** 2
    return (apart / _SHARPNESS**2).view(-1, 1, 1)
