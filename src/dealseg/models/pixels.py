"""Images as arrays, from wherever a user has them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dealseg.errors import DataError
from dealseg.pictures import BROKEN, FORMATS, rgb_of


def rgb_array(image: np.ndarray | Image.Image | str | Path) -> np.ndarray:
    """Return an image as an array, as the reader of data sets sees it.

    A file is turned as its EXIF says; an image in memory is taken as it is.

    Raises:
        DataError: if the file cannot be read or the array is no RGB image.
    """
    if isinstance(image, str | Path):
        return _from_file(Path(image))
    if isinstance(image, Image.Image):
        try:
            image = rgb_of(image)
        except ValueError as error:
            raise DataError(str(error)) from error
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(f"expected uint8 RGB of shape (h, w, 3), got {image.dtype} {image.shape}")
    return image


def _from_file(file: Path) -> np.ndarray:
    try:
        with Image.open(file, formats=FORMATS) as opened:
            return rgb_of(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise DataError(
            f"{file}: is not a JPEG, PNG or TIFF picture; open it with Pillow and give that image"
        ) from None
    except BROKEN as error:
        reason = " ".join(str(error).replace(f": '{file}'", "").split()) or type(error).__name__
        raise DataError(f"{file}: cannot be read as an image ({reason})") from error
