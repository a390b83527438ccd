"""Reading one file: pictures, depth maps, texts. Whatever is wrong with it becomes a DataError."""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dealseg.errors import DataError
from dealseg.pictures import BROKEN, FORMATS, rgb_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")

RawDepth = Shaped[np.ndarray, "h w"]

_GREY_DEPTH_MODES = {"L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


class FileError(DataError):
    """A DataError that remembers its file.

    Attributes:
        file: the file at fault, or None.
        problem: the message without the file.
    """

    def __init__(self, message: str, file: Path | None = None, problem: str | None = None):
        super().__init__(message)
        self.file = file
        self.problem = message if problem is None else problem


class AbsentError(FileError):
    """What an option asks for is not in the data set: it is the option that has to be mended."""


Complain = Callable[[FileError], None]
"""Where a mistake goes from which reading could go on: raised in use, collected by `check`."""


def file_error(file: Path, problem: str) -> FileError:
    """Return the error that says `problem` about `file` on one line."""
    problem = " ".join(problem.split())
    return FileError(f"{file}: {problem}", file, problem)


def absent(file: Path, problem: str) -> AbsentError:
    """Return the error of an option that asks for what is not there, see :func:`file_error`."""
    problem = " ".join(problem.split())
    return AbsentError(f"{file}: {problem}", file, problem)


def fail(error: FileError) -> None:
    """Raise the mistake: the `Complain` of a data set that is opened for use."""
    raise error


@contextmanager
def reading(file: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises on the bytes of `file` into a one-line DataError."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise file_error(file, f"there is no such {what}") from None
    except IsADirectoryError:
        raise file_error(file, f"expected a {what}, found a folder") from None
    except UnidentifiedImageError:
        raise file_error(file, f"this {what} is not a JPEG, PNG or TIFF picture") from None
    except Image.DecompressionBombError:
        raise file_error(file, f"this {what} has too many pixels; make it smaller") from None
    except KeyError as error:
        raise file_error(file, f"this {what} lacks the entry {str(error)[:80]}") from error
    except BROKEN as error:
        reason = str(error).replace(f": '{file}'", "")[:200] or type(error).__name__
        raise file_error(file, f"cannot read this {what} ({reason})") from error


def read_text(file: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: if it cannot be read or is not UTF-8.
    """
    with reading(file, "text file"):
        return file.read_bytes().decode("utf-8-sig")


def read_json(file: Path) -> Any:
    """Return what a `.json` or `.json.gz` file holds.

    Raises:
        DataError: if it cannot be read or is not JSON.
    """
    with reading(file, "JSON file"):
        data = file.read_bytes()
        return json.loads(gzip.decompress(data) if file.suffix == ".gz" else data)


def index_files(
    folder: Path, suffixes: Sequence[str], complain: Complain = fail
) -> dict[str, Path]:
    """Map each file's path below `folder`, without suffix and with `/`, to the file, sorted.

    Hidden files are passed over. A folder that has a suffix counts as a file, so that reading it
    says what is wrong.

    Args:
        folder: searched with all its subfolders; may be absent.
        suffixes: of the files wanted, in lower case; those of the files may be in any case.
        complain: told of two files of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(_walk(folder, suffixes)):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            complain(
                file_error(path, f"has the same name as {found[name].name}; keep one of the two")
            )
        else:
            found[name] = path
    return found


def _walk(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise file_error(folder, f"cannot list this folder ({error.strerror})") from error

    for parent, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        wanted = {n for n in folders if Path(n).suffix.lower() in suffixes}
        folders[:] = [n for n in folders if n not in wanted and not n.startswith(".")]
        for name in (*wanted, *files):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                yield Path(parent, name)


def image_size(file: Path) -> tuple[int, int]:
    """Return height and width, upright, of a picture: of JPEG and PNG from the header.

    Raises:
        DataError: if it is not a picture.
    """
    with reading(file, "image"), Image.open(file, formats=FORMATS) as image:
        if image.format == "TIFF":  # releases of Pillow differ in when they turn these
            width, height = ImageOps.exif_transpose(image).size
            return height, width
        turned = _orientation(image) in {5, 6, 7, 8}
        return image.size if turned else (image.height, image.width)


def is_turned(file: Path) -> bool:
    """Return whether a picture is stored turned or mirrored, as its EXIF orientation says.

    Raises:
        DataError: if it is not a picture.
    """
    with reading(file, "image"), Image.open(file, formats=FORMATS) as image:
        return _orientation(image) in range(2, 9)


def _orientation(image: Image.Image) -> Any:
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def read_image(file: Path) -> UInt8[Tensor, "3 h w"]:
    """Return a picture as RGB, upright as its EXIF orientation says.

    Grey, palette and CMYK pictures are converted, alpha is dropped, and of 16-bit grey the upper
    byte is kept.

    Raises:
        DataError: if it is not a whole JPEG, PNG or TIFF picture.
    """
    with reading(file, "image"), Image.open(file, formats=FORMATS) as opened:
        pixels = rgb_of(ImageOps.exif_transpose(opened))
    _require_pixels(file, pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_grey(file: Path, what: str, modes: set[str], hint: str) -> Shaped[np.ndarray, "h w"]:
    """Return the stored numbers of a one-channel picture; of a palette picture, its indices.

    Args:
        file: PNG or TIFF.
        what: what the picture is, for messages.
        modes: the modes of Pillow that are allowed.
        hint: what to do about another mode.

    Raises:
        DataError: if the file is damaged, a JPEG, or of another mode.
    """
    with reading(file, what), Image.open(file, formats=FORMATS) as image:
        if image.format not in {"PNG", "TIFF"}:
            raise file_error(file, f"a JPEG changes the numbers of a {what}; save it as PNG")
        if image.mode not in modes:
            raise file_error(file, f"expected a one-channel {what}, got mode {image.mode}; {hint}")
        values = np.array(image)
    _require_pixels(file, values)
    return values.astype(values.dtype.newbyteorder("="))


def read_depth(file: Path) -> RawDepth:
    """Return the numbers of a depth file as they are stored, of any integer or float type.

    Raises:
        DataError: if the file is damaged, a JPEG, colour-mapped, or has several channels.
    """
    if file.suffix.lower() == ".npy":
        return _read_npy(file)
    hint = "a colour-mapped depth cannot be read back: export the raw 16-bit or float depth"
    return read_grey(file, "depth map", _GREY_DEPTH_MODES, hint)


def _read_npy(file: Path) -> RawDepth:
    with reading(file, "depth map"):
        stored = np.lib.format.open_memmap(file, mode="r")  # checks the length before it allocates
        values = np.array(stored)
        del stored
    if values.ndim == 3 and 1 in {values.shape[0], values.shape[2]}:
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        got = f"shape {values.shape} and type {values.dtype}"
        raise file_error(file, f"expected a depth map of shape (height, width), got {got}")
    _require_pixels(file, values)
    return values.astype(values.dtype.newbyteorder("="))


def _require_pixels(file: Path, values: np.ndarray) -> None:
    if values.size == 0:
        raise file_error(file, f"has no pixels (shape {values.shape})")
