"""Writes tiny data sets in `folder` format: a box on a slanted plane, seen by an exact camera."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 32)
TAGS = {"a": "cup", "b": "cup;plate", "c": "plate", "d": ""}
YAML = "classes: [cup, plate]\ndepth: {unit: mm, scale: 1.0, kind: metric}\nignore_index: 255\n"


def scene(seed: int = 0, size: tuple[int, int] = SIZE, value: int = 1):
    """Return an RGB image, depth in metres (0 in a corner), and a mask with the box."""
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    depth = 1.0 + 0.02 * rows + 0.0005 * columns
    mask = np.zeros(size, np.uint8)
    box = np.s_[height // 4 : height // 2, width // 4 : width // 2]
    depth[box] -= 0.3
    mask[box] = value
    depth[:3, :3] = 0
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return image, depth, mask


def save(path: Path, values: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def save_palette(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.reshape(-1).tolist())
    image.putpalette([7, 7, 7] * 256)  # colours that say nothing: only indices may be read
    image.save(path)
    return path


def millimetres(depth: np.ndarray) -> np.ndarray:
    return (depth * 1000).round().astype(np.uint16)


def write_folder(
    root: Path, tags: dict[str, str] | None = None, *, yaml: str | None = YAML
) -> Path:
    """Write images, 16-bit depth in millimetres, indexed masks, tags.csv and dataset.yaml."""
    tags = TAGS if tags is None else tags
    for seed, (name, text) in enumerate(tags.items()):
        image, depth, mask = scene(seed, value=2 if text == "plate" else 1)
        save(root / f"images/{name}.{'png' if seed % 2 else 'jpg'}", image)
        save(root / f"depth/{name}.png", millimetres(depth))
        save_palette(root / f"masks/{name}.png", mask if text else 0 * mask)
    rows = "".join(f"{name},{text}\n" for name, text in tags.items())
    (root / "tags.csv").write_text(f"name,tags\n{rows}")
    if yaml is not None:
        (root / "dataset.yaml").write_text(yaml)
    return root


def write_images(root: Path, *names: str) -> Path:
    """Write images only; a name may hold folders and a suffix."""
    for seed, name in enumerate(names):
        file = root / "images" / name
        save(file if file.suffix else file.with_suffix(".png"), scene(seed)[0])
    return root


def write_coco(file: Path, tags: dict[str, str], categories=("cup", "plate"), suffix=".jpg"):
    """Write a COCO json whose ids have gaps and whose file names hold a folder, as COCO's do."""
    ids = {name: 7 * (index + 1) for index, name in enumerate(tags)}
    kinds = {name: 10 * (index + 1) for index, name in enumerate(categories)}
    shown = [(ids[n], kinds[t]) for n, text in tags.items() for t in text.split(";") if t]
    data = {
        "images": [{"id": i, "file_name": f"photos/{n}{suffix}"} for n, i in ids.items()],
        "categories": [{"id": i, "name": n} for n, i in kinds.items()],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": [1, 1, 4, 4], "iscrowd": 0}
            for k, (i, c) in enumerate(shown)
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))
    return file
