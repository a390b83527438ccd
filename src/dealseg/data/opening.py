"""`open_dataset`: tell the format of a data set and list it."""

from pathlib import Path
from typing import Literal, get_args

from dealseg.data.base import RgbdDataset
from dealseg.data.bop import bop_training_split, open_bop
from dealseg.data.coco import coco_training_split, find_coco, open_coco
from dealseg.data.depth_apart import depth_apart, with_depth_of
from dealseg.data.files import Complain, fail, file_error
from dealseg.data.folder import IMAGES, open_folder, split_file
from dealseg.data.frames import FrameDataset
from dealseg.data.scenes import find_scenes
from dealseg.data.voc import IMAGES as VOC_IMAGES
from dealseg.data.voc import find_voc, open_voc, voc_training_split
from dealseg.data.voc_tags import TagsFrom
from dealseg.errors import ConfigError

Format = Literal["auto", "folder", "bop", "voc", "coco"]
Told = Literal["folder", "bop", "voc", "coco"]


def open_dataset(
    path: str | Path,
    *,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
    split: str | None = None,
    depth_folder: str = "depth",
    min_visible: float = 0.1,
    tags_from: TagsFrom = "auto",
) -> RgbdDataset:
    """List a data set; pictures are read when they are asked for.

    The formats are described in `docs/data.md`.

    Args:
        path: folder of the data set.
        format: `folder`, `bop`, `voc`, `coco`, or `auto`: `voc` if there is `JPEGImages/`, `coco`
            if there are COCO's own annotation files with their images, `folder` if there is
            `images/`, `bop` if there is a scene.
        split: named part of it; None for all images. The classes are those of the whole set.
        depth_folder: folder of the depth files, for example `depth_estimate`; or the path of one
            that lies apart, such as `dealseg noise` writes.
        min_visible: `bop` only: objects of which a smaller share is visible give no tag.
        tags_from: `voc` only: `cls_labels`, `xml` or `masks`; `auto` takes the first there is.

    Raises:
        DataError: if the data set is not as its format says.
        ConfigError: if an argument has a value that cannot work.
    """
    return list_dataset(
        path,
        format=format,
        split=split,
        depth_folder=depth_folder,
        min_visible=min_visible,
        tags_from=tags_from,
    )


def list_dataset(
    path: str | Path,
    *,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
    split: str | None = None,
    depth_folder: str = "depth",
    min_visible: float = 0.1,
    tags_from: TagsFrom = "auto",
    complain: Complain = fail,
) -> FrameDataset:
    """List a data set as `open_dataset` does, and tell `complain` of mistakes it can go on from."""
    if not 0 <= min_visible <= 1:
        raise ConfigError(f"min_visible must be from 0 to 1, got {min_visible}")
    root = Path(path)
    if apart := depth_apart(root, depth_folder):
        found = list_dataset(
            root, format=format, split=split, min_visible=min_visible, tags_from=tags_from,
            complain=complain,
        )  # fmt: skip
        return with_depth_of(found, apart, complain)
    told = tell_format(root, format)
    if tags_from != "auto" and told != "voc":
        raise ConfigError(f"tags_from is for the voc format, and this is {told}: {root}")
    if told == "bop":
        return open_bop(
            root, split=split, depth_folder=depth_folder, min_visible=min_visible, complain=complain
        )
    if told == "voc":
        return open_voc(
            root, split=split, depth_folder=depth_folder, tags_from=tags_from, complain=complain
        )
    opened = open_coco if told == "coco" else open_folder
    return opened(root, split=split, depth_folder=depth_folder, complain=complain)


def training_split(
    path: str | Path,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
) -> str | None:
    """Return `train` where a data set has a split of that name, else None: all images.

    Of `voc` it is `train_aug` if that is there: SBD's 10,582 images, on which the field trains.

    Raises:
        DataError: if it is not a data set, or one of which the part has to be chosen.
    """
    root = Path(path)
    told = tell_format(root, format)
    if told == "voc":
        return voc_training_split(root)
    if told == "coco":
        return coco_training_split(root)
    if split_file(root, "train"):
        return "train"
    return bop_training_split(root) if told == "bop" else None


def tell_format(root: Path, format: Format) -> Told:  # noqa: A002 - the name of the flag
    """Return the format of a data set, by what is in its folder if it is to be told.

    Raises:
        DataError: if there is no such folder, or it is of no format.
        ConfigError: if the format is unknown.
    """
    if format not in get_args(Format):
        raise ConfigError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise file_error(root, f"expected the folder of a data set, found {found}")
    if format == "auto":
        return _by_its_looks(root)
    if format == "folder" and not (root / IMAGES).is_dir():
        raise file_error(root, "expected a folder images/ in it")
    return format


def _by_its_looks(root: Path) -> Told:
    if find_voc(root):
        return "voc"
    if find_coco(root, official=True):
        return "coco"
    if (root / IMAGES).is_dir():
        return "folder"
    if find_scenes(root):
        return "bop"
    above = next((folder for folder in root.resolve().parents[:2] if _is_root(folder)), None)
    raise file_error(
        root,
        "expected images/ (folder format), scenes with scene_camera.json and rgb/ (bop), "
        "VOCdevkit/VOC2012/JPEGImages/ (voc), or annotations/instances_train2014.json (coco)"
        + (f"; did you mean {above}?" if above else ""),
    )


def _is_root(folder: Path) -> bool:
    """Return whether VOC or COCO lies in this folder itself, not somewhere below it."""
    return (folder / VOC_IMAGES).is_dir() or any(folder.glob("annotations/instances_*.json"))
