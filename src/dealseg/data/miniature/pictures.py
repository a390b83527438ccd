"""Rendered tabletops as photographs of the kind that VOC and COCO hold: landscape and portrait."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from dealseg.data.synthetic.film import DEPTH_SCALE, Picture, film_scene
from dealseg.data.synthetic.plan import EMPTY_EVERY, plan_scene
from dealseg.data.synthetic.write import SMALLEST, claim_folder
from dealseg.errors import ConfigError

LEAST = 12
"""Pixels that an object shows at least; of smaller ones nobody would have written a tag."""
PORTRAIT_EVERY = 4
ESTIMATE = "depth_estimate"
INVERSE_SCALE = 1e-4
"""Inverse metres for one step of the estimate's files."""
_FAR_INVERSE = 0.2
"""What the estimate says in a row without any measured depth, per metre."""


@dataclass(frozen=True)
class Shot:
    """One photograph and what is known of it.

    Attributes:
        rgb: the photograph, three quarters as high as wide or the other way round.
        metres: measured depth, 0 where there is none.
        objects: class (0 to 9, in the order of the renderer's) and visible pixels of each object.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    metres: Float[np.ndarray, "h w"]
    objects: tuple[tuple[int, Bool[np.ndarray, "h w"]], ...]


def film(seed: int, split: int, count: int, size: int) -> Iterator[Shot]:
    """Yield photographs of different scenes that each show an object.

    Args:
        seed: of everything random.
        split: 0 for training, 1 for validation: other scenes.
        count: how many.
        size: longer side in pixels.
    """
    made = scene = 0
    while made < count:
        frames = 1 + plan_scene(seed, split, scene).starts_empty
        *_, picture = film_scene(seed, split, scene, size, frames)
        shot = _cropped(picture, portrait=scene % PORTRAIT_EVERY == PORTRAIT_EVERY - 1)
        scene += 1
        if shot.objects:
            made += 1
            yield shot


def empty(seed: int, split: int, size: int) -> Shot:
    """Return a photograph without any object that has a class."""
    scenes = range(EMPTY_EVERY)
    scene = next(index for index in scenes if plan_scene(seed, split, index).starts_empty)
    return _cropped(next(film_scene(seed, split, scene, size, 1)), portrait=False)


def begin(root: Path, last: Path, told: dict[str, int]) -> bool:
    """Claim the folder of a miniature; return whether there is anything left to write.

    Args:
        root: of the miniature.
        last: the file that is written last.
        told: what decides the bytes: `images`, `val_images`, `size`, `seed` and a version.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the folder holds something else.
    """
    for name, least in (("images", 1), ("val_images", 1), ("size", 2 * SMALLEST), ("seed", 0)):
        if told[name] < least:
            raise ConfigError(f"{name} must be at least {least}, got {told[name]}")
    claim_folder(root, told)
    return not last.exists()


def write_photo(file: Path, shot: Shot) -> None:
    """Write the photograph as JPEG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(shot.rgb).save(file, quality=95)


def write_depths(root: Path, name: str, shot: Shot) -> None:
    """Write what a sensor would say, `depth/` in millimetres, and an estimate at half the size.

    The estimate is inverse depth up to scale and offset without a hole, and as smooth as its
    coarser grid makes it: what `dealseg depth` writes, with a `depth.yaml` beside it.
    """
    millimetres = np.rint(shot.metres * 1000).astype(np.uint16)
    _save(root / "depth" / f"{name}.png", millimetres)
    write_estimate(root / ESTIMATE, name, shot.metres)


def write_estimate(folder: Path, name: str, metres: Float[np.ndarray, "h w"]) -> None:
    """Write an estimate of depth at half the size, and `depth.yaml` beside it.

    Args:
        folder: of the estimates.
        name: of the image.
        metres: measured depth, 0 where there is none.
    """
    near = _filled(metres)
    size = (near.shape[1] // 2, near.shape[0] // 2)
    coarse = Image.fromarray(near.astype(np.float32)).resize(size, Image.Resampling.BOX)
    stored = np.rint(np.asarray(coarse) / INVERSE_SCALE).clip(1, 65535).astype(np.uint16)
    _save(folder / f"{name}.png", stored)
    (folder / "depth.yaml").write_text(f"depth: {{kind: relative, scale: {INVERSE_SCALE:.4f}}}\n")


def _filled(metres: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return inverse depth, in holes that of the farther of the nearest neighbours in the row."""
    near = np.where(metres > 0, 1 / np.maximum(metres, 0.1), np.nan)
    sides = []
    for step in (1, -1):
        row = near[:, ::step]
        last = np.maximum.accumulate(np.where(np.isnan(row), 0, np.arange(row.shape[1])), axis=1)
        sides.append(np.take_along_axis(row, last, axis=1)[:, ::step])
    return np.asarray(np.nan_to_num(np.fmin(*sides), nan=_FAR_INVERSE))


def _save(file: Path, values: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


def _cropped(picture: Picture, *, portrait: bool) -> Shot:
    """Return the middle three quarters of the square picture."""
    size = len(picture.rgb)
    side = 2 * (3 * size // 8)
    start = (size - side) // 2
    middle = np.s_[:, start : start + side] if portrait else np.s_[start : start + side]
    metres = picture.depth[middle] * DEPTH_SCALE / 1000
    shown = (
        (pose["obj_id"] - 1, mask[middle])
        for pose, mask in zip(picture.poses, picture.masks, strict=True)
    )
    objects = tuple((kind, mask) for kind, mask in shown if mask.sum() >= LEAST)
    return Shot(picture.rgb[middle], metres, objects)
