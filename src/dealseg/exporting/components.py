"""Connected components of a mask, found over runs of equal pixels."""

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt8

from dealseg.data.base import IGNORE

Labels = Int32[np.ndarray, "h w"]


def components(
    mask: UInt8[np.ndarray, "h w"], *, connectivity: int = 8
) -> tuple[Labels, Int64[np.ndarray, " n"]]:
    """Number the connected regions of one class each, in the order of their first pixels.

    Rows are cut into runs of equal pixels; runs of one class that touch in neighbouring rows are
    joined until nothing changes, each set taking the number of its first run. A few thousand runs
    stand for an image of some hundred thousand pixels.

    Args:
        mask: classes; 0 and 255 belong to no region.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.

    Returns:
        The number of each pixel's region, from 1, 0 where there is none; and each region's class.

    Raises:
        ValueError: if the connectivity is neither 4 nor 8.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity must be 4 or 8, got {connectivity}")
    starts, lengths, values = runs(mask)
    shown = np.flatnonzero((values != 0) & (values != IGNORE))
    upper, lower = _touching(starts[shown], lengths[shown], mask.shape[1], connectivity)
    same = values[shown[upper]] == values[shown[lower]]
    sets = _joined(len(shown), upper[same], lower[same])
    firsts, numbers = np.unique(sets, return_inverse=True)
    of_run = np.zeros(len(starts), np.int32)
    of_run[shown] = numbers + 1
    labels = np.repeat(of_run, lengths).reshape(mask.shape)
    return labels, values[shown[firsts]].astype(np.int64)


def runs(
    values: Integer[np.ndarray, "h w"],
) -> tuple[Int64[np.ndarray, " r"], Int64[np.ndarray, " r"], Integer[np.ndarray, " r"]]:
    """Return start (in pixels from the first), length and value of each row's runs."""
    flat = values.reshape(-1)
    begins = np.empty(flat.size, bool)
    begins[1:] = flat[1:] != flat[:-1]
    begins[:: values.shape[1]] = True
    starts = np.flatnonzero(begins)
    return starts, np.diff(starts, append=flat.size), flat[starts]


def _touching(
    starts: Int64[np.ndarray, " r"], lengths: Int64[np.ndarray, " r"], width: int, connectivity: int
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Return the pairs of runs, upper and lower, that touch in neighbouring rows.

    Rows are laid one after the other with a gap of two, so that a run's reach in the next row,
    a corner more on both sides, meets that row's runs alone.
    """
    row, column = np.divmod(starts, width)
    first = row * (width + 2) + column
    last = first + lengths
    near, far = ("left", "right") if connectivity == 8 else ("right", "left")
    begin = np.searchsorted(last, first + width + 2, side=near)  # type: ignore[call-overload]
    end = np.searchsorted(first, last + width + 2, side=far)  # type: ignore[call-overload]
    count = np.maximum(end - begin, 0)
    upper = np.repeat(np.arange(len(starts)), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return upper, begin[upper] + place


def _joined(
    count: int, one: Int64[np.ndarray, " p"], other: Int64[np.ndarray, " p"]
) -> Int64[np.ndarray, " r"]:
    """Return for each of `count` things the smallest thing it is joined to through pairs."""
    sets = np.arange(count)
    while True:
        lowest = np.minimum(sets[one], sets[other])
        new = sets.copy()
        np.minimum.at(new, sets[one], lowest)
        np.minimum.at(new, sets[other], lowest)
        while not np.array_equal(shorter := new[new], new):
            new = shorter
        if np.array_equal(new, sets):
            return sets
        sets = new
