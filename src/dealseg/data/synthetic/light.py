"""How bright each point is: lamps with soft shadows, sky light, reflections."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from dealseg.data.synthetic.scene import Lamp, Placed, Scene
from dealseg.data.synthetic.shapes import dot
from dealseg.data.synthetic.things import Part
from dealseg.data.synthetic.trace import lit_share, open_share

Vectors = Float[np.ndarray, "n 3"]
Reals = Float[np.ndarray, " n"]
HALF = 0.6
"""Metres from the middle of the support to the border of its light map."""
SHADOW_RAYS = 7
"""To each lamp from each cell of the light map."""
SKY_RAYS = 16
SKY_REACH = 0.25


@dataclass(frozen=True)
class LightMap:
    """What the support's top sees, computed once a scene.

    Attributes:
        lamps: share of each lamp seen at each cell.
        sky: share of the sky seen at each cell.
    """

    lamps: tuple[Float[np.ndarray, "n n"], ...]
    sky: Float[np.ndarray, "m m"]


@dataclass(frozen=True)
class Spots:
    """Points to be shaded.

    Attributes:
        point: in the world, metres.
        normal: outward, unit.
        view: unit, from the point to the camera.
        albedo: linear reflectance.
        gloss: mirror reflection head-on.
        sharpness: exponent of the highlight.
        owner: index of the thing, -1 for the room.
        support: whether it is on the support's top, where the light map holds.
    """

    point: Vectors
    normal: Vectors
    view: Vectors
    albedo: Vectors
    gloss: Reals
    sharpness: Reals
    owner: Int[np.ndarray, " n"]
    support: np.ndarray


def light_map(lamps: tuple[Lamp, ...], things: tuple[Placed, ...], cells: int = 180) -> LightMap:
    """Return the light map of the plane z = 0 under the things."""
    parts = [piece for thing in things for piece in thing.parts]
    fine, coarse = _cells(cells), _cells(cells // 2)
    up = np.broadcast_to(np.array([0.0, 0.0, 1.0]), fine.shape)
    groups = [thing.parts for thing in things]
    seen = [lit_share(fine, up, lamp, groups, SHADOW_RAYS).reshape(cells, cells) for lamp in lamps]
    sky = open_share(coarse, parts, SKY_REACH, SKY_RAYS).reshape(cells // 2, cells // 2)
    return LightMap(tuple(_short(share) for share in seen), _short(sky))


def shade(scene: Scene, chart: LightMap, spots: Spots, *, coarse: bool = False) -> Vectors:
    """Return the linear light that leaves each point towards the camera.

    Lambert's law and Blinn-Phong highlights (Blinn 1977) for the lamps; the sky is a hemisphere
    light whose lower half is the support's own colour; other things dim it as spheres (form factor
    of a sphere); mirror directions see a plain sky with a bright window (Schlick 1994 for the
    angle).

    Args:
        scene: lamps, things and room.
        chart: the light map of the scene's support.
        spots: what to shade.
        coarse: cast fewer shadow rays, for spots that will be averaged with others.
    """
    scene = _single(scene)
    sky = _sky_share(scene.things, chart, spots)
    light = _ambient(scene, spots, sky, chart)
    shine = np.zeros_like(light)
    for index, lamp in enumerate(scene.lamps):
        way = lamp.position - spots.point
        far = np.sqrt(dot(way, way))[:, None]
        way = way / far
        falloff = (float(np.linalg.norm(lamp.position)) / far) ** 2
        seen = _lamp_share(scene, chart, index, spots, coarse)[:, None] * lamp.colour * falloff
        light = light + seen * np.maximum(dot(way, spots.normal), 0.0)[:, None]
        half = way + spots.view
        half = half / np.sqrt(dot(half, half))[:, None]
        lobe = np.maximum(dot(half, spots.normal), 0.0) ** spots.sharpness
        shine = shine + seen * (spots.gloss * lobe * (spots.sharpness + 8) / 16)[:, None]
    return np.asarray(spots.albedo * light + shine + _mirror(scene, spots, sky))


def _single(scene: Scene) -> Scene:
    """Return the scene with its lights in float32, the precision of shading."""
    lamps = tuple(
        replace(lamp, position=_short(lamp.position), colour=_short(lamp.colour))
        for lamp in scene.lamps
    )
    return replace(scene, lamps=lamps, sky=_short(scene.sky), ground=_short(scene.ground))


def _short(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def _ambient(scene: Scene, spots: Spots, sky: Reals, chart: LightMap) -> Vectors:
    upward = (0.5 + 0.5 * spots.normal[:, 2])[:, None]
    foot = spots.point[:, :2] + spots.normal[:, :2] * 0.02
    below = 0.35 + 0.65 * _read(chart.sky, foot)[:, None]
    height = np.maximum(spots.point[:, 2], 0.0)[:, None]
    reflected = (0.35 + 0.65 * np.exp(-height / 0.15)) * (1.0 - 0.85 * np.exp(-height / 0.012))
    bounce = scene.ground * (scene.sky + 0.35 * sum(lamp.colour for lamp in scene.lamps)) * below
    return np.asarray(upward * scene.sky * sky[:, None] + (1 - upward) * bounce * reflected)


def _sky_share(things: tuple[Placed, ...], chart: LightMap, spots: Spots) -> Reals:
    share = np.where(spots.support, _read(chart.sky, spots.point[:, :2]), np.float32(1.0))
    other = np.flatnonzero(spots.owner >= 0)
    for index, thing in enumerate(things):
        rows = other[spots.owner[other] != index]
        middle, radius = _ball(thing)
        way = middle - spots.point[rows]
        far = np.maximum(np.sqrt(dot(way, way)), radius)
        cosine = np.maximum(dot(way, spots.normal[rows]) / far, 0.0)
        share[rows] *= 1.0 - 0.8 * cosine * (radius / far) ** 2
    return np.asarray(share)


def _ball(thing: Placed) -> tuple[np.ndarray, float]:
    points = np.array([piece.offset for piece in thing.parts])
    trunk: Part = thing.parts[0]
    return _short(points[0]), float(np.median(np.array(trunk.shape.size)))


def _lamp_share(scene: Scene, chart: LightMap, index: int, spots: Spots, coarse: bool) -> Reals:
    share = np.zeros(len(spots.point), np.float32)
    on = spots.support
    share[on] = _read(chart.lamps[index], spots.point[on, :2])
    parts = [thing.parts for thing in scene.things]
    boxes = [(piece,) for piece in scene.room if piece.shape.kind != "plane"]
    behind = ~on & (spots.owner < 0)
    near, far = _RAYS[min(index, 1) + coarse]
    for rows, before, rays in ((spots.owner >= 0, parts, near), (behind, parts + boxes, far)):
        point, normal = spots.point[rows], spots.normal[rows]
        share[rows] = lit_share(point, normal, scene.lamps[index], before, rays)
    return share


def _mirror(scene: Scene, spots: Spots, sky: Reals) -> Vectors:
    facing = np.clip(dot(spots.normal, spots.view), 0.0, 1.0)
    strength = spots.gloss + np.minimum(4 * spots.gloss, 0.5) * (1 - facing) ** 5
    way = 2 * facing[:, None] * spots.normal - spots.view
    height = np.clip(way[:, 2:] * 2.0 + 0.5, 0.0, 1.0)
    window = 1.0 / (1.0 + np.exp(-24 * (way @ _WINDOW - 0.86)))
    seen = scene.sky * (0.5 + 0.9 * height) + 2.5 * window[:, None] * scene.sky
    seen = np.where(way[:, 2:] < 0, 0.8 * scene.ground * scene.sky, seen)
    return np.asarray((strength * sky)[:, None] * seen)


def _cells(count: int) -> Vectors:
    step = (np.arange(count) + 0.5) / count * 2 * HALF - HALF
    y, x = np.meshgrid(step, step, indexing="ij")
    return np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])


def _read(
    cells: Float[np.ndarray, "n n"], place: Float[np.ndarray, "p 2"]
) -> Float[np.ndarray, " p"]:
    """Return the map bilinearly at (x, y) in metres, its border's value beyond it."""
    count = len(cells)
    x, y = (np.clip((place + HALF) / (2 * HALF) * count - 0.5, 0.0, count - 1.001)).T
    x0, y0 = x.astype(int), y.astype(int)
    fx, fy = _short(x - x0), _short(y - y0)
    low = cells[y0, x0] * (1 - fx) + cells[y0, x0 + 1] * fx
    high = cells[y0 + 1, x0] * (1 - fx) + cells[y0 + 1, x0 + 1] * fx
    return np.asarray(low * (1 - fy) + high * fy)


_RAYS = ((7, 4), (4, 1), (2, 1))
"""Shadow rays from things and from the room, in falling order of what they matter."""
_WINDOW = np.array([-0.5, -0.55, 0.67], np.float32)
