"""Gaussian filtering of scattered points in many dimensions: the permutohedral lattice."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

_HASH_SEED = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Lattice:
    r"""The points of a lattice around n features, and how they are joined.

    Filtering is $\sum_j k(f_i, f_j) v_j$ with $k(a, b) \approx \exp(-|a - b|^2 / 2)$, each point
    with itself included. It costs O(n d) plus O(m d^2) for the m lattice points touched.

    Source: Adams, Baek, Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral
    Lattice", sections 3 and 4, with the scale and the constant of Krahenbuhl and Koltun's code,
    so that sums agree with theirs. Departs from both in how points are found: sorted keys
    instead of a hash table, and sums over sorted runs instead of scattered additions, so that the
    result is the same in every call, on a GPU too.

    Attributes:
        corner: the lattice points of the simplex around each feature.
        share: barycentric weight of each of them.
        member, starts, member_share: the same by lattice point: the features around each one.
        beside: for each axis the two neighbours of each point; m where there is none.
    """

    corner: Int64[Tensor, "n d1"]
    share: Float[Tensor, "n d1"]
    member: Int64[Tensor, " nd1"]
    starts: Int64[Tensor, " m"]
    member_share: Float[Tensor, " nd1"]
    beside: tuple[Int64[Tensor, "m1 2"], ...]

    def filter(self, values: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return the Gaussian sums of `values` at the features."""
        points = _sums(values, self.member, self.member_share, self.starts)
        points = F.pad(points, (0, 0, 0, 1))  # the point that stands for missing neighbours
        for pair in self.beside:
            points = points.add(_sums(points, pair), alpha=0.5)
        scale = 1 / (1 + 2.0 ** (1 - self.corner.shape[1]))
        return _sums(points, self.corner, self.share) * scale


def build_lattice(features: Float[Tensor, "n d"]) -> Lattice:
    """Return the lattice of features that are divided by their standard deviations."""
    corner_keys, share, axis_keys = _simplices(features)
    keys, order = corner_keys.flatten().sort(stable=True)
    fresh = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=fresh[1:])
    starts = fresh.nonzero().flatten()
    point = fresh.cumsum(0).sub_(1)
    owner = torch.arange(len(features), device=keys.device).repeat_interleave(share.shape[1])
    keys = keys[starts]
    return Lattice(
        corner=torch.empty_like(order).scatter_(0, order, point).view_as(corner_keys),
        share=share,
        member=owner[order],
        starts=starts,
        member_share=share.flatten()[order],
        beside=tuple(_neighbours(keys, axis) for axis in axis_keys),
    )


def _sums(
    rows: Float[Tensor, "m c"],
    index: Tensor,
    weight: Tensor | None = None,
    starts: Tensor | None = None,
) -> Tensor:
    """Return weighted sums of rows: one for each row of `index`, or for each run from `starts`."""
    return F.embedding_bag(index, rows, starts, mode="sum", per_sample_weights=weight)


def _simplices(
    features: Float[Tensor, "n d"],
) -> tuple[Int64[Tensor, "n d1"], Float[Tensor, "n d1"], list[int]]:
    """Return keys and barycentric weights of the corners of the simplex around each feature.

    The third is what is added to the key of a point to reach its neighbour along each axis.
    """
    count = features.shape[1] + 1
    place = features.T.new_tensor(_embedding(count - 1)) @ features.T
    base = (place / count).round()
    offset = place - count * base
    rank = torch.zeros_like(base, dtype=torch.int32)
    for one in range(count):
        for other in range(one + 1, count):
            less = (offset[one] < offset[other]).to(torch.int32)
            rank[one] += less
            rank[other] += 1 - less
    rank += base.sum(0).to(torch.int32)
    wrap = (rank < 0).to(torch.int32) - (rank >= count).to(torch.int32)
    rank = (rank + count * wrap).long()
    base += wrap
    offset = (place - count * base) / count
    descending = torch.empty_like(offset).scatter_(0, rank, offset)
    share = torch.cat([1 + descending[-1:] - descending[:1], descending[:-1] - descending[1:]])
    # share[r] for r >= 1 belongs to remainder r and is the step between ranks d - r and d - r + 1
    share = torch.cat([share[:1], share[1:].flip(0)])
    multipliers = _multipliers(count - 1)
    factors = torch.tensor(multipliers, device=features.device)
    keys = count * (base[:-1].long() * factors[:, None]).sum(0)
    corners = [keys]
    for remainder in range(1, count):
        # coordinates grow by `remainder`, those of the last ranks by `remainder - (d + 1)`
        low = (rank[:-1] > count - 1 - remainder) * factors[:, None]
        corners.append(keys + _wrapped(remainder * sum(multipliers)) - count * low.sum(0))
    steps = [count * value - sum(multipliers) for value in (*multipliers, 0)]
    return torch.stack(corners, 1), share.T.contiguous(), [_wrapped(step) for step in steps]


def _embedding(d: int) -> list[list[float]]:
    """Return the matrix that lays d axes into the plane of d + 1 coordinates with sum 0.

    Scaled so that splatting, the blur (1/2, 1, 1/2) along each axis and slicing have standard
    deviation 1 together.
    """
    spread = math.sqrt(2 / 3) * (d + 1)
    rows = [[0.0] * d for _ in range(d + 1)]
    for axis in range(d):
        scale = spread / math.sqrt((axis + 1) * (axis + 2))
        for row in range(axis + 1):
            rows[row][axis] = scale
        rows[axis + 1][axis] = -(axis + 1) * scale
    return rows


def _multipliers(d: int) -> list[int]:
    """Return odd 64-bit numbers; sums of coordinates times these are the keys of points.

    Keys are linear in the coordinates, so that a step is an addition, and wrap around. Two of m
    points share a key by chance with a probability of about m^2 / 2^65.
    """
    values, state = [], _HASH_SEED
    for _ in range(d):
        state = (state * 6364136223846793005 + 1442695040888963407) & _MASK
        values.append(_wrapped((state ^ (state >> 29)) | 1))
    return values


def _wrapped(value: int) -> int:
    """Return an integer as 64 bits with a sign hold it."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _neighbours(keys: Int64[Tensor, " m"], step: int) -> Int64[Tensor, "m1 2"]:
    """Return for each point the one a step away forward and backward, or m."""
    count = len(keys)
    wanted = keys + step
    place = torch.searchsorted(keys, wanted).clamp(max=count - 1)
    found = (keys[place] == wanted).nonzero().flatten()
    pair = torch.full((count + 1, 2), count, dtype=torch.int64, device=keys.device)
    pair[found, 0] = place[found]
    pair[place[found], 1] = found
    return pair
