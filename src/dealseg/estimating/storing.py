"""Estimated depth as 16-bit PNG files: all steps used, 0 kept for "no number"."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt16
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dealseg.data.base import DepthInfo
from dealseg.data.files import read_depth, reading
from dealseg.depth import usable_span
from dealseg.estimating.kinds import Output
from dealseg.models.runs import replacing

LAST = 2**16 - 1
_IMAGE_BYTES, _IMAGE_CRC = "image_bytes", "image_crc32"
_STEPS = (1.0, 2.0, 5.0, 10.0)
"""Millimetres a step may stand for: 65.5 m to 655 m."""


@dataclass(frozen=True)
class StoredDepth:
    """A map ready for its file.

    Attributes:
        values: 1 to 65535; 0 where the network gave no finite number.
        scale: of the network's numbers: number = offset + scale * value.
        offset: as above; 0 for metric depth.
        beyond: share of the pixels that were farther than can be stored, and are stored as that.
    """

    values: UInt16[np.ndarray, "h w"]
    scale: float
    offset: float
    beyond: float = 0.0


def stored_info(output: Output) -> DepthInfo:
    """Return how the stored numbers of a network are to be read.

    Metric depth is in millimetres; where the network can say more than 65.535 m, in steps of 2, 5
    or 10 mm.
    """
    if output.kind == "relative":
        return DepthInfo("1", 1.0, "relative")
    reach = 1000 * (output.farthest or 0)
    fine = [step for step in _STEPS if step * LAST >= reach]
    return DepthInfo("mm", fine[0] if fine else _STEPS[-1], "metric")


def store(estimate: Float[np.ndarray, "h w"], info: DepthInfo) -> StoredDepth:
    """Return a network's map in 16 bits.

    Relative inverse depth is known up to scale and offset, so each map is spread over 1 to 65535
    (a constant one becomes 32768); the two numbers that undo this go with it. Metric depth is
    rounded to the step of `info`; what is farther than 65535 steps is stored as that, so that the
    outline before it stays.
    """
    numbers = estimate.astype(np.float64)
    finite = np.isfinite(numbers)
    if info.kind == "metric":
        metres = info.scale / 1000
        steps = np.rint(np.where(finite, numbers, 0) / metres)
        beyond = float((finite & (steps > LAST)).mean())
        values = np.where(finite, steps.clip(1, LAST), 0).astype(np.uint16)
        return StoredDepth(values, metres, 0.0, beyond)
    low, high = (
        float(f(numbers[finite], initial=i)) for f, i in ((np.min, np.inf), (np.max, -np.inf))
    )
    if not bool(usable_span(torch.tensor(low), torch.tensor(high))):
        middle = np.where(finite, np.uint16(LAST // 2 + 1), np.uint16(0))
        return StoredDepth(middle, 0.0, low if finite.any() else 0.0)
    scale = (high - low) / (LAST - 1)
    steps = np.rint((np.where(finite, numbers, low) - low) / scale) + 1
    return StoredDepth(np.where(finite, steps, 0).astype(np.uint16), scale, low - scale)


def write_depth(path: Path, stored: StoredDepth, image: Path | None = None) -> None:
    """Write a 16-bit PNG with `scale` and `offset` as text in it, atomically.

    Args:
        path: of the PNG.
        stored: the map.
        image: what it is a map of; its size in bytes and its CRC-32 go into the text as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = PngInfo()
    notes.add_text("scale", repr(stored.scale))
    notes.add_text("offset", repr(stored.offset))
    if image is not None:
        notes.add_text(_IMAGE_BYTES, str(image.stat().st_size))
        notes.add_text(_IMAGE_CRC, _crc32(image))
    with replacing(path) as partial:
        Image.fromarray(stored.values).save(partial, format="PNG", pnginfo=notes)


def is_map_of(path: Path, image: Path) -> bool:
    """Return whether a file is a map of this image, as far as it says of which image it is.

    Times do not count, since copying a data set changes them. False for a file that is no picture.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            size, checksum = (picture.info.get(key) for key in (_IMAGE_BYTES, _IMAGE_CRC))
        if size is not None and size != str(image.stat().st_size):
            return False
        return checksum is None or checksum == _crc32(image)
    except (OSError, ValueError, SyntaxError):
        return False


def _crc32(file: Path) -> str:
    return f"{zlib.crc32(file.read_bytes()):08x}"


def restore(path: Path) -> Float[np.ndarray, "h w"]:
    """Return the numbers the network gave, to half a step; NaN where it gave none.

    Raises:
        DataError: if the file is damaged, or not one that :func:`write_depth` wrote.
    """
    values = read_depth(path)
    with reading(path, "estimated depth"), Image.open(path, formats=("PNG",)) as picture:
        scale, offset = (float(picture.info[key]) for key in ("scale", "offset"))
    return np.where(values == 0, np.nan, offset + scale * values)
