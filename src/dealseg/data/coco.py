"""The `coco` format: MS COCO's annotation files with their image folders, of any year.

Masks hold contiguous values, 1 to 80 in the order of COCO's category ids; `class_ids` are those ids
(1 to 90 with gaps). The two are never mixed: every result says which value is which id.
"""

import operator
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Int64

from dealseg.data.beside import described_depth
from dealseg.data.coco_index import read_index
from dealseg.data.coco_masks import VERSION, CocoMask
from dealseg.data.description import DepthRule
from dealseg.data.files import Complain, FileError, absent, fail, file_error, read_text, reading
from dealseg.data.folder import index_depth, split_file
from dealseg.data.frames import Frame, FrameDataset
from dealseg.data.kept import cache_folder, state_of
from dealseg.data.tags import NameMatcher

Rows = Int64[np.ndarray, " _"]
Listed = tuple["_Part", Rows]

FULL = "_full"
_ANNOTATIONS = "annotations/instances_*.json"
_OFFICIAL = re.compile(r"instances_(train|val)20\d\d")
_YEAR = re.compile(r"20\d\d$")
COUNTS = {
    "train2014": (82_783, 82_081),
    "val2014": (40_504, 40_137),
    "train2017": (118_287, 117_266),
    "val2017": (5_000, 4_952),
}
"""Images of the official files, and those of them that have an annotation."""


def find_coco(path: Path, *, official: bool = False) -> Path | None:
    """Return the folder with `annotations/instances_*.json`: `path` or one in it.

    Args:
        path: where to look.
        official: look for COCO's own files only, with their image folders.

    Raises:
        DataError: if the path is no folder, or cannot be listed.
    """
    with reading(path, "folder"):
        below = sorted(folder for folder in path.iterdir() if folder.is_dir())
    for root in (path, *below):
        for file in root.glob(_ANNOTATIONS):
            if not official or (_OFFICIAL.fullmatch(file.stem) and _image_folder(root, file)):
                return root
    return None


def open_coco(
    path: Path, *, split: str | None = None, depth_folder: str = "depth", complain: Complain = fail
) -> FrameDataset:
    """List a data set in `coco` format; no picture is opened and no mask is drawn.

    Args:
        path: the folder that holds `annotations/`, or one above it.
        split: `train` or `val`: images with an annotation (82,081 and 40,137 in 2014);
            `train_full` or `val_full`: all images (82,783 and 40,504); with the year where there
            are several (`train2017`); or `NAME` of `splits/NAME.txt`. None for all images.
        depth_folder: the folder of the depth files, below the root or absolute.
        complain: told of every mistake that does not stop the listing.

    Raises:
        DataError: if the layout, an annotation file or the split is not as documented.
    """
    root = find_coco(path)
    if root is None:
        raise absent(path, f"there is no COCO here: expected {_ANNOTATIONS}")
    file = None if split is None else split_file(root, split)
    wanted = None if file else split
    parts = [_Part(root, found) for found in _annotation_files(root, wanted)]
    classes, class_ids = _common_classes(parts)
    listed = [(part, part.present(part.rows(wanted), complain)) for part in parts]
    names = [part.name(row) for part, rows in listed for row in rows.tolist()]
    if file:
        listed, names = _chosen(file, listed, names, complain)
    if not names:
        raise file_error(file or root / "annotations", "this lists no image")
    _require_distinct(root, names)
    rule = described_depth(root, depth_folder, classes)
    depth = index_depth(root, depth_folder, complain)
    return FrameDataset(
        root,
        classes,
        _CocoFrames(listed, names, depth, rule),
        names=tuple(names),
        class_ids=class_ids,
        image_ids=_image_ids(listed),
        facts=tuple(part.fact(wanted) for part in parts),
        remarks=tuple(remark for part in parts for remark in part.remarks()),
    )


def coco_training_split(path: Path) -> str | None:
    """Return `train` if there is an annotation file or a list of that name."""
    root = find_coco(path) or path
    named = any(_Part.told(file)[0] == "train" for file in root.glob(_ANNOTATIONS))
    return "train" if named or split_file(root, "train") else None


