"""Pictures of masks and depth for the page, as pixels and as files."""

import io

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from dealseg.data.base import IGNORE
from dealseg.data.palette import colour_of

Pixels = UInt8[np.ndarray, "h w 3"]
Layer = UInt8[np.ndarray, "h w 4"]
Mask = UInt8[np.ndarray, "h w"]

LONG_SIDE = 2048
"""Pictures are sent with at most this many pixels on their longer side."""
THUMBNAIL = 256
"""The same of thumbnails."""

_COVER = 0.55  # of a class's colour over the image in a thumbnail
_GREYS = np.array([(118, 122, 130), (168, 172, 180)], np.uint8)  # the report's hatching
_NEAR_TO_FAR = np.array(  # viridis at even steps, bright first, as in the report
    [
        (253, 231, 37), (216, 226, 25), (173, 220, 48), (132, 212, 75), (94, 201, 98),
        (63, 188, 115), (40, 174, 128), (31, 160, 136), (33, 145, 140), (38, 130, 142),
        (44, 114, 142), (51, 99, 141), (59, 82, 139), (66, 64, 134), (71, 45, 123),
        (72, 24, 106), (68, 1, 84),
    ],
    np.float64,
)  # fmt: skip


def fitted(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return height and width with the same aspect, at most `long_side`; never enlarged."""
    factor = min(1.0, long_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resized(picture: Shaped[np.ndarray, "..."], long_side: int) -> Shaped[np.ndarray, "..."]:
    """Return a picture made smaller if need be; a mask keeps its values, pixels are averaged."""
    size = fitted((picture.shape[0], picture.shape[1]), long_side)
    if size == picture.shape[:2]:
        return picture
    how = Image.Resampling.NEAREST if picture.ndim == 2 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), how))


def filled(mask: Mask) -> Layer:
    """Paint classes in the palette's colours on a clear ground; 255 is hatched."""
    layer = np.take(_TABLE, mask, axis=0)
    ignored = mask == IGNORE
    if ignored.any():
        layer[ignored, :3] = _hatching(mask.shape)[ignored]
    return layer


def outlined(mask: Mask) -> Layer:
    """Draw the border pixels of each class in its colour, lined with white, on a clear ground."""
    border = _differs(mask)
    layer = filled(mask)
    layer[..., 3] = np.where(border, 255, 0)
    around = _grown(border) & ~border
    layer[around] = (255, 255, 255, 150)
    return layer


def thumbnail(
    image: Pixels, mask: UInt8[np.ndarray, "rows columns"], long_side: int = THUMBNAIL
) -> UInt8[np.ndarray, "small narrow 3"]:
    """Return a small image with its mask laid over it.

    A mask of another size is stretched; the page says so once the image is opened.
    """
    small = resized(image, long_side)
    high, wide = small.shape[:2]
    nearest = Image.Resampling.NEAREST
    layer = filled(np.asarray(Image.fromarray(mask).resize((wide, high), nearest)))
    cover = _COVER * (layer[..., 3:] / 255)
    return np.rint(small * (1 - cover) + layer[..., :3] * cover).astype(np.uint8)


def coloured_depth(far: Shaped[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]) -> Pixels:
    """Colour depth from near (bright) to far (dark); hatched where it was not measured.

    The colours span the 2nd to the 98th percentile of what was measured.
    """
    hatched = _hatching(valid.shape)
    if not valid.any():
        return hatched
    low, high = np.percentile(far[valid], [2, 98])
    shade = np.clip((far - low) / max(high - low, 1e-12), 0, 1) * (len(_NEAR_TO_FAR) - 1)
    steps = np.arange(len(_NEAR_TO_FAR))
    channels = [np.interp(shade, steps, _NEAR_TO_FAR[:, channel]) for channel in range(3)]
    pixels = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return np.where(valid[..., None], pixels, hatched)


def jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """Return a photograph as a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def png(pixels: UInt8[np.ndarray, "h w channels"]) -> bytes:
    """Return pixels as a file without loss."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def _hatching(size: tuple[int, ...]) -> Pixels:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.asarray(_GREYS[((rows + columns) % 8 < 4).astype(np.intp)])


def _differs(mask: Mask) -> Bool[np.ndarray, "h w"]:
    """Return the foreground pixels of which a neighbour in row or column has another value."""
    border = np.zeros(mask.shape, dtype=bool)
    for near, far in (((slice(1, None),), (slice(None, -1),)),
                      ((slice(None), slice(1, None)), (slice(None), slice(None, -1)))):  # fmt: skip
        step = mask[near] != mask[far]
        border[near] |= step
        border[far] |= step
    return border & (mask > 0)


def _grown(marked: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    wide = marked.copy()
    wide[1:] |= marked[:-1]
    wide[:-1] |= marked[1:]
    wide[:, 1:] |= marked[:, :-1]
    wide[:, :-1] |= marked[:, 1:]
    return wide


def _table() -> UInt8[np.ndarray, "256 4"]:
    colours = [(*colour_of(value), 255 if value else 0) for value in range(256)]
    return np.array(colours, np.uint8)


_TABLE = _table()
