"""What a COCO annotation file lists, in arrays: outlines stay in the file until they are drawn.

COCO's training annotations are 313 MB of text, 2 GB as Python objects. Here they are read entry by
entry once; the arrays (31 bytes an object) are kept for the next time.
"""

import io
import zipfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from dealseg.data.description import require_class_names
from dealseg.data.files import reading
from dealseg.data.json_stream import entries, text
from dealseg.data.kept import cache_folder, keep, state_of
from dealseg.errors import DataError

VERSION = 2
"""Grows whenever the same file gives other arrays."""
KEEP_FROM = 4_000_000
"""Smaller annotation files, in bytes, are read faster than it is worth keeping anything."""
LARGEST_SIDE = 1 << 16


@dataclass(frozen=True)
class CocoIndex:
    """The images, classes and objects of an annotation file; the objects of an image lie together.

    Attributes:
        file: the annotation file.
        classes: names of the categories in the order of their ids.
        class_ids: their ids.
        files: the `file_name` of each image.
        image_ids: the id of each image.
        sizes: height and width of each image.
        starts: where the objects of each image begin, and where the last ends.
        values: mask value of each object, the place of its category from 1.
        crowd: whether an object is a crowd region.
        areas: as the file says, in pixels.
        places: first byte of each object's entry in the file, and the byte after its last.
    """

    file: Path
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    files: tuple[str, ...]
    image_ids: Int64[np.ndarray, " n"]
    sizes: Int32[np.ndarray, "n 2"]
    starts: Int64[np.ndarray, " n1"]
    values: Int32[np.ndarray, " m"]
    crowd: Bool[np.ndarray, " m"]
    areas: Float64[np.ndarray, " m"]
    places: Int64[np.ndarray, "m 2"]

    def __len__(self) -> int:
        """Return the number of images, with objects or without."""
        return len(self.files)

    @property
    def annotated(self) -> Int64[np.ndarray, " a"]:
        """Return the images that have an object, crowd regions counted: the field's lists."""
        return np.flatnonzero(np.diff(self.starts))


def read_index(file: Path) -> CocoIndex:
    """Read an annotation file, or what was kept of it.

    Raises:
        DataError: if it is no COCO annotation file; the message says which entry is wrong.
    """
    with reading(file, "COCO file"):
        status, state = file.stat(), state_of(file, VERSION)
    kept = cache_folder() / "coco" / state / "index.npz"
    if status.st_size < KEEP_FROM:
        return _read(file)
    index = _recall(file, kept)
    if index is None:
        index = _read(file)
        keep(kept, _packed(index))
    return index


_Numbers = Any  # an array.array, which can be told its kind of number from Python 3.12 on


@dataclass
class _Tables:
    """What was read so far."""

    names: dict[int, str] = field(default_factory=dict)
    image_ids: _Numbers = field(default_factory=lambda: array("q"))
    files: list[str] = field(default_factory=list)
    sizes: _Numbers = field(default_factory=lambda: array("i"))
    images: _Numbers = field(default_factory=lambda: array("q"))
    categories: _Numbers = field(default_factory=lambda: array("q"))
    crowd: _Numbers = field(default_factory=lambda: array("b"))
    areas: _Numbers = field(default_factory=lambda: array("d"))
    places: _Numbers = field(default_factory=lambda: array("q"))

    def category(self, entry: dict[str, Any]) -> None:
        number = _whole(entry, "id")
        if number in self.names:
            raise ValueError(f"category {number} is there twice")
        self.names[number] = text(entry["name"])

    def image(self, entry: dict[str, Any]) -> None:
        file = text(entry["file_name"])
        self.image_ids.append(_whole(entry, "id"))
        self.files.append(_safe(file))
        for side in ("height", "width"):
            size = _whole(entry, side)
            if not 0 < size <= LARGEST_SIDE:
                raise ValueError(f"the {side} of {file[:60]!r} must be above 0, got {size}")
            self.sizes.append(size)

    def annotation(self, entry: dict[str, Any], start: int, stop: int) -> None:
        self.images.append(_whole(entry, "image_id"))
        self.categories.append(_whole(entry, "category_id"))
        self.crowd.append(bool(entry.get("iscrowd", 0)))
        self.areas.append(float(entry.get("area", 0)))
        self.places.extend((start, stop))


