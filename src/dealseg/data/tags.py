"""Where the tags of a `folder` data set come from: `tags.csv`, a COCO json, or class folders."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dealseg.data.description import BACKGROUND
from dealseg.data.files import (
    IMAGE_SUFFIXES,
    Complain,
    fail,
    file_error,
    read_json,
    read_text,
    reading,
)

CSV_NAME = "tags.csv"
_COCO_KEYS = ("images", "annotations", "categories")


@dataclass
class Tags:
    """What one source says.

    Attributes:
        file: the source, for messages; the root for class folders.
        of: the tags of each image, by image name; empty for background only.
        vocabulary: every class the source knows, in no order.
    """

    file: Path
    of: dict[str, frozenset[str]] = field(default_factory=dict)
    vocabulary: set[str] = field(default_factory=set)

    def add(self, name: str, tags: Iterable[str]) -> None:
        """Add tags to those of an image; `background` stands for no tag."""
        kept = frozenset(tags) - {BACKGROUND}
        self.of[name] = self.of.get(name, frozenset()) | kept
        self.vocabulary |= kept


class NameMatcher:
    """Finds the image that a line in some list means: with or without suffix or folder."""

    def __init__(self, names: Iterable[str]):
        self._names = set(names)
        self._by_stem: dict[str, list[str]] = {}
        for name in self._names:
            self._by_stem.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, text: str) -> str | None:
        """Return the image's name, or None if there is none or there are several."""
        path = PurePosixPath(text.replace("\\", "/"))
        plain = path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
        for name in (str(path), str(plain)):
            if name in self._names:
                return name
        found = self._by_stem.get(plain.name, [])
        return found[0] if len(found) == 1 else None


def find_tags(root: Path, images: Mapping[str, Path], complain: Complain = fail) -> Tags | None:
    """Read the tags of a data set from the first source there is.

    In order: `tags.csv`; `annotations.json`, other `*.json` of the root and `annotations/*.json`
    with the keys of COCO, together; the folders below `images/`.

    Args:
        root: of the data set.
        images: the image files by name.
        complain: told of rows without image and of images named twice.

    Returns:
        The tags, or None if there is no source.

    Raises:
        DataError: if a source cannot be read as a whole.
    """
    matcher = NameMatcher(images)
    if (root / CSV_NAME).exists():
        return read_csv(root / CSV_NAME, matcher, complain)
    if coco := _coco_files(root):
        return read_coco(root, coco, matcher, complain)
    return _class_folders(root, images)


def read_csv(file: Path, matcher: NameMatcher, complain: Complain = fail) -> Tags:
    """Read a table with the columns `name` and `tags`, the tags of an image parted by `;`.

    Raises:
        DataError: if the file is no CSV or a column is missing.
    """
    result = Tags(file)
    lines: dict[str, int] = {}
    for number, row in _csv_rows(file):
        text = (row["name"] or "").strip()
        if row["tags"] is None or None in row:
            complain(file_error(file, f"line {number}: expected `name,tag;tag`; part tags by `;`"))
        elif (name := matcher.find(text)) is None:
            complain(file_error(file, f"line {number}: there is no image {text!r} in images/"))
        elif name in lines:
            first = lines[name]
            complain(file_error(file, f"line {number}: {text!r} is already in line {first}"))
        else:
            lines[name] = number
            result.add(name, filter(None, map(str.strip, row["tags"].split(";"))))
    return result


def _csv_rows(file: Path) -> list[tuple[int, dict[str | None, Any]]]:
    text = read_text(file)
    with reading(file, "CSV file"):
        try:
            reader = csv.DictReader(text.splitlines(), strict=True, skipinitialspace=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            if missing := {"name", "tags"} - set(columns):
                what = " and ".join(sorted(missing))
                got = ",".join(columns)[:100]
                raise file_error(file, f"the first line must be `name,tags`: no {what} in {got!r}")
            reader.fieldnames = columns
            return [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise file_error(file, f"this is not CSV ({error})") from error


def _coco_files(root: Path) -> dict[Path, dict[str, Any]]:
    named = root / "annotations.json"
    others = {*root.glob("*.json"), *root.glob("annotations/*.json")} - {named}
    found = {}
    for file in ([named] if named.exists() else []) + sorted(others):
        data = read_json(file)
        if isinstance(data, dict) and all(isinstance(data.get(key), list) for key in _COCO_KEYS):
            found[file] = data
        elif file == named:
            keys = ", ".join(_COCO_KEYS)
            raise file_error(file, f"expected a COCO json with the lists {keys}")
    return found


def read_coco(
    root: Path, files: Mapping[Path, Mapping[str, Any]], matcher: NameMatcher, complain: Complain
) -> Tags:
    """Read tags from the annotations of COCO files; boxes and polygons are not looked at.

    An image without annotation is background only.

    Raises:
        DataError: if an entry lacks its ids or names.
    """
    result = Tags(next(iter(files)) if len(files) == 1 else root)
    for file, data in files.items():
        with reading(file, "COCO json"):
            names = {_id(entry["id"]): _text(entry["name"]) for entry in data["categories"]}
            images = {_id(entry["id"]): _text(entry["file_name"]) for entry in data["images"]}
            tags: dict[int | str, set[str]] = {key: set() for key in images}
            for entry in data["annotations"]:
                tags[_id(entry["image_id"])].add(names[_id(entry["category_id"])])
        result.vocabulary |= set(names.values()) - {BACKGROUND}
        for key, text in images.items():
            if (name := matcher.find(text)) is None:
                complain(file_error(file, f"there is no image {text!r} in images/"))
            else:
                result.add(name, tags[key])
    return result


def _id(value: Any) -> int | str:
    if not isinstance(value, int | str):
        raise TypeError(f"an id must be a number, got {str(value)[:50]!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"a name must be text, got {str(value)[:50]!r}")
    return value.strip()


def _class_folders(root: Path, images: Mapping[str, Path]) -> Tags | None:
    tagged = {name: name.split("/")[0] for name in images if "/" in name}
    if not tagged:
        return None
    result = Tags(root / "images")
    for name, folder in tagged.items():
        result.add(name, [folder])
    return result
