"""PASCAL VOC: palette masks, images under flat names, and the list of them."""

from pathlib import Path

from dealseg.data.base import IGNORE
from dealseg.data.files import file_error
from dealseg.data.palette import colour_of, palette
from dealseg.exporting.naming import flat_names, split_label
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.pictures import indexed_png, place_image, write_bytes, write_names
from dealseg.exporting.source import Source
from dealseg.exporting.target import write_lines

DEFAULTS = {"images": "copy"}

LISTS = "ImageSets/Segmentation"
CLASS_MASKS = "SegmentationClass"
LABEL_MAP = "labelmap.txt"


def write_voc(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write `SegmentationClass/`, `JPEGImages/`, the split's list, `labelmap.txt` and `names.csv`.

    Values and colours are VOC's own; 255 stays 255, which VOC ignores.
    """
    flat = flat_names(source.names)
    colours = palette()
    lines = label_map(source, {**_values(source), IGNORE: "ignored"})
    for item in source.items():
        name = flat[item.name]
        write_bytes(folder / f"{CLASS_MASKS}/{name}.png", indexed_png(item.mask, colours))
        place_image(item.image, folder / "JPEGImages" / name, str(options.images))
    listed = split_label(source.split, "default")
    write_lines(folder / f"{LISTS}/{listed}.txt", list(flat.values()))
    write_lines(folder / LABEL_MAP, lines)
    write_names(folder / "names.csv", flat)
    return [f"{len(flat)} images in {LISTS}/{listed}.txt"]


def _values(source: Source) -> dict[int, str]:
    return dict(enumerate(("background", *source.classes)))


def label_map(source: Source, values: dict[int, str]) -> list[str]:
    """Return the lines `name:r,g,b::` that declare the colours of mask values.

    Raises:
        DataError: if a class name would break a line, or is that of another value.
    """
    for name in source.classes:
        if ":" in name or name.startswith("#"):
            problem = f"the class {name!r} cannot be written to labelmap.txt (no `:`, no `#` first)"
            raise file_error(source.masks.root, problem)
    if len(set(values.values())) < len(values):
        raise file_error(source.masks.root, "a class must not be called `ignored` here; rename it")
    lines = [f"{name}:{_text(colour_of(value))}::" for value, name in values.items()]
    return ["# label:color_rgb:parts:actions", *lines]


def _text(colour: tuple[int, int, int]) -> str:
    return ",".join(map(str, colour))
