"""Writes tiny data sets in COCO's format by hand: every part under control."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from make_folder import millimetres, save, scene

HEIGHT, WIDTH = 24, 32
IDS = {"person": 1, "stop sign": 13, "toothbrush": 90}
"""Three of COCO's categories; mask values are 1, 2, 3."""


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def plain_runs(pixels: np.ndarray) -> dict[str, Any]:
    """Return run lengths, counted one pixel after the other, columns first."""
    counts, value = [0], False
    for pixel in pixels.T.ravel():
        if bool(pixel) != value:
            counts.append(0)
            value = bool(pixel)
        counts[-1] += 1
    return {"counts": counts, "size": list(pixels.shape)}


def crowd() -> dict[str, Any]:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[2:20, 1:30] = True
    return plain_runs(pixels)


def annotation(image_id: int, name: str, segmentation: Any, area: float, **more: Any) -> dict:
    told = {"image_id": image_id, "category_id": IDS[name], "iscrowd": 0, "bbox": [0, 0, 1, 1]}
    return {**told, "segmentation": segmentation, "area": area, **more}


def content(key: str = "train2014") -> dict[str, Any]:
    """Return an annotation file: overlaps, a crowd region, an image without annotation."""
    ids = (9, 25, 30, 36)
    images = [
        {"id": i, "file_name": f"COCO_{key}_{i:012d}.jpg", "height": HEIGHT, "width": WIDTH}
        for i in ids
    ]
    annotations = [
        annotation(25, "stop sign", box(0, 0, 6, 6) + box(24, 10, 30, 14), 60.0),
        annotation(9, "person", box(2, 2, 12, 12), 100.0),
        annotation(9, "stop sign", box(8, 8, 14, 20), 72.0),
        annotation(25, "person", crowd(), 522.0, iscrowd=1),
        annotation(25, "toothbrush", box(4, 4, 20, 20), 256.0),
        annotation(36, "stop sign", box(3, 3, 9, 9), 36.0),
        annotation(36, "person", box(6, 3, 12, 9), 36.0),
    ]
    return {
        "info": {"year": 2014},
        "images": images,
        "annotations": [{**entry, "id": 100 + n} for n, entry in enumerate(annotations)],
        "categories": [{"id": i, "name": n} for n, i in reversed(IDS.items())],
    }


def write_coco(root: Path, *, years: tuple[str, ...] = ("2014",), images: str = "{}") -> Path:
    """Write `train` and `val` of each year and return the root."""
    for year in years:
        for part in ("train", "val"):
            write_part(root, f"{part}{year}", content(f"{part}{year}"), images.format(part + year))
    return root


def write_part(root: Path, key: str, told: dict[str, Any], images: str | None = None) -> Path:
    """Write an annotation file with its images and depth; return the file."""
    for seed, entry in enumerate(told["images"]):
        image, depth, _ = scene(seed)
        save(root / (images or key) / entry["file_name"], image)
        save(root / "depth" / Path(entry["file_name"]).with_suffix(".png"), millimetres(depth))
    file = root / f"annotations/instances_{key}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told))
    return file
