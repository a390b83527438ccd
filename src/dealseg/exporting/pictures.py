"""Exported pictures: masks as indexed PNG, and the images beside them."""

import csv
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dealseg.data.files import is_turned, read_image

_JPEG = (".jpg", ".jpeg")
_QUALITY = 95


def indexed_png(mask: UInt8[np.ndarray, "h w"], colours: list[int]) -> bytes:
    """Return a palette PNG of a mask's values."""
    picture = Image.fromarray(mask)
    picture.putpalette(colours)
    return encoded(picture)


def encoded(picture: Image.Image) -> bytes:
    """Return a picture as PNG."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def write_bytes(file: Path, data: bytes) -> None:
    """Write a file, and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def place_image(image: Path, stem: Path, how: str) -> Path:
    """Put an image into the export.

    Images that are stored turned, as their EXIF orientation says, are written anew upright, since
    the mask is, and not every reader turns them.

    Args:
        image: the file.
        stem: the path in the export without suffix.
        how: `copy` keeps the bytes, `link` makes a symbolic link, `jpg` also makes other formats
            JPEG (quality 95).

    Returns:
        The file written, or the path it would have if `how` is `none`.
    """
    suffix = image.suffix.lower()
    target = stem.with_name(stem.name + suffix)
    if how == "none":
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_turned(image) or (how == "jpg" and suffix not in _JPEG):
        return _upright(image, stem, ".png" if how != "jpg" and suffix == ".png" else ".jpg")
    if how == "link":
        os.symlink(image.resolve(), target)
    else:
        shutil.copyfile(image, target)
    return target


def _upright(image: Path, stem: Path, suffix: str) -> Path:
    target = stem.with_name(stem.name + suffix)
    picture = Image.fromarray(read_image(image).permute(1, 2, 0).numpy())
    if suffix == ".png":
        picture.save(target)
    else:
        picture.save(target, quality=_QUALITY, subsampling=0)
    return target


def write_names(file: Path, names: Mapping[str, str]) -> None:
    """Write a table of the images' names in the data set and in the export."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([("name", "exported"), *names.items()])
    write_bytes(file, stream.getvalue().encode(errors="surrogateescape"))
