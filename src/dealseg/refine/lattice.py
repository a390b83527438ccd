"""Gaussian filtering of scattered points in many dimensions: the permutohedral lattice."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor

_HASH_SEED = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_RADIX = 1 << 15
_BUCKETS = 4  # per lattice point, at least; from 2 to 16 it takes about as long


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
        corners: the lattice points of the simplex around each feature, one feature after another,
            with the barycentric weight of each.
        members: the same by lattice point: the features around each one; the point after the
            last one has none, and stands for missing neighbours.
        beside: for each axis the two neighbours of each point.
    """

    corners: "Runs"
    members: "Runs"
    beside: tuple["Runs", ...]

    def filter(self, values: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return the Gaussian sums of `values` at the features."""
        points = self.members.sums(values)
        for pair in self.beside:
            points = points.add(pair.sums(points), alpha=0.5)
        return self.corners.sums(points).div_(1 + 2.0 ** (1 - len(self.beside)))


@dataclass(frozen=True)
class Runs:
    """Rows to be summed: for each sum a run of places of rows, from `starts`, and weights."""

    place: Int32[Tensor, " p"]
    starts: Int32[Tensor, " r"]
    weight: Float[Tensor, " p"] | None = None

    def sums(self, rows: Float[Tensor, "m c"]) -> Float[Tensor, "r c"]:
        """Return the sums of rows."""
        return F.embedding_bag(
            self.place, rows, self.starts, mode="sum", per_sample_weights=self.weight
        )


def build_lattice(features: Float[Tensor, "n d"]) -> Lattice:
    """Return the lattice of features that are divided by their standard deviations."""
    corner_keys, steps, share = _simplices(features)
    keys, order = _sorted(corner_keys.flatten())
    fresh = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=fresh[1:])
    starts = fresh.nonzero().flatten()
    point = fresh.cumsum(0, dtype=torch.int32).sub_(1)
    keys, starts = keys[starts], F.pad(starts, (0, 1), value=len(order)).to(torch.int32)
    number = torch.arange(max(len(features), len(starts)), dtype=torch.int32, device=keys.device)
    feature, corners, shares = number[: len(features)], share.shape[1], share.flatten()
    pairs = 2 * number[: len(starts)]
    return Lattice(
        corners=Runs(torch.empty_like(point).scatter_(0, order, point), corners * feature, shares),
        members=Runs(feature.repeat_interleave(corners)[order], starts, shares[order]),
        beside=tuple(Runs(pair.flatten(), pairs) for pair in _neighbours(keys, steps)),
    )


def _sorted(keys: Int64[Tensor, " p"]) -> tuple[Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """Return keys in order, and where each was; equal ones stay in theirs.

    On a CPU PyTorch sorts 2^15 integers and more by radix, in a third of the time of fewer, which
    are therefore filled up with the largest there is: as the last ones, those stay last.
    """
    count = len(keys)
    if _RADIX // 4 < count < _RADIX:
        keys = torch.cat([keys, keys.new_full((_RADIX - count,), torch.iinfo(keys.dtype).max)])
    keys, order = keys.sort(stable=True)
    return keys[:count], order[:count]


def _simplices(
    features: Float[Tensor, "n d"],
) -> tuple[Int64[Tensor, "n d1"], Int64[Tensor, " d1"], Float[Tensor, "n d1"]]:
    """Return keys, steps of keys and barycentric weights of the simplex around each feature."""
    count = features.shape[1] + 1
    place = features.T.new_tensor(_embedding(count - 1)) @ features.T
    base = (place / count).round()
    offset = place - count * base
    rank = torch.zeros_like(base, dtype=torch.int32)
    for one in range(count - 1):
        less = (offset[one] < offset[one + 1 :]).to(torch.int32)
        rank[one] += less.sum(0, dtype=torch.int32)
        rank[one + 1 :] += 1 - less
    rank += base.sum(0).to(torch.int32)
    wrap = (rank < 0).to(torch.int32) - (rank >= count).to(torch.int32)
    rank = (rank + count * wrap).long()
    base += wrap
    offset = (place - count * base) / count
    descending = torch.empty_like(offset).scatter_(0, rank, offset)
    # corner r weighs the step between ranks d - r and d + 1 - r; corner 0 what is left to 1
    steps = (descending[:-1] - descending[1:]).flip(0)
    share = torch.cat([1 - descending[:1] + descending[-1:], steps])
    return *_keys(base.long(), rank), share.T.contiguous()


def _keys(
    base: Int64[Tensor, "d1 n"], rank: Int64[Tensor, "d1 n"]
) -> tuple[Int64[Tensor, "n d1"], Int64[Tensor, " d1"]]:
    """Return the keys of the corners of simplices, and what is added to step along each axis.

    The coordinates of corner r are those of corner 0 plus r, less d + 1 for the r last ranks. A
    point's neighbour along an axis has that coordinate larger by d and all others smaller by 1.
    """
    count = len(base)
    multipliers = _multipliers(count - 1)
    own = torch.tensor([*multipliers, 0], device=base.device)  # the last follows from the others
    every = own.sum()
    by_rank = torch.empty_like(base).scatter_(0, rank, own[:, None].expand_as(base))
    lowered = by_rank.flip(0)[:-1].cumsum(0)
    corner = torch.arange(1, count, device=base.device)[:, None]
    first = count * (base * own[:, None]).sum(0, keepdim=True)
    keys = torch.cat([first, first + corner * every - count * lowered])
    return keys.T.contiguous(), count * own - every


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


def _neighbours(
    keys: Int64[Tensor, " m"], steps: Int64[Tensor, " d1"]
) -> tuple[Int32[Tensor, "m1 2"], ...]:
    """Return for each axis and point the ones a step away forward and backward, or m."""
    count = len(keys)
    forward = _places(keys, keys + steps[:, None])
    pairs = forward.new_full((len(steps), count + 1, 2), count)
    pairs[:, :count, 0] = forward
    own = torch.arange(count, dtype=torch.int32, device=keys.device)
    pairs[..., 1].scatter_(1, forward.long(), own.expand_as(forward))
    pairs[:, count, 1] = count
    return pairs.unbind(0)


def _places(keys: Int64[Tensor, " m"], wanted: Int64[Tensor, "*s"]) -> Int32[Tensor, "*s"]:
    """Return where among m sorted, different keys each wanted one is, or m.

    The highest bits of a key say where to look: a table has the first key of every bucket, and
    only what may be behind another key of its bucket is searched by bisection. Gathering once is
    faster than a bisection's many steps that no processor foresees.
    """
    count, sought = len(keys), wanted.flatten()
    bits = (_BUCKETS * count).bit_length()
    held, bucket = ((each >> 64 - bits).add_(1 << bits - 1) for each in (keys, sought))
    joined = F.pad(held[1:] == held[:-1], (1, 2))  # to the key before; point m is joined to none
    first = joined[:count].logical_not().nonzero().flatten()
    table = first.new_full((1 << bits,), count, dtype=torch.int32)
    table.scatter_(0, held.index_select(0, first), first.to(torch.int32))
    place = table.index_select(0, bucket)
    found = F.pad(keys, (0, 1)).index_select(0, place) == sought
    rest = (joined[1:].index_select(0, place) > found).nonzero().flatten()
    place.masked_fill_(~found, count)
    place.index_copy_(0, rest, _bisected(keys, sought.index_select(0, rest)))
    return place.view_as(wanted)


def _bisected(keys: Int64[Tensor, " m"], wanted: Int64[Tensor, " k"]) -> Int32[Tensor, " k"]:
    """Return what :func:`_places` does, by bisection alone."""
    place = torch.searchsorted(keys, wanted, out_int32=True).clamp_(max=len(keys) - 1)
    return torch.where(keys.index_select(0, place) == wanted, place, len(keys)).to(torch.int32)
