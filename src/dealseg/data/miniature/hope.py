"""A tiny rendered copy of HOPE's static onboarding sequences, in their layout."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dealseg.data.miniature.pictures import ESTIMATE, write_estimate
from dealseg.data.scenes import SIDES
from dealseg.data.synthetic.arrange import sample_scene
from dealseg.data.synthetic.film import DEPTH_SCALE, Picture, expose
from dealseg.data.synthetic.light import light_map
from dealseg.data.synthetic.plan import Plan
from dealseg.data.synthetic.render import render
from dealseg.data.synthetic.scene import Camera, Placed, Scene, look_at
from dealseg.data.synthetic.sensor import DepthSensor
from dealseg.data.synthetic.things import CLASSES, Thing, make_thing, moved
from dealseg.data.synthetic.write import SMALLEST, claim_folder, write_scene
from dealseg.errors import ConfigError, DataError

OBJECTS = 28
"""Objects of the real data set."""

VERSION = 2
"""Grows whenever the same seed gives other pictures."""

_UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])
_FOCAL = 1.3
"""Focal length in widths of the picture."""


def write_hope_miniature(
    root: Path, *, objects: int = 3, frames: int = 6, size: int = 64, seed: int = 0
) -> None:
    """Render `root/onboarding_static/obj_XXXXXX_{up,down}`, one object in each, all round it.

    As in the real set: JPEG photographs, 16-bit depth with holes, `mask_visib/`, the three JSON
    files, and the same table under every object; `depth_estimate/` as `dealseg depth` writes it.
    The objects are those of `dealseg synth`, again from the eleventh on but with other prints and
    measures. The same arguments give the same bytes; an interrupted call is taken up by the same
    call.

    Args:
        root: a new or empty folder, or one of an earlier call with the same arguments.
        objects: how many, 1 to 28.
        frames: of each sequence.
        size: width and height in pixels.
        seed: of everything random.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if `root` holds something else or cannot be written.
    """
    told = {"objects": objects, "frames": frames, "size": size, "seed": seed, "hope": VERSION}
    _require(objects, frames, size, seed)
    table = sample_scene(np.random.default_rng([seed, 28]), Plan("wood", (), False), size)
    sequences = [(obj_id, side) for obj_id in range(1, objects + 1) for side in SIDES]
    try:
        claim_folder(root, told)
        for obj_id, side in tqdm(sequences, desc="sequences", disable=None):
            folder = root / "onboarding_static" / f"obj_{obj_id:06d}_{side}"
            write_scene(folder, _film(table, obj_id, side, frames, size, seed), ".jpg")
            _estimate(folder)
    except OSError as error:
        raise DataError(f"{root}: cannot write the miniature ({error})") from error


def _estimate(scene: Path) -> None:
    """Write `depth_estimate/` of a whole scene beside its place and move it there."""
    draft = scene / f".{ESTIMATE}.partial"
    if (scene / ESTIMATE).is_dir():
        return
    for file in sorted((scene / "depth").iterdir()):
        with Image.open(file) as stored:
            metres = np.asarray(stored) * DEPTH_SCALE / 1000
        write_estimate(draft, file.stem, metres)
    os.replace(draft, scene / ESTIMATE)


def _require(objects: int, frames: int, size: int, seed: int) -> None:
    limits = {"objects": (1, OBJECTS), "frames": (1, 999), "size": (SMALLEST, 4096)}
    for name, value in (("objects", objects), ("frames", frames), ("size", size)):
        low, high = limits[name]
        if not low <= value <= high:
            raise ConfigError(f"{name} must be from {low} to {high}, got {value}")
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")


def _film(
    table: Scene, obj_id: int, side: str, frames: int, size: int, seed: int
) -> Iterator[Picture]:
    thing = make_thing(CLASSES[(obj_id - 1) % len(CLASSES)], np.random.default_rng([seed, obj_id]))
    scene = replace(table, things=(_placed(thing, obj_id, side),))
    chart = light_map(scene.lamps, scene.things)
    for number in range(frames):
        rng = np.random.default_rng([seed, obj_id, SIDES.index(side), number])
        camera = _camera(thing, 2 * np.pi * number / frames, size)
        yield expose(scene, camera, render(scene, chart, camera), DepthSensor(), rng)


def _placed(thing: Thing, obj_id: int, side: str) -> Placed:
    """Stand the thing on the middle of the table, or on its head for `down`."""
    rotation = _UPSIDE_DOWN if side == "down" else np.eye(3)
    position = np.array([0.0, 0.0, thing.height if side == "down" else 0.0])
    parts = tuple(moved(piece, rotation, position) for piece in thing.parts)
    return Placed(obj_id, thing.name, parts, rotation, position)


def _camera(thing: Thing, angle: float, size: int) -> Camera:
    """Return a camera on a wavy circle about the thing, inside the room's walls."""
    far = float(np.clip(2.6 * max(thing.height, 2 * thing.radius), 0.3, 0.42))
    height = 0.65 + 0.2 * np.sin(2 * angle)
    level = np.cos(height)
    away = far * np.array([level * np.cos(angle), level * np.sin(angle), np.sin(height)])
    target = np.array([0.0, 0.0, thing.height / 2])
    return look_at(target + away, target, 0.0, size, _FOCAL * size)