def _read(file: Path) -> CocoIndex:
    tables = _Tables()
    seen = set()
    with reading(file, "COCO file"):
        for key, value, start, stop in entries(file):
            seen.add(key)
            if key in {"images", "annotations", "categories"} and not isinstance(value, dict):
                raise ValueError(f"an entry of `{key}` is no object: {str(value)[:50]!r}")
            if key == "images":
                tables.image(value)
            elif key == "annotations":
                tables.annotation(value, start, stop)
            elif key == "categories":
                tables.category(value)
        if missing := {"images", "categories"} - seen:
            what = " and ".join(f"`{key}`" for key in sorted(missing))
            raise ValueError(f"expected images, annotations and categories, found no {what}")
        return _joined(file, tables)


def _joined(file: Path, tables: _Tables) -> CocoIndex:
    ids = sorted(tables.names)
    require_class_names(file, [tables.names[number] for number in ids])
    if not np.isfinite(tables.areas).all():
        raise ValueError("the `area` of an annotation is not a finite number")
    image_ids = np.array(tables.image_ids, np.int64)
    rows = _places_of(np.array(tables.images, np.int64), image_ids, "image_id")
    wanted = np.array(tables.categories, np.int64)
    values = _places_of(wanted, np.array(ids, np.int64), "category_id") + 1
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(image_ids)) if len(rows) else np.zeros(len(image_ids))
    return CocoIndex(
        file=file,
        classes=tuple(tables.names[number] for number in ids),
        class_ids=tuple(ids),
        files=tuple(tables.files),
        image_ids=image_ids,
        sizes=np.array(tables.sizes, np.int32).reshape(-1, 2),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        values=values[order].astype(np.int32),
        crowd=np.array(tables.crowd, bool)[order],
        areas=np.array(tables.areas, np.float64)[order],
        places=np.array(tables.places, np.int64).reshape(-1, 2)[order],
    )


def _places_of(
    wanted: Int64[np.ndarray, " m"], ids: Int64[np.ndarray, " n"], what: str
) -> Int64[np.ndarray, " m"]:
    """Return the place of each id, each of which must be there once."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if (twice := ordered[1:] == ordered[:-1]).any():
        raise ValueError(f"{what.removesuffix('_id')} {ordered[1:][twice][0]} is there twice")
    if not len(ids):
        ordered, order = np.array([-1]), np.array([0])
    found = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    unknown = ordered[found] != wanted
    if unknown.any() or (len(wanted) and not len(ids)):
        first = int(np.argmax(unknown))
        raise ValueError(f"annotation {first + 1} has {what} {wanted[first]}, which is not listed")
    return np.asarray(order[found])


def _whole(entry: dict[str, Any], key: str) -> int:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{key}` must be a whole number, got {str(value)[:50]!r}")
    return value


def _safe(file: Any) -> str:
    """Return the name of an image file, which may have folders but lead nowhere else."""
    if not isinstance(file, str) or not file.strip() or not file.isprintable() or "\\" in file:
        raise TypeError(f"`file_name` must be the name of a file, got {str(file)[:50]!r}")
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.stem:
        raise ValueError(f"`file_name` must lie in the image folder, got {file[:80]!r}")
    return file


def _packed(index: CocoIndex) -> bytes:
    stream = io.BytesIO()
    arrays = {name: getattr(index, name) for name in _ARRAYS}
    texts = {name: np.array("\n".join(getattr(index, name))) for name in _TEXTS}
    everything: dict[str, Any] = {**arrays, **texts, "class_ids": np.array(index.class_ids)}
    np.savez(stream, **everything)
    return stream.getvalue()


def _recall(file: Path, kept: Path) -> CocoIndex | None:
    """Return what was kept, or None if there is nothing or it is damaged."""
    try:
        with (
            reading(kept, "kept index"),
            kept.open("rb") as stream,
            np.load(stream, allow_pickle=False) as stored,
        ):
            texts: Any = {n: tuple(filter(None, str(stored[n]).split("\n"))) for n in _TEXTS}
            ids = tuple(int(number) for number in stored["class_ids"])
            arrays: Any = {name: stored[name] for name in _ARRAYS}
            return CocoIndex(file=file, **texts, class_ids=ids, **arrays)
    except (DataError, zipfile.BadZipFile):
        return None


_TEXTS = ("classes", "files")
_ARRAYS = ("image_ids", "sizes", "starts", "values", "crowd", "areas", "places")
