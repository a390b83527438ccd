"""Local affinity: each pixel becomes the mean of the neighbours it looks like, again and again."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dealseg.refine.checking import checked, require_positive


@torch.no_grad()
def local_affinity(
    probabilities: Float[Tensor, "b c h w"],
    image: Float[Tensor, "b 3 h w"],
    depth: Float[Tensor, "b 1 h w"] | None = None,
    valid: Bool[Tensor, "b 1 h w"] | None = None,
    *,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    iterations: int = 10,
    colour_scale: float = 0.3,
    depth_scale: float = 0.5,
    depth_floor: float = 0.05,
) -> Float[Tensor, "b c h w"]:
    r"""Return probabilities spread among neighbours of like colour and depth.

    $$ p_i \leftarrow \sum_{j \in N(i)} a_{ij} p_j, \qquad
       a_{ij} = \operatorname{softmax}_{j \in N(i)} \Big( -\frac{1}{3} \sum_{ch}
       \frac{|I_i - I_j|}{s_I \sigma_i} - v_i v_j \frac{|z_i - z_j|}{s_z (\sigma^z_i + f)} \Big) $$

    N(i) are the eight neighbours at each dilation that lie in the image; $\sigma_i$ are the
    standard deviations of colour channel and valid depth over i and N(i). The depth term drops
    out of pairs with an invalid end. z is divided by its mean absolute deviation in the
    image, so no factor and no offset of it matters; the floor f, in the same unit, keeps the noise
    and the quantisation steps of a flat surface from counting as edges, which they would be
    relative to a deviation that is theirs alone.

    Each map is a mixture of values of the map before, so nothing leaves their range and sums over c
    are kept.

    Source: Araslanov and Roth 2020, "Single-Stage Semantic Segmentation from Image Labels", eqs. 3
    and 4 (PAMR), with the dilations of their code. Departs from it in the depth; in leaving
    out neighbours beyond the border, where their code repeats border pixels; and in counting the
    pixel itself once in $\sigma$, not once for each dilation.

    No gradient is kept. Memory is that of 8 maps for each dilation, and of one more copy of the
    probabilities.

    Args:
        probabilities: background first.
        image: RGB in [0, 1].
        depth: any depth or inverse depth; not read where it is invalid.
        valid: True where depth was measured; without it, wherever depth is finite.
        dilations: distances of the neighbours, pixels.
        iterations: how often; 0 returns the probabilities.
        colour_scale: $s_I$, colour step in deviations that cuts an affinity to 1/e.
        depth_scale: $s_z$, the same for depth.
        depth_floor: f, in mean absolute deviations of the image's depth.

    Raises:
        ValueError: if sizes differ, probabilities or image are not finite, or an option cannot
            work.
    """
    if iterations < 0:
        raise ValueError(f"iterations must be >= 0, got {iterations}")
    if not dilations or min(dilations) < 1:
        raise ValueError(f"dilations must be pixels >= 1, got {tuple(dilations)}")
    require_positive(colour_scale=colour_scale, depth_scale=depth_scale, depth_floor=depth_floor)
    maps, image, z, known, _ = checked(probabilities, image, depth, valid)
    pairs = _pairs(maps.shape[-2], maps.shape[-1], dilations)
    if not pairs or iterations == 0:
        return probabilities.clone()
    apart = _steps(image, None, pairs, 0.0).mul_(1 / colour_scale)
    if z is not None and known is not None:
        apart += _steps(z, known, pairs, depth_floor).mul_(1 / depth_scale)
    affinity, alone = _affinity(apart, pairs)
    for _ in range(iterations):
        maps = _mixed(maps, affinity, pairs).add_(maps * alone)
    return maps.to(probabilities.dtype)


class _Pair(NamedTuple):
    """Where pixels are that have a neighbour in one direction, and where that neighbour is."""

    here: tuple[slice, slice]
    there: tuple[slice, slice]


def _pairs(height: int, width: int, dilations: Sequence[int]) -> list[_Pair]:
    """Return the directions in which some pixel has a neighbour."""
    steps = [
        (dilation * down, dilation * right)
        for dilation in dilations
        for down, right in itertools.product((-1, 0, 1), repeat=2)
        if (down, right) != (0, 0) and dilation * abs(down) < height
        if dilation * abs(right) < width
    ]
    return [
        _Pair(
            (_inside(height, -down), _inside(width, -right)),
            (_inside(height, down), _inside(width, right)),
        )
        for down, right in steps
    ]


def _inside(size: int, step: int) -> slice:
    """Return the places that are reached by `step` from another place."""
    return slice(max(0, step), size + min(0, step))


def _at(maps: Tensor, place: tuple[slice, slice]) -> Tensor:
    return maps[(..., *place)]


def _steps(
    maps: Float[Tensor, "b g h w"],
    valid: Bool[Tensor, "b 1 h w"] | None,
    pairs: Sequence[_Pair],
    floor: float,
) -> Float[Tensor, "b n h w"]:
    """Return |step| / (deviation + floor), mean of the channels; 0 where an end is not valid."""
    known = torch.ones_like(maps[:, :1]) if valid is None else valid.to(maps.dtype)
    scale = _deviation(maps, known, pairs) + floor
    scale = torch.where(scale > 0, scale, 1.0).reciprocal_().mul_(1 / maps.shape[1])
    apart = maps.new_zeros(len(maps), len(pairs), *maps.shape[-2:])
    for index, (here, there) in enumerate(pairs):
        step = (_at(maps, here) - _at(maps, there)).abs_().mul_(_at(scale, here))
        both = _at(known, here) * _at(known, there)
        _at(apart, here)[:, index] = step.sum(1) * both[:, 0]
    return apart


def _deviation(
    maps: Float[Tensor, "b g h w"], known: Float[Tensor, "b 1 h w"], pairs: Sequence[_Pair]
) -> Float[Tensor, "b g h w"]:
    """Return the standard deviation of the known values over each pixel and its neighbours."""
    count = _around(known, pairs).clamp_(min=1)
    mean = _around(maps * known, pairs) / count
    squares = known * (maps - mean) ** 2
    for here, there in pairs:
        step = _at(maps, there) - _at(mean, here)
        _at(squares, here).addcmul_(step.square_(), _at(known, there))
    return squares.div_(count).sqrt_()


def _around(maps: Float[Tensor, "b g h w"], pairs: Sequence[_Pair]) -> Float[Tensor, "b g h w"]:
    """Return the sum over each pixel and its neighbours."""
    total = maps.clone()
    for here, there in pairs:
        _at(total, here).add_(_at(maps, there))
    return total


def _affinity(
    apart: Float[Tensor, "b n h w"], pairs: Sequence[_Pair]
) -> tuple[Float[Tensor, "b n h w"], Bool[Tensor, "h w"]]:
    """Return the shares of the neighbours, 0 beyond the border, and which pixels have none."""
    beyond = torch.ones(apart.shape[1:], dtype=torch.bool, device=apart.device)
    for index, (here, _) in enumerate(pairs):
        _at(beyond, here)[index] = False
    alone = beyond.all(0)
    shares = apart.neg_().masked_fill_(beyond, -torch.inf).softmax(1)
    return shares.masked_fill_(alone, 0.0), alone


def _mixed(
    maps: Float[Tensor, "b c h w"], affinity: Float[Tensor, "b n h w"], pairs: Sequence[_Pair]
) -> Float[Tensor, "b c h w"]:
    """Return the mean of each pixel's neighbours, weighted by affinity."""
    total = torch.zeros_like(maps)
    for index, (here, there) in enumerate(pairs):
        weight = _at(affinity[:, index : index + 1], here)
        _at(total, here).addcmul_(weight, _at(maps, there))
    return total
