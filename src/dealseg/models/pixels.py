"""Images as arrays, from wherever a user has them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dealseg.errors import DataError


def rgb_array(image: np.ndarray | Image.Image | str | Path) -> np.ndarray:
    """Return an image as an array, from memory or a file, turned as its EXIF says.

    Raises:
        DataError: if the file cannot be read or the array is no RGB image.
    """
    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{image}: cannot be read as an image ({error})") from error
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(f"expected uint8 RGB of shape (h, w, 3), got {image.dtype} {image.shape}")
    return image
