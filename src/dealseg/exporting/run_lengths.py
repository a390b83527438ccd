"""Objects as run lengths: COCO's, column by column, and Label Studio's, bit by bit."""

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8

from dealseg.exporting.instances import Instance

_SIZES = (3, 4, 8, 16)
"""Bits of a run's length in Label Studio's code; each run says which of the four it uses."""


def coco_counts(instance: Instance) -> list[int]:
    """Return COCO's run lengths: columns first, background and object in turn.

    As pycocotools writes them: the first may be 0, the last is not.
    """
    height, width = instance.size
    counts = _counts(instance.pixels.T, instance.left, instance.top, height, height * width)
    return [int(count) for count in counts]


def compressed(counts: list[int]) -> str:
    """Return run lengths as COCO's text.

    Each number, from the fourth on its difference to the number two before, is cut into groups of
    five bits, the lowest first; a sixth bit says that more follow, and 48 makes it a letter.
    Source: the COCO API's `rleToString`; :func:`dealseg.data.coco_masks.decompressed` is the way
    back.
    """
    numbers = np.array(counts, np.int64)
    numbers[3:] -= np.array(counts, np.int64)[1:-2]
    letters = np.empty((len(numbers), 13), np.uint8)  # 13 groups of 5 bits hold an int64
    written = np.zeros(letters.shape, bool)
    going = np.ones(len(numbers), bool)
    for place in range(letters.shape[1]):
        group = numbers & 31
        numbers >>= 5
        ends = np.where(group & 16, numbers == -1, numbers == 0)
        letters[:, place] = group + np.where(ends, 0, 32) + 48
        written[:, place] = going
        going &= ~ends
        if not going.any():
            break
    return letters[written].tobytes().decode("ascii")


def brush_bytes(instance: Instance) -> list[int]:
    """Return Label Studio's code of an object: bytes of its bit-wise run lengths.

    The picture coded is the mask as RGBA, 255 in all four channels of the object's pixels and 0
    elsewhere, row by row. A head says how many numbers there are (32 bits), the bits of a number
    less one (5), and the bits of the four kinds of lengths less one (4 each). Then, for each run:
    1, the kind of its length (2 bits), the length less one, the number (8 bits).

    Source: the format as its decoders read it (thi.ng/rle-pack, label-studio-converter). Departs
    from their encoders, which write single numbers as literals: all are runs here, which the same
    decoders read.
    """
    height, width = instance.size
    counts = _counts(instance.pixels, instance.top, instance.left, width, height * width)
    return list(_packed(*_codes(4 * counts)).tobytes())


def _counts(
    pixels: Bool[np.ndarray, "h w"], top: int, left: int, width: int, total: int
) -> Int64[np.ndarray, " n"]:
    """Return lengths of background and object in turn, row by row, of a box in a larger picture."""
    bordered = np.zeros((pixels.shape[0], pixels.shape[1] + 2), np.int8)
    bordered[:, 1:-1] = pixels
    step = np.diff(bordered, axis=1)
    row, begin = np.nonzero(step == 1)
    end = np.nonzero(step == -1)[1]
    base = (row + top) * width + left
    starts, stops = base + begin, base + end
    on = np.flatnonzero(stops[:-1] == starts[1:])  # a run up to the border goes on in the next row
    edges = np.stack([np.delete(starts, on + 1), np.delete(stops, on)], axis=1)
    counts = np.diff(np.concatenate([[0], edges.reshape(-1), [total]]))
    return counts if counts[-1] else counts[:-1]


def _codes(
    counts: Int64[np.ndarray, " n"],
) -> tuple[Int64[np.ndarray, " c"], Int64[np.ndarray, " c"]]:
    """Return the numbers to write for runs of 0 and 255 in turn, and the bits of each."""
    longest = 1 << _SIZES[-1]
    pieces = -(-counts // longest)  # no piece of an empty run
    lengths = np.full(pieces.sum(), longest, np.int64)
    lengths[np.cumsum(pieces)[pieces > 0] - 1] = ((counts - 1) % longest + 1)[pieces > 0]
    colours = np.repeat(np.arange(len(counts)) % 2 * 255, pieces)
    kinds = np.searchsorted([1 << bits for bits in _SIZES], lengths)
    bits = np.array(_SIZES)[kinds]
    codes = ((((4 | kinds) << bits) | (lengths - 1)) << 8) | colours
    head = [counts.sum(), 7, *(bits - 1 for bits in _SIZES)]
    return np.concatenate([head, codes]), np.concatenate([[32, 5, 4, 4, 4, 4], 3 + bits + 8])


def _packed(
    codes: Integer[np.ndarray, " c"], widths: Integer[np.ndarray, " c"]
) -> UInt8[np.ndarray, " b"]:
    """Return numbers of different widths as one string of bits, filled up to whole bytes."""
    from_the_right = np.repeat(np.cumsum(widths), widths) - 1 - np.arange(widths.sum())
    return np.packbits(((np.repeat(codes, widths) >> from_the_right) & 1).astype(np.uint8))
