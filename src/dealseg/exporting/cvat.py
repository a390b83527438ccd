"""CVAT's "Segmentation mask 1.1": a zip of class and object masks, every colour declared."""

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from dealseg.data.base import IGNORE
from dealseg.data.files import file_error
from dealseg.data.palette import colour_of, palette
from dealseg.exporting.instances import Instance, find_instances
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.pictures import indexed_png
from dealseg.exporting.source import Item, Source
from dealseg.exporting.target import write_lines
from dealseg.exporting.voc import CLASS_MASKS, LABEL_MAP, LISTS, label_map

DEFAULTS = {"instances": "components", "min_area": 0, "ignored": "background"}

ARCHIVE = "annotations.zip"
LABELS = "task_labels.json"
_OBJECTS = 255
"""Colours of objects that CVAT's reader knows."""


def write_cvat(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write `annotations.zip`, and `task_labels.json` for the raw label constructor of a CVAT task.

    Masks are named by paths, since CVAT finds images by them. Ignored pixels become background,
    or the class `ignored` with the value after the last: an undeclared 255 fails the import
    (cvat#7847). An image of more than 255 objects gets one object per class.
    """
    values = dict(enumerate(("background", *source.classes)))
    if options.ignored == "label":
        if len(values) >= IGNORE:
            raise file_error(source.masks.root, "254 classes leave no value for `ignored`")
        values[len(values)] = "ignored"
    lines = label_map(source, values)
    colours, names, crowded = palette(), list[str](), 0
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, LABEL_MAP, "".join(f"{line}\n" for line in lines).encode())
        for item in source.items():
            shown, objects, many = _drawn(item, options, len(values) - 1)
            names.append(_frame_name(source, item))
            _add(archive, f"{CLASS_MASKS}/{names[-1]}.png", indexed_png(shown, colours))
            _add(archive, f"SegmentationObject/{names[-1]}.png", indexed_png(objects, colours))
            crowded += many
        listed = "".join(f"{name}\n" for name in names)
        _add(archive, f"{LISTS}/default.txt", listed.encode())
    write_lines(folder / LABELS, [json.dumps(_labels(values), indent=1)])
    remark = f"{crowded} images have more than {_OBJECTS} objects: there, one object per class"
    return [remark] if crowded else []


def _frame_name(source: Source, item: Item) -> str:
    """Return the image's path without suffix: its name, or all of it where that leaves folders out.

    CVAT adds folders in front of a name to find its image, but none in the middle, which a name in
    a BOP data set lacks (`SCENE/000001` is `SCENE/rgb/000001.png`).
    """
    path = str(PurePosixPath(source.relative(item.image)).with_suffix(""))
    if re.search(r"[\n\r\ud800-\udfff]", path):
        problem = "CVAT's list of images has no place for line breaks and bytes that are no text"
        raise file_error(source.dataset.root, f"{problem}; rename the image {path!r}")
    return item.name if f"/{path}".endswith(f"/{item.name}") else path


def _drawn(
    item: Item, options: ExportOptions, last: int
) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"], bool]:
    """Return class mask, object mask, and whether there were too many objects."""
    ignored = last if options.ignored == "label" else 0
    mask = np.where(item.mask == IGNORE, np.uint8(ignored), item.mask)
    found = find_instances(mask, str(options.instances), options.min_area or 0)
    many = len(found) > _OBJECTS
    kept = _painted(found, [each.value for each in found], mask.shape)
    if many:
        found = find_instances(kept, "class")
    return kept, _painted(found, range(1, len(found) + 1), mask.shape), many


def _painted(
    found: Sequence[Instance], values: Sequence[int], size: tuple[int, ...]
) -> UInt8[np.ndarray, "h w"]:
    picture = np.zeros(size, np.uint8)
    for each, value in zip(found, values, strict=True):
        left, top, width, height = each.box
        picture[top : top + height, left : left + width][each.pixels] = value
    return picture


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file with the same bytes at any time and on any system."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def _labels(values: dict[int, str]) -> list[dict[str, object]]:
    return [
        {"name": name, "color": hex_colour(value), "type": "mask", "attributes": []}
        for value, name in values.items()
        if value
    ]


def hex_colour(value: int) -> str:
    """Return the colour of a mask value as `#rrggbb`."""
    return "#" + bytes(colour_of(value)).hex()
