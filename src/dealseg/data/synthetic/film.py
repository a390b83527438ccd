"""A planned scene filmed: pictures, measured depth, masks and BOP's entries for each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from dealseg.data.synthetic.arrange import sample_scene
from dealseg.data.synthetic.light import light_map
from dealseg.data.synthetic.plan import FRAMES, plan_scene
from dealseg.data.synthetic.render import Frame, develop, luminance, render
from dealseg.data.synthetic.scene import Camera, Placed, Scene
from dealseg.data.synthetic.sensor import DepthSensor, measure
from dealseg.data.synthetic.trace import silhouette

DEPTH_SCALE = 0.1
"""Millimetres for one step of the depth files."""
Json = dict[str, Any]
Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class Picture:
    """One frame as it is written.

    Attributes:
        rgb: the photograph.
        depth: measured, in steps of `DEPTH_SCALE`, 0 where nothing was measured.
        masks: visible pixels of each tagged thing.
        poses: for each, its entry of scene_gt.json.
        infos: for each, its entry of scene_gt_info.json.
        camera: entry of scene_camera.json.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    depth: UInt16[np.ndarray, "h w"]
    masks: list[Mask]
    poses: list[Json]
    infos: list[Json]
    camera: Json


def film_scene(
    seed: int,
    split: int,
    index: int,
    size: int,
    frames: int = FRAMES,
    sensor: DepthSensor | None = None,
) -> Iterator[Picture]:
    """Yield the first frames of a scene; each depends on the arguments and its own number alone.

    Args:
        seed: of the data set.
        split: 0 for training, 1 for validation.
        index: of the scene in its split.
        size: of the images in pixels.
        frames: how many to yield, at most `FRAMES`.
        sensor: the depth sensor; a Kinect when None.
    """
    plan = plan_scene(seed, split, index)
    scene = sample_scene(np.random.default_rng([seed, split, index]), plan, size)
    chart = light_map(scene.lamps, scene.things)
    for frame in range(frames):
        rng = np.random.default_rng([seed, split, index, frame + 1])
        if frame == 0 and plan.starts_empty:
            bare = replace(scene, things=tuple(t for t in scene.things if t.obj_id == 0))
            shot = render(bare, light_map(bare.lamps, bare.things), scene.cameras[frame])
            yield expose(bare, scene.cameras[frame], shot, sensor or DepthSensor(), rng)
        else:
            shot = render(scene, chart, scene.cameras[frame])
            yield expose(scene, scene.cameras[frame], shot, sensor or DepthSensor(), rng)


def expose(
    scene: Scene, camera: Camera, shot: Frame, sensor: DepthSensor, rng: np.random.Generator
) -> Picture:
    """Return what is written of a rendered frame."""
    rgb = develop(shot.light, scene.lens, rng)
    bright = luminance(shot.light) * scene.lens.exposure
    metres = measure(shot.depth, shot.facing, bright, camera.focal, sensor, rng)
    depth = np.rint(np.minimum(metres * 1000 / DEPTH_SCALE, 65535)).astype(np.uint16)
    tagged = [(i, thing) for i, thing in enumerate(scene.things) if thing.obj_id]
    masks = [shot.instance == i for i, _ in tagged]
    poses = [_pose(thing, camera) for _, thing in tagged]
    infos = [
        _info(thing, camera, mask, depth) for (_, thing), mask in zip(tagged, masks, strict=True)
    ]
    return Picture(rgb, depth, masks, poses, infos, _camera(camera))


def _camera(camera: Camera) -> Json:
    f, c = camera.focal, camera.centre
    return {
        "cam_K": [f, 0.0, c, 0.0, f, c, 0.0, 0.0, 1.0],
        "cam_R_w2c": _listed(camera.rotation),
        "cam_t_w2c": _listed(1000 * camera.translation),
        "depth_scale": DEPTH_SCALE,
    }


def _pose(thing: Placed, camera: Camera) -> Json:
    middle = camera.rotation @ thing.position + camera.translation
    return {
        "cam_R_m2c": _listed(camera.rotation @ thing.rotation),
        "cam_t_m2c": _listed(1000 * middle),
        "obj_id": thing.obj_id,
    }


def _info(thing: Placed, camera: Camera, mask: Mask, depth: UInt16[np.ndarray, "h w"]) -> Json:
    """Return BOP's counts; px_count_all also counts what is hidden or beyond the border."""
    whole, left, top = silhouette(thing, camera)
    y, x = np.nonzero(whole)
    inside = (x + left >= 0) & (x + left < camera.size) & (y + top >= 0) & (y + top < camera.size)
    valid = depth[y[inside] + top, x[inside] + left] > 0
    return {
        "bbox_obj": _box(whole, left, top),
        "bbox_visib": _box(mask, 0, 0),
        "px_count_all": len(x),
        "px_count_valid": int(valid.sum()),
        "px_count_visib": int(mask.sum()),
        "visib_fract": float(mask.sum() / max(len(x), 1)),
    }


def _box(mask: Mask, left: int, top: int) -> list[int]:
    """Return x, y, width, height of the True pixels; -1 four times for none, as in BOP."""
    y, x = np.nonzero(mask)
    if len(x) == 0:
        return [-1, -1, -1, -1]
    return [int(x.min()) + left, int(y.min()) + top, int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]


def _listed(array: np.ndarray) -> list[float]:
    return [float(value) for value in array.ravel()]
