"""COCO instances: `instances.json` with compressed run lengths, and the map of its categories."""

import json
from pathlib import Path
from typing import Any

from dealseg.exporting.instances import Instance, find_instances
from dealseg.exporting.json_writing import coco_file
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.run_lengths import coco_counts, compressed
from dealseg.exporting.source import Source
from dealseg.exporting.target import write_lines

DEFAULTS = {"instances": "components", "min_area": 0}


def write_coco(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write `instances.json` and `categories.json`.

    Images are numbered from 1 in the data set's order and named relative to the data set, unless
    the data set has ids of its own for them. 255 has no place in COCO: ignored pixels belong to no
    object.
    """
    ids = image_ids(source)
    with coco_file(folder / "instances.json", head(source)) as (images, objects):
        for place, item in zip(source.places, source.items(), strict=True):
            height, width = item.mask.shape
            file = source.relative(item.image)
            images.add({"id": ids[place], "file_name": file, "height": height, "width": width})
            for found in find_instances(item.mask, str(options.instances), options.min_area or 0):
                objects.add(
                    {
                        "id": objects.count + 1,
                        "image_id": ids[place],
                        "category_id": source.category_ids[found.value - 1],
                        "segmentation": {
                            "size": [height, width],
                            "counts": compressed(coco_counts(found)),
                        },
                        **measures(found),
                    }
                )
        remark = f"{objects.count} objects in {images.count} images"
    write_lines(folder / "categories.json", [json.dumps(category_map(source), indent=1)])
    return [remark, f"category ids are those of {source.ids_from}: categories.json"]


def image_ids(source: Source) -> dict[int, int]:
    """Return an id for each image: the data set's own where it has some, else from 1."""
    own = getattr(source.dataset, "image_ids", None)
    numbers = range(1, len(source.places) + 1)
    if own is None:
        return dict(zip(source.places, numbers, strict=True))
    return {place: int(own[place]) for place in source.places}


def head(source: Source) -> dict[str, Any]:
    """Return what a COCO file says beside images and annotations."""
    categories = [
        {"id": i, "name": name, "supercategory": ""}
        for i, name in sorted(zip(source.category_ids, source.classes, strict=True))
    ]
    info = {"description": "masks exported by dealseg", "version": "1"}
    return {"info": info, "licenses": [], "categories": categories}


def measures(found: Instance) -> dict[str, Any]:
    """Return what COCO says of an object beside its outline."""
    return {"area": found.area, "bbox": found.box, "iscrowd": 0}


def category_map(source: Source) -> dict[str, Any]:
    """Return which mask value and class a category id is, and who says so."""
    pairs = zip(source.category_ids, source.classes, strict=True)
    categories = [
        {"category_id": i, "mask_value": value, "name": name}
        for value, (i, name) in enumerate(pairs, start=1)
    ]
    return {"ids_from": source.ids_from, "categories": categories}
