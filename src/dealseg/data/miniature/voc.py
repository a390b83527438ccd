"""A tiny rendered copy of PASCAL VOC 2012 with SBD's masks, in the layout of VOCdevkit."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from jaxtyping import Bool
from PIL import Image
from tqdm import tqdm

from dealseg.data.base import IGNORE
from dealseg.data.masks import Mask
from dealseg.data.miniature.pictures import Shot, begin, film, write_depths, write_photo
from dealseg.data.voc_tags import CLASSES, CLS_LABELS
from dealseg.errors import DataError

VERSION = 1
"""Grows whenever the same arguments give other bytes."""
NAMES = (
    "tvmonitor", "bus", "car", "train", "bottle", "pottedplant", "chair", "sheep", "boat", "sofa",
)  # fmt: skip
"""The class of VOC that stands for each class of the renderer."""

Pixels = Bool[np.ndarray, "h w"]


def write_voc_miniature(
    root: Path, *, images: int = 12, val_images: int = 6, size: int = 64, seed: int = 0
) -> None:
    """Render `root/VOCdevkit/VOC2012` with its lists, XML files, palette masks and tags.

    As in the real set: JPEG photographs; `SegmentationClass` with a rim of 255 round every object
    for train and val; `SegmentationClassAug` without rims for all, as SBD has them; the lists
    train (every second training image), train_aug, val and trainval; `cls_labels.npy`. VOC has no
    depth; here `depth/` and `depth_estimate/` lie beside. The names are VOC's, the things are
    those of `dealseg synth`. The same arguments give the same bytes.

    Args:
        root: a new or empty folder, or one of an earlier call with the same arguments.
        images: of train_aug.
        val_images: of val.
        size: longer side in pixels.
        seed: of everything random.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if `root` holds something else or cannot be written.
    """
    told = {"images": images, "val_images": val_images, "size": size, "seed": seed, "voc": VERSION}
    home = root / "VOCdevkit/VOC2012"
    try:
        if begin(root, home / CLS_LABELS, told):
            _write(home, (images, val_images), size, seed)
    except OSError as error:
        raise DataError(f"{root}: cannot write the miniature ({error})") from error


def _write(home: Path, counts: tuple[int, int], size: int, seed: int) -> None:
    lists: dict[str, list[str]] = {"train": [], "train_aug": [], "val": [], "trainval": []}
    tags: dict[str, np.ndarray] = {}
    for split, count in enumerate(counts):
        shots = film(seed, split, count, size)
        for number, shot in enumerate(tqdm(shots, desc="voc", total=count, disable=None)):
            name = f"{2007 + split}_{number + 1:06d}"
            official = bool(split) or number % 2 == 0
            _write_image(home, name, shot, official=official)
            tags[name] = np.isin(
                np.arange(len(CLASSES)), [_place(kind) for kind, _ in shot.objects]
            )
            for listed, wanted in {
                "train": official and not split, "train_aug": not split, "val": split,
                "trainval": official,
            }.items():  # fmt: skip
                lists[listed] += [name] * bool(wanted)
    folder = home / "ImageSets/Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    for listed, names in lists.items():
        (folder / f"{listed}.txt").write_text("\n".join(names))  # without a last line break
    table: Any = {name: row.astype(np.float32) for name, row in tags.items()}
    np.save(home / CLS_LABELS, table, allow_pickle=True)


def _place(kind: int) -> int:
    return CLASSES.index(NAMES[kind])


def _write_image(home: Path, name: str, shot: Shot, *, official: bool) -> None:
    write_photo(home / f"JPEGImages/{name}.jpg", shot)
    write_depths(home, name, shot)
    mask = np.zeros(shot.metres.shape, np.uint8)
    rim = np.zeros(mask.shape, bool)
    for kind, pixels in shot.objects:
        mask[pixels] = _place(kind) + 1
        rim |= _grown(pixels) & ~_shrunk(pixels)
    _save_mask(home / f"SegmentationClassAug/{name}.png", mask)
    if official:
        _save_mask(home / f"SegmentationClass/{name}.png", np.where(rim, np.uint8(IGNORE), mask))
    annotation = home / f"Annotations/{name}.xml"
    annotation.parent.mkdir(parents=True, exist_ok=True)
    annotation.write_bytes(_xml(name, shot, segmented=official))


def _grown(pixels: Pixels) -> Pixels:
    """Return the pixels and their neighbours above, below and beside."""
    wide = np.pad(pixels, 1)
    beside = wide[2:, 1:-1] | wide[:-2, 1:-1] | wide[1:-1, 2:] | wide[1:-1, :-2]
    return np.asarray(pixels | beside)


def _shrunk(pixels: Pixels) -> Pixels:
    return np.asarray(~_grown(~pixels))


def _save_mask(file: Path, mask: Mask) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    image.putpalette(_colours())
    image.save(file)


def _colours() -> bytes:
    """Return VOC's colour map: the bits of an index, spread over the channels from the top."""
    index = np.arange(256, dtype=np.uint8)
    bits = (index[:, None, None] >> np.arange(8)) & 1
    channels = [(bits[:, 0, c::3] << (7 - np.arange(len(range(c, 8, 3))))).sum(1) for c in range(3)]
    return bytes(np.stack(channels, axis=1).astype(np.uint8))


def _xml(name: str, shot: Shot, *, segmented: bool) -> bytes:
    height, width = shot.metres.shape
    parts: dict[str, Any] = {
        "folder": "VOC2012", "filename": f"{name}.jpg", "source": {"database": "rendered"},
        "size": {"width": width, "height": height, "depth": 3}, "segmented": int(segmented),
    }  # fmt: skip
    root = _element("annotation", parts)
    for kind, pixels in shot.objects:
        rows, columns = np.nonzero(pixels)
        box = {
            "xmin": columns.min() + 1, "ymin": rows.min() + 1,
            "xmax": columns.max() + 1, "ymax": rows.max() + 1,
        }  # fmt: skip
        told = {"name": NAMES[kind], "pose": "Unspecified", "truncated": 0, "difficult": 0}
        root.append(_element("object", {**told, "bndbox": box}))
    ET.indent(root, "\t")
    return ET.tostring(root)


def _element(tag: str, content: Any) -> ET.Element:
    element = ET.Element(tag)
    if isinstance(content, dict):
        element.extend(_element(key, value) for key, value in content.items())
    else:
        element.text = str(content)
    return element
