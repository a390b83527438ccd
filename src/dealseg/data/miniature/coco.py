"""A tiny rendered copy of MS COCO 2014: annotation files with polygons and crowds, and images."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from tqdm import tqdm

from dealseg.data.miniature.pictures import Shot, begin, empty, film, write_depths, write_photo
from dealseg.errors import DataError

VERSION = 1
"""Grows whenever the same arguments give other bytes."""
CATEGORIES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - "
    "backpack umbrella - - handbag tie suitcase frisbee skis snowboard sports_ball kite "
    "baseball_bat baseball_glove skateboard surfboard tennis_racket bottle - wine_glass cup fork "
    "knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair "
    "couch potted_plant bed - dining_table - - toilet - tv laptop mouse remote keyboard cell_phone "
    "microwave oven toaster sink refrigerator - book clock vase scissors teddy_bear hair_drier "
    "toothbrush"
)
"""COCO's categories in the order of their ids 1 to 90, `-` where there is none."""
NAMES = (
    "book", "laptop", "vase", "bowl", "bottle", "hair drier", "cup", "sports ball", "toothbrush",
    "couch",
)  # fmt: skip
"""The category that stands for each class of the renderer; most ids lie behind a gap."""
CROWD_EVERY = 4

Json = dict[str, Any]
Point = tuple[int, int]
Pixels = Bool[np.ndarray, "h w"]


def write_coco_miniature(
    root: Path, *, images: int = 12, val_images: int = 6, size: int = 64, seed: int = 0
) -> None:
    """Render `root` with `train2014/`, `val2014/` and `annotations/instances_*2014.json`.

    As in the real set: all 80 categories with ids from 1 to 90; outlines as polygons, in every
    fourth image one object as a crowd region in run lengths; one image of each split without any
    annotation, which makes the two lists differ. COCO has no depth; here `depth/` and
    `depth_estimate/` lie beside. The same arguments give the same bytes.

    Args:
        root: a new or empty folder, or one of an earlier call with the same arguments.
        images: of train2014, with the one that has no annotation.
        val_images: of val2014, likewise.
        size: longer side in pixels.
        seed: of everything random.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if `root` holds something else or cannot be written.
    """
    told = {"images": images, "val_images": val_images, "size": size, "seed": seed, "coco": VERSION}
    try:
        if begin(root, root / "annotations/instances_val2014.json", told):
            _write_split(root, "train2014", 0, images, size, seed)
            _write_split(root, "val2014", 1, val_images, size, seed)
    except OSError as error:
        raise DataError(f"{root}: cannot write the miniature ({error})") from error


def category_ids() -> dict[str, int]:
    """Return the id of each of COCO's 80 categories."""
    names = CATEGORIES.split()
    return {name.replace("_", " "): i for i, name in enumerate(names, start=1) if name != "-"}


def _write_split(root: Path, key: str, split: int, count: int, size: int, seed: int) -> None:
    listed, annotations = [], list[Json]()
    shots = chain(film(seed, split, count - 1, size), [empty(seed, split, size)])
    for number, shot in enumerate(tqdm(shots, desc=key, total=count, disable=None)):
        image_id = 7 * number + 9 + split
        name = f"COCO_{key}_{image_id:012d}"
        write_photo(root / key / f"{name}.jpg", shot)
        write_depths(root, name, shot)
        height, width = shot.metres.shape
        size_and_id = {"height": height, "width": width, "id": image_id}
        listed.append({"license": 1, "file_name": f"{name}.jpg", **size_and_id})
        crowded = len(shot.objects) - 1 if number % CROWD_EVERY == CROWD_EVERY - 1 else -1
        for place, annotation in enumerate(_annotations(shot, image_id, crowded)):
            annotations.append({**annotation, "id": 1000 * image_id + place})
    content = {
        "info": {"description": "rendered, in the format of COCO 2014"},
        "images": listed,
        "licenses": [{"id": 1, "name": "as this program", "url": ""}],
        "annotations": annotations,
        "categories": [
            {"id": i, "name": n, "supercategory": ""} for n, i in category_ids().items()
        ],
    }
    file = root / f"annotations/instances_{key}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _annotations(shot: Shot, image_id: int, crowded: int) -> Iterator[Json]:
    for place, (kind, pixels) in enumerate(shot.objects):
        rows, columns = np.nonzero(pixels)
        corner = [float(columns.min()), float(rows.min())]
        crowd = place == crowded
        yield {
            "segmentation": runs(pixels) if crowd else polygons(pixels),
            "area": float(pixels.sum()),
            "iscrowd": int(crowd),
            "image_id": image_id,
            "bbox": [*corner, float(np.ptp(columns)) + 1, float(np.ptp(rows)) + 1],
            "category_id": category_ids()[NAMES[kind]],
        }


def runs(pixels: Pixels) -> Json:
    """Return COCO's run lengths of a region: columns first, background and region in turn."""
    flat = pixels.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(changes, prepend=0, append=len(flat)).tolist()
    return {"counts": counts, "size": list(pixels.shape)}


def polygons(pixels: Pixels) -> list[list[float]]:
    """Return the outer outlines of a region along the pixels' borders; holes are filled, as drawn.

    Every border between a pixel inside and one outside becomes an edge with the inside on its
    right; edges are joined end to start, and closed walks that turn clockwise are outlines.
    """
    edges = _edges(pixels)
    found = []
    while edges:
        point = start = next(iter(edges))
        walk = []
        while True:
            walk.append(point)
            point = edges[point].pop() if len(edges[point]) > 1 else edges.pop(point)[0]
            if point == start:  # as many edges enter a point as leave it: every walk returns
                break
        corners = _corners(walk)
        if _area(corners) > 0:
            found.append([float(number) for corner in corners for number in corner])
    return found


def _edges(pixels: Pixels) -> dict[Point, list[Point]]:
    """Return where the edges lead that begin at each corner of pixels."""
    wide = np.pad(pixels, 1)
    sides = {
        ((0, 0), (1, 0)): wide[:-2, 1:-1],  # the border above, to the right
        ((1, 0), (1, 1)): wide[1:-1, 2:],  # on the right, down
        ((1, 1), (0, 1)): wide[2:, 1:-1],  # below, to the left
        ((0, 1), (0, 0)): wide[1:-1, :-2],  # on the left, up
    }
    edges: dict[Point, list[Point]] = {}
    for ((x1, y1), (x2, y2)), neighbour in sides.items():
        for row, column in np.argwhere(pixels & ~neighbour).tolist():
            edges.setdefault((column + x1, row + y1), []).append((column + x2, row + y2))
    return edges


def _corners(walk: list[Point]) -> list[Point]:
    """Return the points of a closed walk at which it turns."""
    around = zip(walk[-1:] + walk[:-1], walk, walk[1:] + walk[:1], strict=True)
    return [(x, y) for (x0, y0), (x, y), (x1, y1) in around if (x - x0, y - y0) != (x1 - x, y1 - y)]


def _area(corners: list[Point]) -> float:
    """Return the area inside, above 0 if the corners go round clockwise (y points down)."""
    following = corners[1:] + corners[:1]
    pairs = zip(corners, following, strict=True)
    return sum(x * y1 - x1 * y for (x, y), (x1, y1) in pairs) / 2
