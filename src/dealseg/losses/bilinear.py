"""What is asked of coarse maps after bilinear upsampling, without making the large maps.

Bilinear resizing with aligned corners (the first and last pixel lie on the first and last cell) is
R M C^T with one sparse matrix for the rows and one for the columns, so any subset of the pixels can
be had by taking those rows of R and C alone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dealseg.depth import at_least_float32

Size = tuple[int, int]


def at_size(maps: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "b c h2 w2"]:
    """Return maps resized bilinearly with aligned corners, as SEAM does everywhere."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def mean_at_size(maps: Float[Tensor, "b c h w"], size: Size) -> Float[Tensor, "b c"]:
    """Return the mean over all pixels that maps have at `size`, without making those."""
    wide = at_least_float32(maps)
    rows, columns = upsampling((maps.shape[2], maps.shape[3]), size, wide)
    return (wide * torch.outer(rows.mean(dim=0), columns.mean(dim=0))).sum(dim=(2, 3))


def between(
    index: Int[Tensor, " m"], source: int, target: int
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"], Float[Tensor, " m"]]:
    """Return both neighbours in 0..source-1 of an `index` in 0..target-1, and the second's weight.

    Integers decide, so that a pixel on a cell is never taken to lie beside it.
    """
    steps = max(target - 1, 1)
    position = index * (source - 1)
    first = position // steps
    return first, (first + 1).clamp(max=source - 1), (position % steps).double() / steps


def matrix(
    index: Int[Tensor, " m"], cells: int, pixels: int, like: Float[Tensor, "*s"]
) -> Float[Tensor, "m cells"]:
    """Return the weight of each cell in the pixels `index` of a row of `pixels`."""
    first, second, weight = between(index, cells, pixels)
    weights = torch.zeros(len(index), cells, dtype=torch.float64)
    weights.scatter_add_(1, first[:, None], 1 - weight[:, None])
    weights.scatter_add_(1, second[:, None], weight[:, None])
    return weights.to(like, non_blocking=True)


def apply(
    rows: Float[Tensor, "h hs"], columns: Float[Tensor, "w ws"], maps: Float[Tensor, "n hs ws"]
) -> Float[Tensor, "n h w"]:
    """Return R M C^T of each map."""
    return rows @ (maps @ columns.T)


def upsampling(
    cells: Size, size: Size, like: Tensor
) -> tuple[Float[Tensor, "h hs"], Float[Tensor, "w ws"]]:
    """Return R and C of resizing maps of `cells` to `size`."""
    rows, columns = (
        matrix(torch.arange(pixels), source, pixels, like)
        for source, pixels in zip(cells, size, strict=True)
    )
    return rows, columns


def extremes(
    maps: Float[Tensor, "n hs ws"], size: Size
) -> tuple[Float[Tensor, "n 1 1"], Float[Tensor, "n 1 1"]]:
    """Return minimum and maximum of each map upsampled to `size`.

    Between four cells the upsampled map is linear along rows and columns, so that among the pixels
    there the first or last of the first or last row is the extreme one: those alone are computed.
    """
    rows, columns = (
        matrix(_outer(cells, pixels), cells, pixels, maps)
        for cells, pixels in zip(maps.shape[-2:], size, strict=True)
    )
    corners = apply(rows, columns, maps)
    return corners.amin(dim=(1, 2), keepdim=True), corners.amax(dim=(1, 2), keepdim=True)


def _outer(cells: int, pixels: int) -> Int[Tensor, " m"]:
    """Return the pixels that are the first or the last between two neighbouring cells."""
    index = torch.arange(pixels)
    interval, _, _ = between(index, cells, pixels)
    step = interval.diff() > 0
    edge = torch.ones(1, dtype=torch.bool)
    return index[torch.cat([edge, step]) | torch.cat([step, edge])]


def rectified(maps: Float[Tensor, "n hs ws"], size: Size, final: Size) -> Float[Tensor, "n h w"]:
    """Return maps upsampled to `size`, their negative values set to 0, resized to `final`.

    Only the pixels that the second resizing reads are computed, at most four for each of `final`.
    """
    if size == final:
        return apply(*upsampling((maps.shape[1], maps.shape[2]), size, maps), maps).relu()
    rows, row_weight = _read(maps, 0, size, final)
    columns, column_weight = _read(maps, 1, size, final)
    positive = apply(rows, columns, maps).relu()
    upper, lower = positive.chunk(2, dim=1)
    left, right = upper.lerp(lower, row_weight[:, None]).chunk(2, dim=2)
    return left.lerp(right, column_weight)


def _read(
    maps: Float[Tensor, "n hs ws"], axis: int, size: Size, final: Size
) -> tuple[Float[Tensor, "m cells"], Float[Tensor, " half"]]:
    """Return the matrix of all first, then all second pixels read, and the second's weights."""
    first, second, weight = between(torch.arange(final[axis]), size[axis], final[axis])
    weights = matrix(torch.cat([first, second]), maps.shape[1 + axis], size[axis], maps)
    return weights, weight.to(maps, non_blocking=True)
