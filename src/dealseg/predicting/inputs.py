"""What to look at: image files, folders, data sets, globs, video files, cameras."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dealseg.data import RgbdDataset, open_dataset
from dealseg.data.base import class_ids
from dealseg.data.files import IMAGE_SUFFIXES, file_error, index_files
from dealseg.data.opening import tell_format
from dealseg.errors import ConfigError, DataError

Format = Literal["auto", "images", "folder", "bop", "voc", "coco"]

SUFFIXES = (*IMAGE_SUFFIXES, ".tif", ".tiff")
"""Files that are taken for images; all others are taken for videos."""
_CAMERA = re.compile(r"(?:webcam|camera):(.+)")


@dataclass(frozen=True)
class Pictures:
    """Image files.

    Attributes:
        root: where they lie.
        files: each image's file, by its name: the path below `root` without suffix.
        classes: of the data set they are of; none for plain files.
        class_ids: the data set's own id of each mask value (as text), if it has ids.
        split: the part of the data set.
        layout: the format of the data set; None for plain files.
    """

    root: Path
    files: dict[str, Path]
    classes: tuple[str, ...] = ()
    class_ids: dict[str, int] | None = None
    split: str = "all"
    layout: str | None = None


@dataclass(frozen=True)
class Recording:
    """A video file or a camera.

    Attributes:
        source: the file, or the camera's number or name.
        live: whether it is a camera.
    """

    source: str
    live: bool = False


def find_input(
    given: Sequence[str],
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
    split: str | None = None,
    out: Path | None = None,
) -> Pictures | Recording:
    """Tell what a user means.

    Args:
        given: one folder, data set, glob, video file or `camera:0`; or image files and globs.
        format: of a folder: `images` for a plain folder of images, a data set's format, or `auto`:
            a data set if it looks like one.
        split: named part of a data set.
        out: where results go. What lies there is not looked at, so that a call that goes on sees
            the same images if `out` is below them.

    Raises:
        DataError: if there is nothing, or nothing that can be looked at.
        ConfigError: for options that do not fit.
    """
    if format not in get_args(Format):
        raise ConfigError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
    only = given[0] if len(given) == 1 else ""
    if only and Path(only).is_dir():
        return _folder(Path(only), format, split, out)
    if split is not None or format not in ("auto", "images"):
        raise ConfigError(f"split and format are for data sets; {' '.join(given)} is none")
    if camera := _CAMERA.fullmatch(only):
        return Recording(camera[1], live=True)
    files = [file for word in given for file in _expanded(word, out)]
    if len(files) == 1 and files[0].suffix.lower() not in SUFFIXES:
        return Recording(str(files[0]))
    return _listed(files)


def _folder(
    root: Path,
    format: Format,  # noqa: A002
    split: str | None,
    out: Path | None,
) -> Pictures:
    if format != "images":
        try:
            told = tell_format(root, format)
        except DataError:
            if format != "auto" or split is not None:
                raise
        else:
            return _of_dataset(open_dataset(root, format=told, split=split), split, told)
    if split is not None:
        raise ConfigError(f"split is for data sets; {root} is looked at as a folder of images")
    found = index_files(root, SUFFIXES)
    files = {name: file for name, file in found.items() if not _below(file, out)}
    if not files:
        raise file_error(root, f"there are no images here ({', '.join(SUFFIXES)})")
    return Pictures(root, files)


def _of_dataset(dataset: RgbdDataset, split: str | None, layout: str) -> Pictures:
    files = {name: dataset.image_path(index) for index, name in enumerate(dataset.names)}
    ids = class_ids(dataset)
    return Pictures(dataset.root, files, dataset.classes, ids, split or "all", layout)


def _below(file: Path, folder: Path | None) -> bool:
    return folder is not None and folder.absolute() in file.absolute().parents


def _expanded(word: str, out: Path | None) -> list[Path]:
    """Return the files that a path or glob means, sorted; a glob means none below `out`."""
    if Path(word).exists():
        return [Path(word)]
    if not glob.has_magic(word):
        raise file_error(Path(word), "there is no such file or folder")
    found = sorted(Path(path) for path in glob.glob(word, recursive=True))
    files = [path for path in found if path.is_file() and not _below(path, out)]
    if not files:
        raise file_error(Path(word), "no file has such a name")
    return files


def _listed(files: Sequence[Path]) -> Pictures:
    root = Path(os.path.commonpath([file.absolute().parent for file in files]))
    named: dict[str, Path] = {}
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            what = "give one folder alone" if file.is_dir() else "give one video alone"
            raise file_error(file, f"is not an image; {what}")
        name = file.absolute().relative_to(root).with_suffix("").as_posix()
        if named.setdefault(name, file) != file:
            raise file_error(file, f"has the same name as {named[name]}; keep one of the two")
    return Pictures(root, named)
