"""The `voc` format: PASCAL VOC's VOCdevkit, with the masks and lists of SBD where they are there.

Written from the VOC 2012 development kit's documentation and the list files of SEAM, IRN and
WeakTr. The official masks come first: evaluation is on train (1,464) and val (1,449), whose ground
truth they are; SBD's, in `SegmentationClassAug`, are for images that have no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dealseg.data.beside import described_depth
from dealseg.data.files import (
    IMAGE_SUFFIXES,
    Complain,
    FileError,
    absent,
    fail,
    file_error,
    index_files,
    read_text,
)
from dealseg.data.folder import index_depth
from dealseg.data.frames import Frame, FrameDataset
from dealseg.data.masks import LabelFile, MaskSource
from dealseg.data.voc_tags import CLASSES, TagsFrom, find_voc_tags, tag_origin

IMAGES = "JPEGImages"
LISTS = ("ImageSets/Segmentation", "ImageSets/SegmentationAug", "splits")
MASKS = ("SegmentationClass", "SegmentationClassAug")
COUNTS = {"train": 1464, "train_aug": 10582, "val": 1449, "trainval": 2913, "test": 1456}
FULL = COUNTS["train_aug"] + COUNTS["val"]
"""Images that a copy of VOC 2012 has at least, unless it is a subset."""


def find_voc(path: Path) -> Path | None:
    """Return the folder with `JPEGImages/`: `path`, or VOC2012 (else another year) below it."""
    for folder in (path, path / "VOCdevkit", path / "TrainVal/VOCdevkit"):
        years = sorted(folder.glob("VOC20[0-9][0-9]"), reverse=True)
        for root in (folder, folder / "VOC2012", *years):
            if (root / IMAGES).is_dir():
                return root
    return None


def open_voc(
    path: Path,
    *,
    split: str | None = None,
    depth_folder: str = "depth",
    tags_from: TagsFrom = "auto",
    complain: Complain = fail,
) -> FrameDataset:
    """List a data set in `voc` format; no picture is opened unless tags come from masks.

    Args:
        path: `VOC2012`, `VOCdevkit`, or the folder that holds it.
        split: a list file by name (`train`, `train_aug`, `val`, ...) or by path; None for all
            images.
        depth_folder: the folder of the depth files, below `VOC2012` or absolute.
        tags_from: `cls_labels`, `xml` or `masks`; `auto` takes the first there is.
        complain: told of every mistake that does not stop the listing.

    Raises:
        DataError: if the layout, a list or the tags are not as documented.
    """
    root = find_voc(path)
    if root is None:
        raise absent(path, f"there is no VOC here: expected VOCdevkit/VOC2012/{IMAGES}/")
    images = index_files(root / IMAGES, IMAGE_SUFFIXES, complain)
    if not images:
        raise file_error(root / IMAGES, "there is no image here (.jpg, .jpeg or .png)")
    rule = described_depth(root, depth_folder, CLASSES)
    depth = index_depth(root, depth_folder, complain)
    listed = _listed(root, split, images, complain)
    masks = _masks(root, complain) | listed.masks
    origin = tag_origin(root, tags_from)
    chosen = {name: images[name] for name in listed.names}
    tags = find_voc_tags(root, origin, chosen, masks, complain)
    frames = tuple(
        Frame(name, image, tags.get(name), depth.get(name), rule, masks.get(name))
        for name, image in chosen.items()
    )
    facts = (listed.fact, f"tags from {_TOLD[origin]}")
    remarks = _count_remarks(split, len(images), listed)
    return FrameDataset(root, CLASSES, frames, facts=facts, remarks=remarks)


_TOLD = {
    "cls_labels": "cls_labels.npy",
    "xml": "the objects of the XML files",
    "masks": "the masks",
}


def voc_training_split(path: Path) -> str | None:
    """Return `train_aug` where it is listed or can be told, else `train` if there is that list."""
    root = find_voc(path) or path
    for split in ("train_aug", "train"):
        if _list_file(root, split) or (split == "train_aug" and _can_derive(root)):
            return split
    return None


def _masks(root: Path, complain: Complain) -> dict[str, MaskSource]:
    official, more = (index_files(root / name, (".png",), complain) for name in MASKS)
    return {name: LabelFile(file) for name, file in (more | official).items()}


@dataclass(frozen=True)
class _Listed:
    """What a split names: images, masks that the list itself gives, the list and how it came."""

    names: tuple[str, ...]
    fact: str
    masks: dict[str, MaskSource]
    file: Path


def _listed(root: Path, split: str | None, images: dict[str, Path], complain: Complain) -> _Listed:
    if split is None:
        return _Listed(tuple(images), f"all images of {IMAGES}/", {}, root / IMAGES)
    file = _list_file(root, split)
    if file is None:
        if split == "train_aug" and _can_derive(root):
            return _derived(root, images, complain)
        raise absent(root / LISTS[0], f"there is no list {split!r}{_known(root)}")
    names: dict[str, int] = {}
    masks: dict[str, MaskSource] = {}
    missing = []
    for number, name, mask in _lines(file, complain):
        if name not in images:
            missing.append((number, name))
        elif name in names:
            complain(file_error(file, f"line {number}: {name!r} is already in line {names[name]}"))
        else:
            names[name] = number
            if mask and (root / mask).exists():
                masks[name] = LabelFile(root / mask)
    if missing:
        complain(_missing(file, missing))
    if not names:
        raise file_error(file, "this list names no image")
    right = ", as VOC 2012 has" if COUNTS.get(split) == len(names) else ""
    return _Listed(tuple(names), f"list {file.name}: {len(names):,} images{right}", masks, file)


def _missing(file: Path, missing: list[tuple[int, str]]) -> FileError:
    number, name = missing[0]
    more = f" and {len(missing) - 1} more listed images" if len(missing) > 1 else ""
    problem = f"line {number}: there is no {IMAGES}/{name[:80]}.jpg{more}"
    return file_error(file, f"{problem}; copy them there, or list only what you have")


def _lines(file: Path, complain: Complain) -> Iterator[tuple[int, str, str | None]]:
    """Yield line number, image id and mask path of each line: `ID`, or `/IMAGE.jpg /MASK.png`."""
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        paths = [PurePosixPath(word) for word in line.replace("\\", "/").split()]
        if not paths:
            continue
        name = _stem(paths[0])
        if len(paths) == 1:
            yield number, name, None
        elif len(paths) > 2 or paths[1].suffix != ".png" or ".." in paths[1].parts:
            problem = f"expected an image id, or an image and a mask, got {line[:80]!r}"
            complain(file_error(file, f"line {number}: {problem}"))
        elif _stem(paths[1]) != name:
            problem = f"the image is {name!r} but the mask {_stem(paths[1])!r}"
            complain(file_error(file, f"line {number}: {problem}"))
        else:
            yield number, name, str(paths[1]).lstrip("/")


def _stem(path: PurePosixPath) -> str:
    return path.stem if path.suffix.lower() in {*IMAGE_SUFFIXES, ".png"} else path.name


def _list_file(root: Path, split: str) -> Path | None:
    if split.endswith(".txt"):
        return next((f for f in (root / split, Path(split)) if f.is_file()), None)
    spellings = (split, split.replace("_", ""), f"{split}_id")
    files = (root / folder / f"{name}.txt" for folder in LISTS for name in spellings)
    return next((file for file in files if file.is_file()), None)


def _known(root: Path) -> str:
    found = sorted({file.stem for folder in LISTS for file in (root / folder).glob("*.txt")})
    return f"; there are: {', '.join(found)}" if found else "; write one image id a line there"


def _can_derive(root: Path) -> bool:
    return (root / MASKS[1]).is_dir() and _list_file(root, "val") is not None


def _derived(root: Path, images: dict[str, Path], complain: Complain) -> _Listed:
    """Return train_aug where nobody listed it: all masks of SBD but the validation images."""
    val = _list_file(root, "val") or root
    held_out = {name for _, name, _ in _lines(val, complain)}
    masks = index_files(root / MASKS[1], (".png",), lambda _: None)
    names = tuple(name for name in masks if name in images and name not in held_out)
    if not names:
        raise file_error(root / MASKS[1], "there is no training image here beside those of val.txt")
    fact = f"{MASKS[1]}/ without val.txt, as no train_aug.txt is there: {len(names):,} images"
    return _Listed(names, fact, {}, root / MASKS[1])


def _count_remarks(
    split: str | None, images: int, listed: _Listed
) -> tuple[tuple[str, FileError], ...]:
    expected = COUNTS.get(split or "")
    if expected in {None, len(listed.names)} or images < FULL:
        return ()
    problem = f"{len(listed.names):,} images, but {split} of VOC 2012 has {expected:,}"
    hint = "another list than the field's: figures on it do not compare"
    return (("image count", file_error(listed.file, f"{problem}; {hint}")),)
