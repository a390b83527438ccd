"""Writes tiny data sets in BOP format, after docs/bop_datasets_format.md of bop_toolkit."""

import gzip
import json
from pathlib import Path

import numpy as np
from make_folder import SIZE, save, scene

IDS = (0, 8, 15)
"""Frame ids with gaps, as HANDAL has them."""


def dump(file: Path, data, *, zipped: bool = False) -> None:
    text = json.dumps(data)
    if zipped:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text)


def write_scene(
    folder: Path,
    objects: tuple[int, ...] = (5,),
    *,
    ids: tuple[int, ...] = IDS,
    visible: tuple[float, ...] | None = None,
    scale: float = 0.1,
    rgb: str = "rgb/{:06d}.png",
    depth: str | None = "depth",
    zipped: bool = False,
) -> Path:
    """Write a scene: object `n` of each image covers the n-th quarter of the columns.

    Args:
        folder: of the scene.
        objects: `obj_id` of each instance, in the order of `scene_gt.json`.
        ids: of the frames.
        visible: `visib_fract` of each instance; all 1 by default.
        scale: `depth_scale`, factor to millimetres.
        rgb: pattern of the image files.
        depth: folder of the depth files, None for none.
        zipped: write `.json.gz`.
    """
    visible = visible or (1.0,) * len(objects)
    camera, truth, info = {}, {}, {}
    for image_id in ids:
        image, metres, _ = scene(image_id)
        grey = image[..., 0] if rgb.startswith("gray") else image
        save(folder / rgb.format(image_id), grey)
        if depth:
            raw = (metres * 1000 / scale).round().astype(np.uint16)
            save(folder / depth / f"{image_id:06d}.png", raw)
        for index in range(len(objects)):
            save(folder / f"mask_visib/{image_id:06d}_{index:06d}.png", quarter(index))
        camera[str(image_id)] = {"cam_K": [50, 0, 16, 0, 50, 12, 0, 0, 1], "depth_scale": scale}
        pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 1000]}
        truth[str(image_id)] = [{**pose, "obj_id": obj_id} for obj_id in objects]
        info[str(image_id)] = [{"visib_fract": share, "px_count_visib": 9} for share in visible]
    for name, data in (("scene_camera", camera), ("scene_gt", truth), ("scene_gt_info", info)):
        dump(folder / f"{name}.json", data, zipped=zipped)
    return folder


def quarter(index: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 8 * index : 8 * index + 8] = 255
    return mask


def write_bop(root: Path) -> Path:
    """Write a root with two splits whose objects differ."""
    write_scene(root / "train/000003", (5, 9))
    write_scene(root / "train/000004", (9,))
    write_scene(root / "val/000001", (2, 5))
    (root / "models").mkdir()
    return root


def write_onboarding(root: Path, objects: tuple[int, ...] = (1, 2), **options) -> Path:
    """Write both sides of each object, JPEG images, below `root`."""
    for obj_id in objects:
        for side in ("up", "down"):
            folder = root / f"obj_{obj_id:06d}_{side}"
            write_scene(folder, (obj_id,), **{"rgb": "rgb/{:06d}.jpg", **options})
    return root
