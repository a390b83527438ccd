"""Which part each ray meets first, and what shadows fall: exact, by the solids' own equations."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from dealseg.data.synthetic.scene import Camera, Lamp, Placed, window
from dealseg.data.synthetic.shapes import dot, intersect
from dealseg.data.synthetic.things import Part, reach

Vectors = Float[np.ndarray, "n 3"]
LIFT = 4e-4
"""Metres by which shadow rays start off the surface."""


def first_hits(
    parts: Sequence[Part], camera: Camera, pixels: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return depth in metres (inf where nothing is hit) and the part (-1) at each pixel.

    A part is tried only at pixels within its projected bounding box.
    """
    rays = camera.rays(pixels)
    depth, which = np.full(len(pixels), np.inf), np.full(len(pixels), -1)
    x, y = pixels.T
    for index, piece in enumerate(parts):
        left, top, right, bottom = window(camera, piece)
        near = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        t = _distance(piece, camera.position, rays[near])
        closer = t < depth[near]
        depth[near[closer]], which[near[closer]] = t[closer], index
    return depth, which


def silhouette(thing: Placed, camera: Camera) -> tuple[Bool[np.ndarray, "h w"], int, int]:
    """Return the thing's pixels as if nothing stood before it, also beyond the image's border.

    Returns:
        Its pixels in a window that reaches at most one image beyond each border, and the window's
        left and top.
    """
    boxes = np.array([window(camera, piece) for piece in thing.parts])
    low = np.clip(np.floor(boxes[:, :2].min(axis=0)), -camera.size, 2 * camera.size - 1).astype(int)
    high = np.clip(np.ceil(boxes[:, 2:].max(axis=0)), low, 2 * camera.size - 1).astype(int)
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    pixels = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    _, which = first_hits(thing.parts, camera, pixels)
    return (which >= 0).reshape(x.shape), int(low[0]), int(low[1])


def lit_share(
    points: Vectors, normal: Vectors, lamp: Lamp, groups: Sequence[Sequence[Part]], samples: int
) -> Float[np.ndarray, " n"]:
    """Return the share of the lamp that each point sees past the groups of parts.

    The lamp is a disc sampled at its middle and on a ring, the same for every point: soft shadows
    without noise.
    """
    share = np.zeros(len(points), points.dtype)
    facing = np.flatnonzero(dot(lamp.position.astype(points.dtype) - points, normal) > 0)
    start = points[facing] + LIFT * normal[facing]
    targets = _disc(lamp, samples)
    lit = np.ones((samples, len(start)), dtype=bool)
    path = lamp.position.astype(start.dtype) - start
    for group in groups:
        near = _in_way(start, path, lamp.radius, *_ball(group))
        for piece in group if len(near) else ():
            ball = piece.offset, reach(piece)
            rows = (
                near
                if len(group) == 1
                else near[_in_way(start[near], path[near], lamp.radius, *ball)]
            )
            lit[:, rows] &= _distances(piece, start[rows], targets) >= 1.0
    share[facing] = lit.mean(axis=0)
    return share


def open_share(
    points: Vectors, parts: Sequence[Part], within: float, rays: int
) -> Float[np.ndarray, " n"]:
    """Return the share of the sky above horizontal surface points that no part closes off nearby.

    The rays are a cosine-weighted spiral, the same for every point.

    Args:
        points: on an upward surface.
        parts: that may close off.
        within: metres; farther parts do not count.
        rays: number of directions.
    """
    blocked = np.zeros(len(points))
    start = points + np.array([0.0, 0.0, LIFT])
    near = [np.flatnonzero(_far(start, piece) < within) for piece in parts]
    for k in range(rays):
        radius, angle = np.sqrt((k + 0.5) / rays), k * np.pi * (3 - np.sqrt(5))
        way = np.array([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)])
        shut = np.zeros(len(points), dtype=bool)
        for piece, rows in zip(parts, near, strict=True):
            free = rows[~shut[rows]]
            shut[free] = (
                _distance(piece, start[free], np.broadcast_to(way, (len(free), 3))) < within
            )
        blocked += shut / rays
    return np.asarray(1.0 - blocked)


def _distance(piece: Part, origin: np.ndarray, direction: Vectors) -> Float[np.ndarray, " n"]:
    local = (origin - piece.offset) @ piece.rotation
    return intersect(piece.shape, local, direction @ piece.rotation)


def _distances(
    piece: Part, start: Vectors, targets: Float[np.ndarray, "t 3"]
) -> Float[np.ndarray, "t n"]:
    """Return for each target and start how far the part is, in lengths of the way between them."""
    rotation = piece.rotation.astype(start.dtype)
    origin = (start - piece.offset.astype(start.dtype)) @ rotation
    way = (targets - piece.offset).astype(start.dtype) @ rotation
    way = way[:, None] - origin
    rays = way.reshape(-1, 3)
    return intersect(piece.shape, np.tile(origin, (len(targets), 1)), rays).reshape(way.shape[:2])


def _far(points: Vectors, piece: Part) -> Float[np.ndarray, " n"]:
    away = points - piece.offset
    return np.asarray(np.sqrt(dot(away, away)) - reach(piece))


def _in_way(
    start: Vectors, path: Vectors, spread: float, centre: Float[np.ndarray, "3"], radius: float
) -> Int[np.ndarray, " m"]:
    """Return the points whose cone along their path, `spread` wide at its end, meets the ball."""
    middle = centre.astype(start.dtype) - start
    along = np.clip(dot(middle, path) / dot(path, path), 0.0, 1.0)
    middle -= along[:, None] * path
    return np.flatnonzero(dot(middle, middle) <= (radius + along * spread) ** 2)


def _ball(group: Sequence[Part]) -> tuple[Float[np.ndarray, "3"], float]:
    """Return centre and radius of a ball about all parts."""
    centre = np.mean([piece.offset for piece in group], axis=0)
    far = [float(np.linalg.norm(piece.offset - centre)) + reach(piece) for piece in group]
    return centre, max(far)


def _disc(lamp: Lamp, samples: int) -> Vectors:
    axis = lamp.position / np.linalg.norm(lamp.position)
    side = np.cross(axis, np.array([0.3, 0.5, 0.8]))
    side = side / np.linalg.norm(side)
    angle = 2 * np.pi * np.arange(samples - 1) / max(samples - 1, 1)
    ring = np.outer(np.cos(angle), side) + np.outer(np.sin(angle), np.cross(axis, side))
    return np.vstack([lamp.position, lamp.position + 0.75 * lamp.radius * ring])