class _Part:
    """An annotation file and the folder of its images.

    Attributes:
        key: `train2014`.
        index: what the file lists.
        folder: of the images.
    """

    def __init__(self, root: Path, file: Path):
        self.index = read_index(file)
        self.key = file.stem.removeprefix("instances_")
        self.folder = _image_folder(root, file) or root / self.key
        self._kept = cache_folder() / "coco" / state_of(file, VERSION) / "masks"

    @staticmethod
    def told(file: Path) -> tuple[str, str]:
        """Return a file's part without and with the year: `train` and `train2014`."""
        key = file.stem.removeprefix("instances_")
        return _YEAR.sub("", key), key

    @cached_property
    def tags(self) -> list[frozenset[str]]:
        """Return the classes of each image; images of the same classes share one set."""
        index, shared = self.index, dict[bytes, frozenset[str]]()
        found = []
        for start, stop in zip(index.starts[:-1], index.starts[1:], strict=True):
            values = np.unique(index.values[start:stop])
            key = values.tobytes()
            if key not in shared:
                shared[key] = frozenset(index.classes[value - 1] for value in values)
            found.append(shared[key])
        return found

    def rows(self, split: str | None) -> Rows:
        """Return the images of a split: those with an annotation, unless all are asked for."""
        if split is None or split.endswith(FULL):
            return np.arange(len(self.index))
        return self.index.annotated

    def name(self, row: int) -> str:
        """Return the name of an image: its file below the image folder, without suffix."""
        return self._below(row).rpartition(".")[0] or self._below(row)

    def _below(self, row: int) -> str:
        return self.index.files[row].removeprefix(f"{self.folder.name}/")

    def present(self, rows: Rows, complain: Complain) -> Rows:
        """Return those images whose files are there; `complain` is told once of all others."""
        there = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        absent = [
            row
            for row in rows.tolist()
            if (file := self._below(row)) not in there and not (self.folder / file).exists()
        ]
        if absent:
            first = self.folder / self._below(absent[0])
            more = f", nor {len(absent) - 1:,} more of {len(rows):,}" if len(absent) > 1 else ""
            hint = "put COCO's images there, or write splits/NAME.txt with those you have"
            complain(file_error(first, f"there is no such image{more}; {hint}"))
        return np.setdiff1d(rows, absent)

    def frame(self, row: int, name: str, depths: dict[str, Path], rule: DepthRule) -> Frame:
        """Return an image with what belongs to it; its depth may lie in a folder of the part."""
        image = self.folder / self._below(row)
        depth = depths.get(name) or depths.get(f"{self.folder.name}/{name}")
        mask = CocoMask(self.index, row, self._kept / f"{name}.png")
        return Frame(name, image, self.tags[row], depth, rule, mask)

    def fact(self, split: str | None) -> str:
        """Say which of the two lists was taken, and how long both are."""
        every, annotated = len(self.index), len(self.index.annotated)
        right = ", as COCO has" if COUNTS.get(self.key) == (every, annotated) else ""
        taken, other = f"{annotated:,} with an annotation", f"{every:,} in all"
        hint = f"--split {self.key}{FULL}"
        if split is None or split.endswith(FULL):
            taken, other, hint = other, taken, f"--split {self.key}"
        return f"{self.key}: images {taken} ({other}: {hint}){right}"

    def remarks(self) -> Iterator[tuple[str, FileError]]:
        """Say if a file of COCO's name and kind has another number of images than COCO's."""
        every, annotated = len(self.index), len(self.index.annotated)
        expected = COUNTS.get(self.key, (0, 0))
        if every > expected[0] // 2 > 0 and (every, annotated) != expected:
            problem = f"{every:,} images, {annotated:,} with an annotation, but COCO's {self.key}"
            more = f"has {expected[0]:,} and {expected[1]:,}: figures on it do not compare"
            yield "image count", file_error(self.index.file, f"{problem} {more}")


def _image_folder(root: Path, file: Path) -> Path | None:
    name, key = _Part.told(file)
    places = [root / above / part for part in (key, name) for above in ("", "images", "JPEGImages")]
    return next((place for place in (*places, root / "images") if place.is_dir()), None)


def _annotation_files(root: Path, split: str | None) -> list[Path]:
    files = sorted(root.glob(_ANNOTATIONS))
    if split is None:
        return files
    wanted = split.removesuffix(FULL)
    found = [file for file in files if wanted in _Part.told(file)]
    keys = ", ".join(f"{key}, {key}{FULL}" for _, key in map(_Part.told, files))
    if not found:
        raise absent(root, f"there is no split {split!r}; there are: {keys}")
    if len(found) > 1:
        raise absent(root / "annotations", f"split {split!r} may be any of: {keys}")
    return found


def _common_classes(parts: list[_Part]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    first = parts[0].index
    for part in parts[1:]:
        if (part.index.classes, part.index.class_ids) != (first.classes, first.class_ids):
            problem = f"has other categories than {first.file.name}; masks could not be compared"
            raise file_error(part.index.file, problem)
    return first.classes, first.class_ids


def _chosen(
    file: Path, listed: list[Listed], names: list[str], complain: Complain
) -> tuple[list[Listed], list[str]]:
    """Return the images that a list names, in the order of the annotation files."""
    matcher = NameMatcher(names)
    wanted = set()
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if (text := line.strip()) and (name := matcher.find(text)):
            wanted.add(name)
        elif text:
            complain(file_error(file, f"line {number}: there is no image {text[:80]!r}"))
    kept = [
        (part, np.array([row for row in rows.tolist() if part.name(row) in wanted], np.int64))
        for part, rows in listed
    ]
    return kept, [name for name in names if name in wanted]


def _image_ids(listed: list[Listed]) -> Rows | None:
    """Return the ids of the images; None where two annotation files use the same."""
    ids = np.concatenate([part.index.image_ids[rows] for part, rows in listed])
    return ids if len(np.unique(ids)) == len(ids) else None


def _require_distinct(root: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise file_error(root / "annotations", f"two images are called {twice!r}; rename one")


class _CocoFrames(Sequence[Frame]):
    """The images, each made when it is asked for: as objects, 82,000 would take 100 MB."""

    def __init__(
        self, listed: list[Listed], names: list[str], depth: dict[str, Path], rule: DepthRule
    ):
        self._parts = [part for part, _ in listed]
        self._rows = np.concatenate([rows for _, rows in listed])
        self._part_of = np.repeat(np.arange(len(listed)), [len(rows) for _, rows in listed])
        self._names, self._depth, self._rule = names, depth, rule

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Frame | Sequence[Frame]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(len(self))[index])
        place = operator.index(index)
        part: _Part = self._parts[self._part_of[place]]
        return part.frame(int(self._rows[place]), self._names[place], self._depth, self._rule)
