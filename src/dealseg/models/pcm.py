"""SEAM's pixel correlation module, in blocks: a CAM smoothed over cells that look alike.

Source: Wang, Zhang, Kan, Shan, Chen, "Self-supervised Equivariant Attention Mechanism for Weakly
Supervised Semantic Segmentation", CVPR 2020 (arXiv 2004.04581), section 3.3, and the authors' code.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from dealseg.depth import at_least_float32

MARGIN = 1e-5
"""What the original adds to every divisor, and takes from a CAM before it is divided."""

BLOCK_CELLS = 2**21
"""Affinities held at once, batch included, where the caller names no block (8 MiB in float32)."""


@torch.no_grad()
def winning_cam(cam: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    r"""Return a raw CAM (background first) in [0, 1] with each cell's best class alone.

    $$ n_k = \frac{\max(d_k - \epsilon, 0)}{\max d_k + \epsilon}, \quad d = \max(\mathrm{cam}, 0),
    \quad n_0 = 1 - \max_k n_k, \quad \epsilon = 10^{-5} $$

    and then 0 for every class that is not the cell's largest. The raw background channel is not
    read. There is no gradient: in SEAM the CAM that is refined is constant.
    """
    positive = at_least_float32(cam[:, 1:]).clamp(min=0)
    peak = positive.amax(dim=(-2, -1), keepdim=True) + MARGIN
    scaled = (positive - MARGIN).clamp(min=0) / peak
    best = scaled.amax(dim=1, keepdim=True)
    return torch.cat([1 - best, torch.where(scaled == best, scaled, 0.0)], dim=1)


def refine(
    cam: Float[Tensor, "b c h w"], features: Float[Tensor, "b f h w"]
) -> Float[Tensor, "b c h w"]:
    """Return SEAM's refined map of a raw CAM (background first): :func:`correlate` of its winners.

    The gradient reaches `features` only.
    """
    maps = correlate(winning_cam(cam).flatten(2), features.flatten(2))
    return maps.view(cam.shape)


def correlate(
    maps: Float[Tensor, "b c p"], features: Float[Tensor, "b f p"], *, block: int | None = None
) -> Float[Tensor, "b c p"]:
    r"""Return at each cell the mean of the maps over all cells, weighted by positive cosines.

    $$ o_j = \frac{\sum_i n_i A_{ij}}{\sum_i A_{ij} + \epsilon}, \quad
    A_{ij} = \max(u_i^\top u_j, 0), \quad u_i = \frac{f_i}{|f_i| + \epsilon} $$

    Source: SEAM, eq. 7 and the authors' code, which hold A. Departures: the columns of A are made
    block by block and dropped, forward and backward, so that memory grows with p * block; the
    values are the same. Everything is in float32 at least, inside autocast as well.

    Args:
        maps: values to be averaged, cells in the last axis.
        features: what makes cells alike.
        block: columns of A made at once; by default as many as hold `BLOCK_CELLS` affinities.

    Raises:
        ValueError: if `block` is not positive.
    """
    cells, batch = maps.shape[-1], len(maps)
    size = max(64, BLOCK_CELLS // max(1, batch * cells)) if block is None else block
    if size < 1:
        raise ValueError(f"block must be >= 1 cell, got {size}")
    with torch.autocast(maps.device.type, enabled=False):
        wide = at_least_float32(features)
        units = wide / (torch.linalg.vector_norm(wide, dim=1, keepdim=True) + MARGIN)
        values = at_least_float32(maps)
        ones = torch.ones_like(values[:, :1])
        sums: Tensor = _Spread.apply(torch.cat([values, ones], dim=1), units, size)
    return sums[:, :-1] / (sums[:, -1:] + MARGIN)


class _Spread(torch.autograd.Function):
    """Z = M A with A = max(U^T U, 0), of which no more than `size` columns exist at a time.

    With the last row of M all ones, the last row of Z holds the column sums of A. A is symmetric,
    so that with the gradient G of Z the others are dM = G A and dU = U S, where
    S = (M^T G + G^T M) * (A > 0): they need the same blocks as Z.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, units: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(maps, units)
        ctx.size = size
        result = torch.empty_like(maps)
        for part in _blocks(units.shape[-1], size):
            result[..., part] = maps @ _affinity(units, part)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        maps, units = ctx.saved_tensors
        wants_maps, wants_units, _ = ctx.needs_input_grad
        of_maps = torch.empty_like(maps) if wants_maps else None
        of_units = torch.empty_like(units) if wants_units else None
        with torch.autocast(maps.device.type, enabled=False):
            rows, columns = torch.cat([maps, slope], 1).mT, torch.cat([slope, maps], 1)
            for part in _blocks(units.shape[-1], ctx.size):
                affinity = _affinity(units, part)
                if of_maps is not None:
                    of_maps[..., part] = slope @ affinity
                if of_units is not None:
                    both = (rows @ columns[..., part]).mul_(affinity > 0)
                    of_units[..., part] = units @ both
        return of_maps, of_units, None


def _affinity(units: Tensor, part: slice) -> Tensor:
    """Return the columns `part` of max(U^T U, 0)."""
    return (units.mT @ units[..., part]).clamp_(min=0)


def _blocks(cells: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, cells, size)]
