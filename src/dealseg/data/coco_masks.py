"""COCO's outlines drawn as semantic masks, once, and kept as PNG files."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from dealseg.data.base import IGNORE
from dealseg.data.coco_index import CocoIndex
from dealseg.data.files import file_error, reading
from dealseg.data.json_stream import read_value
from dealseg.data.kept import keep
from dealseg.data.masks import LabelFile, Mask, require_size
from dealseg.errors import ConfigError, DataError

VERSION = 1
"""Grows whenever the same annotations give other masks."""
FARTHEST = 1e5
"""Pixels from the image's corner beyond which no outline can be meant."""

Outline = Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class CocoMask:
    """The ground truth of one image.

    Attributes:
        index: the annotation file it is in.
        row: of the image in the index.
        kept: the PNG file that is written the first time.
    """

    index: CocoIndex
    row: int
    kept: Path

    def read(self, size: tuple[int, int], classes: int) -> Mask:
        """Return the classes: 0 background, 1 to `classes`, 255 in crowd regions.

        Raises:
            DataError: if the image has another size than the annotations say, or an outline cannot
                be meant.
            ConfigError: if pycocotools is wanted and not installed.
        """
        require_size(self.index.file, self._size, size)
        if self.kept.exists():
            try:
                return LabelFile(self.kept).read(size, classes)
            except DataError:  # cut off, or not ours: drawn again
                pass
        mask = self._drawn()
        keep(self.kept, _encoded(mask))
        return mask

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.index.sizes[self.row]
        return int(height), int(width)

    def _drawn(self) -> Mask:
        """Paint crowd regions first, then objects from the largest to the smallest.

        So the smaller object is on top, as in coco2voc, from which the field's masks come; objects
        of one area lie as there too, the earlier one on top. Where coco2voc gives crowd regions
        their class, they are ignored here, but for the objects outlined in them.
        """
        index, size = self.index, self._size
        mask = np.zeros(size, np.uint8)
        start, stop = index.starts[self.row : self.row + 2]
        order = sorted(range(start, stop), key=lambda i: (not index.crowd[i], -index.areas[i], -i))
        with reading(index.file, "COCO file"), index.file.open("rb") as stream:
            entries = [read_value(stream, *map(int, index.places[place])) for place in order]
            if not all(isinstance(entry, dict) for entry in entries):
                raise ValueError("it was changed while it was in use")
        for place, entry in zip(order, entries, strict=True):
            value = IGNORE if index.crowd[place] else index.values[place]
            mask[self._outline(entry, size)] = value
        return mask

    def _outline(self, entry: dict[str, Any], size: tuple[int, int]) -> Outline:
        try:
            return outline(entry.get("segmentation"), size)
        except ConfigError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            problem = f"annotation {entry.get('id')}: {error}"
            raise file_error(self.index.file, problem) from error


def outline(segmentation: Any, size: tuple[int, int]) -> Outline:
    """Return the pixels of an object from its polygons, or its run lengths, plain or compressed.

    Args:
        segmentation: as in COCO: polygons `[[x, y, x, y, ...], ...]`, or `{"size", "counts"}`.
        size: height and width of the image.

    Raises:
        ValueError: if it is not of these, or does not fit the size.
        ConfigError: if it is polygons and pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        return _runs(segmentation, size)
    if not isinstance(segmentation, list):
        raise ValueError(f"`segmentation` must be polygons or runs, got {str(segmentation)[:50]!r}")
    polygons = [_polygon(points) for points in segmentation]
    return _filled(polygons, size) if polygons else np.zeros(size, bool)


def _polygon(points: Any) -> list[float]:
    numbers = [float(number) for number in points]
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"a polygon needs three points or more, got {len(numbers)} numbers")
    for number in numbers:
        if not math.isfinite(number) or abs(number) > FARTHEST:
            raise ValueError(f"a polygon has the coordinate {number}, far from the image")
    return numbers


def _filled(polygons: list[list[float]], size: tuple[int, int]) -> Outline:
    try:
        from pycocotools import mask as tools  # noqa: PLC0415 - only here, and optional
    except ImportError as error:
        raise ConfigError(
            "COCO's polygons are drawn by pycocotools, which is not installed: pip install "
            "'dealseg[coco]' (training needs no masks and goes without)"
        ) from error
    merged: Any = tools.merge(tools.frPyObjects(polygons, *size))
    return _runs({"size": list(size), "counts": merged["counts"].decode("ascii")}, size)


def _runs(segmentation: dict[str, Any], size: tuple[int, int]) -> Outline:
    """Return the pixels that runs describe: columns first, background and object in turn."""
    if list(segmentation["size"]) != list(size):
        raise ValueError(f"run lengths for the size {segmentation['size']}, not {list(size)}")
    counts = segmentation["counts"]
    runs = decompressed(counts) if isinstance(counts, str) else list(counts)
    whole = all(isinstance(run, int) and run >= 0 for run in runs)
    if not whole or sum(runs) != size[0] * size[1]:
        raise ValueError("run lengths must be whole numbers that fill the image")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return pixels.reshape(size[::-1]).T


def decompressed(counts: str) -> list[int]:
    """Return the run lengths in COCO's compressed text.

    Each number is in groups of five bits, the lowest first, with a sixth bit that says whether
    more follow and the sign in the last; from the fourth on, it is the difference to the number two
    before. Source: the COCO API's `rleFrString`.
    """
    runs: list[int] = []
    number = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} cannot be in compressed run lengths")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("compressed run lengths are cut off")
    return runs


def _encoded(mask: Mask) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()
