"""Hugging Face `imagefolder`: images and masks with `metadata.jsonl`, and a dataset card."""

import json
from pathlib import Path
from typing import Any

import yaml

from dealseg.data.base import IGNORE
from dealseg.data.palette import palette
from dealseg.exporting.naming import flat_names, split_label
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.pictures import indexed_png, place_image, write_bytes
from dealseg.exporting.source import Item, Source
from dealseg.exporting.target import write_lines

DEFAULTS = {"images": "copy"}


def write_hf(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write `SPLIT/images/`, `SPLIT/masks/`, `SPLIT/metadata.jsonl`, `README.md`, `id2label.json`.

    The mask is the column `mask` of the loaded data set, an indexed picture whose numbers are the
    classes; 255 stays 255.
    """
    flat = flat_names(source.names)
    split = split_label(source.split, "train")
    colours = palette()
    lines = []
    for item in source.items():
        name, part = flat[item.name], folder / split
        write_bytes(part / f"masks/{name}.png", indexed_png(item.mask, colours))
        image = place_image(item.image, part / "images" / name, str(options.images))
        lines.append(json.dumps(_row(source, item, image.name, name)))
    write_lines(folder / split / "metadata.jsonl", lines)
    labels = {str(k): name for k, name in enumerate(("background", *source.classes))}
    write_lines(folder / "id2label.json", [json.dumps(labels, indent=1)])
    write_lines(folder / "README.md", _card(source, split, len(lines)))
    return [f"load_dataset('imagefolder', data_dir=OUT) gives the split {split!r}"]


def _row(source: Source, item: Item, image: str, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"file_name": f"images/{image}", "mask_file_name": f"masks/{name}.png"}
    row["classes"] = [source.classes[value - 1] for value in item.classes]
    row["name"] = item.name
    if source.masks.facts.get("masks"):
        row["confidence"] = item.confidence
    return row


def _card(source: Source, split: str, images: int) -> list[str]:
    part = {"split": split, "path": f"{split}/**"}
    config = {"config_name": "default", "drop_labels": True, "data_files": [part]}
    head = {"task_categories": ["image-segmentation"], "configs": [config]}
    table = [f"| {k} | {_cell(name)} |" for k, name in enumerate(source.classes, start=1)]
    return [
        "---",
        *yaml.safe_dump(head, sort_keys=False).splitlines(),
        "---",
        "",
        "# Images with segmentation masks",
        "",
        f"{images} images with masks made by dealseg from image-level tags: estimates, not ground "
        "truth.",
        "The licence of the images is that of the data set they come from.",
        "",
        "| value in `mask` | class |",
        "| ---: | --- |",
        "| 0 | background |",
        *table,
        f"| {IGNORE} | ignored: not sure |",
    ]


def _cell(name: str) -> str:
    return name.replace("\\", "\\\\").replace("|", "\\|")
