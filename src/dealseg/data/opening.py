"""`open_dataset`: tell the format of a data set and list it."""

from pathlib import Path
from typing import Literal, get_args

from dealseg.data.base import RgbdDataset
from dealseg.data.bop import open_bop
from dealseg.data.files import Complain, fail, file_error
from dealseg.data.folder import IMAGES, open_folder, split_file
from dealseg.data.frames import FrameDataset
from dealseg.data.scenes import find_scenes
from dealseg.errors import ConfigError

Format = Literal["auto", "folder", "bop"]


def open_dataset(
    path: str | Path,
    *,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
    split: str | None = None,
    depth_folder: str = "depth",
    min_visible: float = 0.1,
) -> RgbdDataset:
    """List a data set; pictures are read when they are asked for.

    The formats are described in `docs/data.md`.

    Args:
        path: folder of the data set.
        format: `folder`, `bop`, or `auto`: `folder` if there is `images/`, else `bop` if there is
            a scene.
        split: named part of it; None for all images. The classes are those of the whole set.
        depth_folder: folder of the depth files, for example `depth_estimate`.
        min_visible: `bop` only: objects of which a smaller share is visible give no tag.

    Raises:
        DataError: if the data set is not as its format says.
        ConfigError: if an argument has a value that cannot work.
    """
    return list_dataset(
        path, format=format, split=split, depth_folder=depth_folder, min_visible=min_visible
    )


def list_dataset(
    path: str | Path,
    *,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
    split: str | None = None,
    depth_folder: str = "depth",
    min_visible: float = 0.1,
    complain: Complain = fail,
) -> FrameDataset:
    """List a data set as `open_dataset` does, and tell `complain` of mistakes it can go on from."""
    if not 0 <= min_visible <= 1:
        raise ConfigError(f"min_visible must be from 0 to 1, got {min_visible}")
    root = Path(path)
    if tell_format(root, format) == "folder":
        return open_folder(root, split=split, depth_folder=depth_folder, complain=complain)
    return open_bop(
        root, split=split, depth_folder=depth_folder, min_visible=min_visible, complain=complain
    )


def training_split(
    path: str | Path,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
) -> str | None:
    """Return `train` where a data set has a split of that name, else None: all images.

    Raises:
        DataError: if it is not a data set.
    """
    root = Path(path)
    scenes = find_scenes(root) if tell_format(root, format) == "bop" else []
    folders = {part for scene in scenes for part in scene.relative_to(root).parts[:-1]}
    named = any(folder.startswith("train") for folder in folders)
    return "train" if named or split_file(root, "train") else None


def tell_format(root: Path, format: Format) -> Literal["folder", "bop"]:  # noqa: A002
    """Return the format of a data set, by what is in its folder if it is to be told.

    Raises:
        DataError: if there is no such folder, or it is of neither format.
        ConfigError: if the format is unknown.
    """
    if format not in get_args(Format):
        raise ConfigError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise file_error(root, f"expected the folder of a data set, found {found}")
    if format == "folder" or (format == "auto" and (root / IMAGES).is_dir()):
        if not (root / IMAGES).is_dir():
            raise file_error(root, "expected a folder images/ in it")
        return "folder"
    if format == "bop" or (format == "auto" and find_scenes(root)):
        return "bop"
    raise file_error(
        root, "expected images/ (folder format) or scenes with scene_camera.json and rgb/ (bop)"
    )
