"""Scenes written as a BOP data set, one at a time: a broken run goes on where it stopped."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from dealseg.data.synthetic.film import Picture, film_scene
from dealseg.data.synthetic.plan import FRAMES
from dealseg.data.synthetic.things import CLASSES
from dealseg.errors import ConfigError, DataError

VERSION = 1
"""Grows whenever the same seed gives other pictures."""
SPLITS = ("train", "val")
MANIFEST = "synthetic.json"
SMALLEST = 16
"""Least width and height in pixels."""


def write_synthetic(
    out: Path,
    *,
    images: int = 200,
    val_images: int = 60,
    size: int = 192,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Render a tabletop data set with tags, depth and masks, and write it in BOP's layout.

    The same arguments give the same bytes. A scene depends on seed, split, size and its index
    alone, not on how many there are. An interrupted run is taken up by calling it again: scenes
    appear whole or not at all, and those that are there are kept.

    Args:
        out: folder; made if missing.
        images: number of training images.
        val_images: number of validation images, of other scenes.
        size: width and height in pixels.
        seed: of everything random.
        progress: whether to show a bar where there is a terminal.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if `out` holds something else, or cannot be written.
    """
    _check({"images": images, "val_images": val_images, "size": size, "seed": seed})
    told = {
        "images": images,
        "seed": seed,
        "size": size,
        "val_images": val_images,
        "version": VERSION,
    }
    try:
        claim_folder(out, told)
        with tqdm(
            total=images + val_images, unit="image", disable=None if progress else True
        ) as bar:
            for split, count in enumerate((images, val_images)):
                for index, frames in enumerate(_lengths(count)):
                    write_scene(
                        out / SPLITS[split] / f"{index:06d}",
                        film_scene(seed, split, index, size, frames),
                    )
                    bar.update(frames)
        _put(out / "dataset.yaml", yaml.safe_dump({"classes": list(CLASSES)}))
    except OSError as error:
        raise DataError(
            f"{out}: cannot write the data set ({error}); choose a writable folder with room"
        ) from error


def _check(numbers: dict[str, int]) -> None:
    for name, value in numbers.items():
        least = SMALLEST if name == "size" else 0
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")


def claim_folder(out: Path, told: dict[str, int]) -> None:
    """Make the folder ours, or refuse one that holds something else.

    Args:
        out: made if missing.
        told: what decides the bytes; kept in the folder and compared.

    Raises:
        DataError: if the folder holds something else.
    """
    manifest = out / MANIFEST
    if manifest.is_file():
        found = _read(manifest)
        if found != told:
            raise DataError(f"{out}: made with {found}, asked for {told}; choose another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out}: not empty and not made by this command; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    _put(manifest, _dumped(told))


def _read(manifest: Path) -> Any:
    try:
        return json.loads(manifest.read_text())
    except ValueError as error:
        raise DataError(
            f"{manifest}: not JSON ({error}); delete the folder or choose another"
        ) from error


def _lengths(images: int) -> list[int]:
    """Return the number of frames of each scene."""
    return [min(FRAMES, images - start) for start in range(0, images, FRAMES)]


def write_scene(folder: Path, pictures: Iterable[Picture], suffix: str = ".png") -> None:
    """Write a scene beside its place and move it there when it is whole; skip it if it is there.

    Args:
        folder: of the scene.
        pictures: its frames, numbered from 0; they are not asked for if the scene is there.
        suffix: of the photographs, `.png` or `.jpg`.
    """
    if folder.is_dir():
        return
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    for name in ("rgb", "depth", "mask_visib"):
        (draft / name).mkdir(parents=True)
    tables: dict[str, dict[str, Any]] = {"scene_gt": {}, "scene_gt_info": {}, "scene_camera": {}}
    for number, picture in enumerate(pictures):
        _write_images(draft, number, picture, suffix)
        entries = (picture.poses, picture.infos, picture.camera)
        for table, entry in zip(tables.values(), entries, strict=True):
            table[str(number)] = entry
    for name, table in tables.items():
        (draft / f"{name}.json").write_text(_dumped(table))
    os.replace(draft, folder)


def _write_images(folder: Path, number: int, picture: Picture, suffix: str) -> None:
    _save(picture.rgb, folder / "rgb" / f"{number:06d}{suffix}")
    _save(picture.depth, folder / "depth" / f"{number:06d}.png")
    for index, mask in enumerate(picture.masks):
        path = folder / "mask_visib" / f"{number:06d}_{index:06d}.png"
        _save(mask.astype(np.uint8) * 255, path)


def _save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, compress_level=3, quality=95)  # of PNG; of JPEG


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _put(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.partial")
    draft.write_text(text)
    os.replace(draft, path)
