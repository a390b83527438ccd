"""What Pillow opens, as the one kind of picture that networks see."""

import struct
import tokenize
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

FORMATS = ("JPEG", "PNG", "TIFF")
"""What is opened: Pillow knows more, some of which run other programs."""

BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zlib.error,
    tokenize.TokenError,
    Image.DecompressionBombError,
)
"""What Pillow, NumPy and gzip have been seen to raise, or can raise, on damaged bytes."""


def rgb_of(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture's colours, eight bits each.

    Grey, palette and CMYK pictures are converted, alpha is dropped, and of 16-bit grey the upper
    byte is kept.

    Raises:
        ValueError: if its numbers have no such range (Pillow's modes I and F).
    """
    if image.mode in {"I", "F"}:
        raise ValueError(f"expected an 8-bit image, got mode {image.mode}")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))
