"""BOP: a mask of each visible object, and the scene's JSON files about them."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dealseg.data.frames import FrameDataset
from dealseg.exporting.coco import head, measures
from dealseg.exporting.instances import Instance, find_instances
from dealseg.exporting.json_writing import Entries, coco_file
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.pictures import encoded, write_bytes, write_names
from dealseg.exporting.run_lengths import coco_counts
from dealseg.exporting.source import Item, Source
from dealseg.exporting.target import write_lines

DEFAULTS = {"instances": "class", "min_area": 0}

_SCENE = "000001"
"""Where images that are not in scenes of their own go."""


class _Place(NamedTuple):
    """Where an image goes: scene folder, image id, and its place in the data set."""

    scene: str
    image_id: int
    where: int


def write_bop(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write each scene's `mask_visib/`, `scene_gt.json`, `scene_gt_info.json` and COCO's file.

    The images of a BOP data set keep scene and image id; others go to one scene, numbered from 0,
    and `names.csv` says which is which. The index of an object in an image is new: it is not that
    of the data set's own `scene_gt.json`. A tag says nothing of poses, so `scene_gt.json` has
    `obj_id` alone, and `scene_gt_info.json` what is visible alone. Ignored pixels belong to no
    object.
    """
    places = sorted(_places(source))
    items = source.items([place.where for place in places])
    for scene, members in groupby(places, key=lambda place: place.scene):
        _write_scene(source, folder / scene, list(members), items, options)
    exported = {source.dataset.names[p.where]: f"{p.scene}/{p.image_id:06d}" for p in places}
    write_names(folder / "names.csv", exported)
    return [f"obj_id are those of {source.ids_from}", "scene_gt.json has no poses"]


def _places(source: Source) -> Iterator[_Place]:
    if not is_bop(source.dataset):
        yield from (_Place(_SCENE, number, i) for number, i in enumerate(source.places))
        return
    for index in source.places:
        path = PurePosixPath(source.dataset.names[index])
        scene = str(path.parent)
        yield _Place(
            source.dataset.root.resolve().name if scene == "." else scene, int(path.name), index
        )


def is_bop(dataset: Any) -> bool:
    """Return whether a data set is of BOP's scenes: its frames have folders of their own."""
    return isinstance(dataset, FrameDataset) and dataset.frames[0].home is not None


def _write_scene(
    source: Source,
    scene: Path,
    places: Sequence[_Place],
    items: Iterator[Item],
    options: ExportOptions,
) -> None:
    truth: dict[str, list[dict[str, Any]]] = {}
    info: dict[str, list[dict[str, Any]]] = {}
    with coco_file(scene / "scene_gt_coco.json", head(source)) as (images, objects):
        for place, item in zip(places, items, strict=False):
            found = find_instances(item.mask, str(options.instances), options.min_area or 0)
            key = str(place.image_id)
            truth[key] = [{"obj_id": source.category_ids[each.value - 1]} for each in found]
            info[key] = [{"bbox_visib": e.box, "px_count_visib": e.area} for e in found]
            _write_masks(scene / "mask_visib", place.image_id, found)
            _add_image(images, place, item)
            for each in found:
                _add_object(objects, place, each, source.category_ids[each.value - 1])
    for name, content in (("scene_gt", truth), ("scene_gt_info", info)):
        lines = [f'"{key}": {json.dumps(entries)}' for key, entries in content.items()]
        write_lines(scene / f"{name}.json", ["{", ",\n".join(lines), "}"])


def _write_masks(folder: Path, image_id: int, found: Sequence[Instance]) -> None:
    for number, each in enumerate(found):
        picture = Image.fromarray(each.whole.astype(np.uint8) * 255)
        write_bytes(folder / f"{image_id:06d}_{number:06d}.png", encoded(picture))


def _add_image(images: Entries, place: _Place, item: Item) -> None:
    height, width = item.mask.shape
    file = f"{item.image.parent.name}/{item.image.name}"
    images.add({"id": place.image_id, "file_name": file, "height": height, "width": width})


def _add_object(objects: Entries, place: _Place, found: Instance, category: int) -> None:
    height, width = found.size
    counts = coco_counts(found)
    objects.add(
        {
            "id": objects.count + 1,
            "image_id": place.image_id,
            "category_id": category,
            "segmentation": {"size": [height, width], "counts": counts},
            **measures(found),
            "width": width,
            "height": height,
            "ignore": False,
        }
    )
