"""The `folder` format: `images/`, and beside it what there is of depth, masks, tags and splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dealseg.data.description import (
    DepthRule,
    Description,
    read_depth_rule,
    read_description,
    require_class_names,
)
from dealseg.data.files import (
    DEPTH_SUFFIXES,
    IMAGE_SUFFIXES,
    Complain,
    FileError,
    absent,
    fail,
    file_error,
    index_files,
    read_text,
)
from dealseg.data.frames import Frame, FrameDataset
from dealseg.data.masks import LabelFile
from dealseg.data.tags import NameMatcher, Tags, find_tags

IMAGES = "images"
WITHOUT_DEPTH = "`dealseg depth` estimates it; --losses none trains without"
"""The ways out where a data set lacks the depth asked for."""
PICTURE_SUFFIXES = (*IMAGE_SUFFIXES, ".tif", ".tiff")


def open_folder(
    root: Path,
    *,
    split: str | None = None,
    depth_folder: str = "depth",
    complain: Complain = fail,
) -> FrameDataset:
    """List a data set in `folder` format; no picture is opened.

    Args:
        root: the folder that holds `images/`.
        split: `NAME` of `splits/NAME.txt`; None for all images.
        depth_folder: the folder of the depth files, below `root`.
        complain: told of every mistake that does not stop the listing.

    Raises:
        DataError: if the layout, `dataset.yaml`, the tags or the split are not as documented.
    """
    description = read_description(root)
    images = index_files(root / IMAGES, IMAGE_SUFFIXES, complain)
    if not images:
        raise file_error(root / IMAGES, "there is no image here (.jpg, .jpeg or .png)")
    tags = _lenient_tags(root, images, complain)
    classes = _class_list(root, description, tags, complain)
    _require_known(description, tags, classes, complain)
    names = list(images) if split is None else read_split(root, split, images, complain)
    depth = index_depth(root, depth_folder, complain)
    masks = index_files(root / "masks", (".png",), complain)
    rule = read_depth_rule(root / depth_folder) or description.depth or DepthRule()
    beside = _Beside(_Lookup(depth, images), _Lookup(masks, images), tags, rule, description)
    return FrameDataset(root, classes, tuple(beside.frame(name, images[name]) for name in names))


def open_pictures(root: Path, *, complain: Complain = fail) -> FrameDataset:
    """List the images of a folder that is no data set: no tags, depth, masks or classes.

    Raises:
        DataError: if there is no image.
    """
    images = index_files(root, PICTURE_SUFFIXES, complain)
    if not images:
        raise file_error(root, f"there is no image here ({', '.join(PICTURE_SUFFIXES)})")
    return FrameDataset(root, (), tuple(Frame(name, file) for name, file in images.items()))


@dataclass(frozen=True)
class _Beside:
    depth: "_Lookup"
    masks: "_Lookup"
    tags: Tags | None
    depth_rule: DepthRule
    description: Description

    def frame(self, name: str, image: Path) -> Frame:
        mask = self.masks.find(name)
        return Frame(
            name=name,
            image=image,
            tags=None if self.tags is None else self.tags.of.get(name),
            depth=self.depth.find(name),
            depth_rule=self.depth_rule,
            mask=None if mask is None else LabelFile(mask, self.description.ignore_index),
        )


class _Lookup:
    """Files beside the images: under the same name, or its last part where that is unambiguous."""

    def __init__(self, files: Mapping[str, Path], images: Mapping[str, Path]):
        self._files = files
        stems: dict[str, int] = {}
        for name in images:
            stem = PurePosixPath(name).name
            stems[stem] = stems.get(stem, 0) + 1
        self._unique = {stem for stem, count in stems.items() if count == 1}

    def find(self, name: str) -> Path | None:
        stem = PurePosixPath(name).name
        return self._files.get(name) or (self._files.get(stem) if stem in self._unique else None)


def _lenient_tags(root: Path, images: Mapping[str, Path], complain: Complain) -> Tags | None:
    try:
        return find_tags(root, images, complain)
    except FileError as error:
        complain(error)
        return None


def _class_list(
    root: Path, description: Description, tags: Tags | None, complain: Complain
) -> tuple[str, ...]:
    if description.classes is None or description.ids is None or description.file is None:
        classes = tuple(sorted(tags.vocabulary)) if tags else ()
        try:
            require_class_names(tags.file if tags else root, classes)
        except FileError as error:
            complain(error)
        return classes
    if description.ids != tuple(range(1, len(description.ids) + 1)):
        raise file_error(description.file, "ids of classes must be 1, 2, ... without a gap")
    if description.ignore_index in description.ids:
        problem = f"ignore_index {description.ignore_index} is the value of a class"
        raise file_error(description.file, problem)
    return description.classes


def _require_known(
    description: Description, tags: Tags | None, classes: tuple[str, ...], complain: Complain
) -> None:
    unknown = {} if tags is None else {t: n for n, ts in tags.of.items() for t in ts}
    for tag in sorted(unknown.keys() - set(classes)):
        source = tags.file if tags else description.file or Path()
        where = f"tag {tag!r} (of image {unknown[tag]!r}) is not in the classes of dataset.yaml"
        complain(file_error(source, f"{where}: {', '.join(classes)[:200]}"))


def index_depth(root: Path, depth_folder: str, complain: Complain) -> dict[str, Path]:
    """Return the depth files by their path below the depth folder, without suffix.

    Raises:
        DataError: if the folder is not there, but for the default one.
    """
    folder = root / depth_folder
    if not folder.is_dir() and (folder.exists() or depth_folder != "depth"):
        raise absent(folder, f"there is no such depth folder; {WITHOUT_DEPTH}")
    lossless = index_files(folder, DEPTH_SUFFIXES, complain)
    lossy = index_files(folder, (".jpg", ".jpeg"), complain)  # refused when read, not overlooked
    return {**lossy, **lossless}


def read_split(
    root: Path, split: str, images: Mapping[str, Path], complain: Complain = fail
) -> list[str]:
    """Return the image names that `splits/SPLIT.txt` lists, in its order.

    Raises:
        DataError: if there is no such split, or it lists nothing.
    """
    file = split_file(root, split)
    if file is None:
        raise absent(root / "splits", f"there is no split {split!r}{_known_splits(root)}")
    matcher = NameMatcher(images)
    lines: dict[str, int] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not (text := line.strip()):
            continue
        if (name := matcher.find(text)) is None:
            complain(file_error(file, f"line {number}: there is no image {text[:80]!r}"))
        elif name in lines:
            complain(file_error(file, f"line {number}: {name!r} is already in line {lines[name]}"))
        else:
            lines[name] = number
    if not lines:
        raise file_error(file, "this split lists no image")
    return list(lines)


def split_file(root: Path, split: str) -> Path | None:
    """Return `splits/SPLIT.txt` if there is one."""
    return next((file for file in (root / "splits").glob("*.txt") if file.stem == split), None)


def _known_splits(root: Path) -> str:
    known = sorted(file.stem for file in (root / "splits").glob("*.txt"))
    return f"; there are: {', '.join(known)}" if known else "; write one name a line into NAME.txt"
