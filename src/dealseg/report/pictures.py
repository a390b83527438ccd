"""The pictures of an example as pixels, all of one size."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dealseg.data.base import IGNORE
from dealseg.draw import outlined
from dealseg.labeling import colour_of
from dealseg.report.colours import DEPTH_MAP, SCORE_MAP
from dealseg.report.example import DepthView, Example, Prediction

Pixels = UInt8[np.ndarray, "rows columns 3"]
Size = tuple[int, int]

LONG_SIDE = 400
"""Pictures are shown with at most this many pixels on their longer side."""
STRIPES = ((118, 122, 130), (168, 172, 180))
"""The two greys of the hatching that stands for no data; no colour map has them."""
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
_PAPER = 0.72  # how far a mask's background is faded towards white


@dataclass(frozen=True)
class Picture:
    """One picture of an example.

    Attributes:
        title: what it shows; the same for all examples.
        note: what is particular to this one.
        alt: for those who cannot see it.
        photo: may be compressed with loss.
    """

    title: str
    note: str
    alt: str
    pixels: Pixels
    photo: bool = False


def inputs(example: Example, long_side: int = LONG_SIDE) -> Iterator[Picture]:
    """Return image, depth, depth edges and ground truth, as far as there are any."""
    size = shown_size(example.image, long_side)
    image = _photo(example.image, size)
    alt = f"Image {example.name}"
    yield Picture("Image", "", alt, image, photo=True)
    if example.view is not None:
        yield _depth_picture(example, example.view, size)
        yield _edge_picture(example, example.view, size)
    if example.truth is not None:
        alt = f"Ground truth of {example.name}"
        yield Picture("Ground truth", "", alt, mask_pixels(example.truth, image))


def outputs(example: Example, long_side: int = LONG_SIDE) -> Iterator[Picture]:
    """Return the CAMs of all runs, then their masks."""
    image = _photo(example.image, shown_size(example.image, long_side))
    for each in example.predictions:
        alt = f"CAM of the winning class of {example.name}, {each.label}"
        yield Picture(f"CAM, {each.label}", "", alt, cam_pixels(each, image), photo=True)
    for each in example.predictions:
        alt = f"Mask of {example.name}, {each.label}"
        note = f"threshold {each.threshold:.2f}"
        yield Picture(f"Mask, {each.label}", note, alt, mask_pixels(each.mask, image))


def shown_size(image: UInt8[Tensor, "3 h w"], long_side: int = LONG_SIDE) -> Size:
    """Return rows and columns with the image's aspect, at most `long_side`; never enlarged."""
    height, width = image.shape[-2:]
    factor = min(1.0, long_side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def mask_values(example: Example) -> list[int]:
    """Return the classes that occur in the ground truth or a mask, and 255 if it occurs."""
    masks = [each.mask for each in example.predictions]
    masks += [] if example.truth is None else [example.truth]
    return sorted({int(value) for mask in masks for value in np.unique(mask.cpu())} - {0})


def hatching(height: int, width: int) -> Pixels:
    """Return grey diagonal stripes, which stand for no data."""
    rows, columns = np.indices((height, width))
    stripe = ((rows + columns) % 8 < 4).astype(np.intp)
    return np.array(STRIPES, dtype=np.uint8)[stripe]


def depth_pixels(view: DepthView, size: Size) -> Pixels:
    """Colour depth from near (bright) to far (dark); hatched where it was not measured.

    The colours span the 2nd to the 98th percentile of what was measured, so that single outliers
    do not darken all the rest.
    """
    valid = _nearest(view.valid, size)
    depth = _nearest(view.depth, size).astype(np.float64)
    if not valid.any():
        return hatching(*size)
    low, high = np.percentile(depth[valid], [2, 98])
    shade = np.clip((depth - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)
    shade = 1 - shade if view.metric else shade
    return _hatched(_coloured(DEPTH_MAP, np.where(valid, shade, 0.0)), valid)


def edge_pixels(view: DepthView, size: Size) -> Pixels:
    """Show the gate's activation from flat (black) to edge (white); hatched where not counted."""
    grey = np.clip((_nearest(view.gate, size) + 1) / 2, 0, 1)
    pixels = np.repeat(np.rint(grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    return _hatched(pixels, _nearest(view.counted, size))


def cam_pixels(prediction: Prediction, image: Pixels) -> Pixels:
    """Lay the winner's score over the grey image, and the outline of its mask in white."""
    size = (image.shape[0], image.shape[1])
    score = _smooth(prediction.score, size).clip(0, 1)
    opacity = 0.85 * np.sqrt(score)[..., None]
    grey = np.repeat(_grey(image)[..., None], 3, axis=2)
    pixels = grey * (1 - opacity) + _coloured(SCORE_MAP, score) * opacity
    outline = outlined(_nearest(prediction.mask, size))
    return np.where(outline[..., None], 255, np.rint(pixels)).astype(np.uint8)


def mask_pixels(mask: UInt8[Tensor, "h w"], image: Pixels) -> Pixels:
    """Paint classes in the palette's plain colours over the faded image; 255 is hatched."""
    values = _nearest(mask, (image.shape[0], image.shape[1]))
    faded = _grey(image) * (1 - _PAPER) + 255 * _PAPER
    pixels = np.repeat(np.rint(faded).astype(np.uint8)[..., None], 3, axis=2)
    for value in set(np.unique(values).tolist()) - {0, IGNORE}:
        pixels[values == value] = colour_of(value)
    return _hatched(pixels, values != IGNORE)


def data_uri(picture: Picture) -> str:
    """Return a picture as a data address, JPEG for photographs and PNG for all else."""
    stream = io.BytesIO()
    if picture.photo:
        Image.fromarray(picture.pixels).save(stream, format="JPEG", quality=88)
    else:
        Image.fromarray(picture.pixels).save(stream, format="PNG", optimize=True)
    return uri(stream.getvalue(), "jpeg" if picture.photo else "png")


def uri(data: bytes, kind: str) -> str:
    """Return the bytes of an image as a data address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def ramp(name: str, stops: int = 9) -> list[str]:
    """Return colours of a map from 0 to 1 as CSS takes them, for a legend."""
    colours = _coloured(name, np.linspace(0, 1, stops)[None])[0]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.tolist()]


def _depth_picture(example: Example, view: DepthView, size: Size) -> Picture:
    known = view.depth[view.valid]
    missing = 1 - float(view.valid.float().mean())
    parts = []
    if view.metric and known.numel():
        parts.append(f"{float(known.min()):.2f}\N{EN DASH}{float(known.max()):.2f} m")
    if missing > 0:
        parts.append(f"{missing:.0%} not measured")
    alt = f"Depth of {example.name}, near is bright, hatched where it was not measured"
    return Picture("Depth", ", ".join(parts), alt, depth_pixels(view, size))


def _edge_picture(example: Example, view: DepthView, size: Size) -> Picture:
    found = view.gate[view.counted] > 0
    share = float(found.float().mean()) if found.numel() else 0.0
    rows, columns = view.gate.shape
    note = f"{rows} by {columns} cells, {share:.0%} edge"
    alt = f"Depth edges of {example.name} on the loss's grid, edges are white"
    return Picture("Depth edges", note, alt, edge_pixels(view, size))


def _photo(image: UInt8[Tensor, "3 h w"], size: Size) -> Pixels:
    pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    return np.asarray(pixels.resize((size[1], size[0]), Image.Resampling.LANCZOS))


def _nearest(maps: Tensor, size: Size) -> np.ndarray:
    """Return the value at the centre of each new pixel, type unchanged."""
    wide = functional.interpolate(maps[None, None].double(), size, mode="nearest-exact")
    return np.asarray(wide[0, 0].to(maps.dtype).cpu())


def _smooth(maps: Float[Tensor, "h w"], size: Size) -> Float[np.ndarray, "h2 w2"]:
    wide = functional.interpolate(maps[None, None].float(), size, mode="bilinear", antialias=True)
    return np.asarray(wide[0, 0].cpu())


def _coloured(name: str, values: Float[np.ndarray, "rows columns"]) -> Pixels:
    return np.asarray(colormaps[name](values, bytes=True)[..., :3])


def _grey(image: Pixels) -> Float[np.ndarray, "rows columns"]:
    return np.asarray(image.astype(np.float64) @ _GREY)


def _hatched(pixels: Pixels, known: Bool[np.ndarray, "rows columns"]) -> Pixels:
    return np.where(known[..., None], pixels, hatching(*known.shape))
