"""What a point on a solid needs to be shaded: its normal and its place on the surface."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from dealseg.data.synthetic.shapes import (
    TINY,
    Kind,
    Shape,
    Vectors,
    cone,
    cup_floor,
    dot,
    gauge_and_slope,
)


def normals(shape: Shape, point: Vectors) -> Vectors:
    """Return the outward unit normals at points of the surface."""
    normal = _NORMALS[shape.kind](shape, point)
    return np.asarray(normal / np.maximum(np.sqrt(dot(normal, normal))[:, None], TINY))


def surface_coordinates(
    shape: Shape, point: Vectors, normal: Vectors
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 2"]]:
    """Return on which face each point lies and where on it.

    Faces: of a box 0..5 = +x -x +y -y +z -z; of a frustum 0 side, 1 top, 2 bottom; of a cup 0
    outside, 1 inside, 2 rim and bottom; of others 0.

    Returns:
        The faces, and coordinates that run from 0 to 1 over a face (angle / 2 pi round a frustum or
        ellipsoid, metres on a plane). The second rises with z where the face is upright.
    """
    return _COORDINATES[shape.kind](shape, point, normal)


def _box_normals(shape: Shape, p: Vectors) -> Vectors:
    axis = np.argmax(np.abs(p) / np.array(shape.size), axis=1)
    normal = np.zeros_like(p)
    rows = np.arange(len(p))
    normal[rows, axis] = np.where(p[rows, axis] < 0, -1.0, 1.0)
    return normal


def _frustum_normals(shape: Shape, p: Vectors) -> Vectors:
    _, _, half, _, slope = cone(shape)
    rho = np.maximum(np.hypot(p[:, 0], p[:, 1]), TINY)
    side = np.stack([p[:, 0], p[:, 1], -slope * rho], axis=1)
    cap = np.abs(p[:, 2]) > half - 1e-7
    return np.where(cap[:, None], np.sign(p) * np.array([0.0, 0.0, 1.0]), side)


def _inside_cup(shape: Shape, p: Vectors) -> np.ndarray:
    _, _, half, radius, slope = cone(shape)
    middle = (radius + slope * p[:, 2]) * (1 + shape.detail[1]) / 2
    return np.asarray((np.hypot(p[:, 0], p[:, 1]) < middle) & (np.abs(p[:, 2]) < half - 1e-7))


def _cup_normals(shape: Shape, p: Vectors) -> Vectors:
    outer = _frustum_normals(shape, p)
    floor = (p[:, 2] < cup_floor(shape) + 1e-7)[:, None]
    inner = np.where(floor, np.array([0.0, 0.0, 1.0]), -outer)
    return np.where(_inside_cup(shape, p)[:, None], inner, outer)


def _handle_normals(shape: Shape, p: Vectors) -> Vectors:
    rho = np.maximum(np.hypot(p[:, 0], p[:, 2]), TINY)
    ring = 1.0 - (shape.size[0] - shape.detail[0]) / rho
    return np.stack([p[:, 0] * ring, p[:, 1], p[:, 2] * ring], axis=1)


_NORMALS: dict[Kind, Callable[[Shape, Vectors], Vectors]] = {
    "plane": lambda _, p: np.broadcast_to(np.array([0.0, 0.0, 1.0]), p.shape),
    "box": _box_normals,
    "frustum": _frustum_normals,
    "cup": _cup_normals,
    "ellipsoid": lambda shape, p: p / np.array(shape.size) ** 2,
    "superquadric": lambda shape, p: gauge_and_slope(shape, p, p)[1],
    "handle": _handle_normals,
}


def _flat(shape: Shape, p: Vectors, _: Vectors) -> tuple[np.ndarray, np.ndarray]:
    unit = p[:, :2] if shape.kind == "plane" else (p / np.array(shape.size))[:, :2] / 2 + 0.5
    return np.zeros(len(p), dtype=np.int64), unit


def _box_coordinates(shape: Shape, p: Vectors, n: Vectors) -> tuple[np.ndarray, np.ndarray]:
    unit = p / np.array(shape.size) / 2 + 0.5
    axis = np.argmax(np.abs(n), axis=1)
    rows = np.arange(len(p))
    face = 2 * axis + (n[rows, axis] < 0)
    across = np.array([1, 0, 0])[axis]
    along = np.array([2, 2, 1])[axis]
    return face, np.stack([unit[rows, across], unit[rows, along]], axis=1)


def _round(shape: Shape, p: Vectors) -> tuple[np.ndarray, np.ndarray]:
    unit = p / np.array(shape.size)
    return np.arctan2(unit[:, 1], unit[:, 0]) / (2 * np.pi) + 0.5, unit[:, 2]


def _frustum_coordinates(shape: Shape, p: Vectors, n: Vectors) -> tuple[np.ndarray, np.ndarray]:
    angle, height = _round(shape, p)
    if shape.kind == "cup":
        face = np.where(_inside_cup(shape, p), 1, np.where(np.abs(n[:, 2]) > 0.99, 2, 0))
    else:
        face = np.where(n[:, 2] > 0.99, 1, np.where(n[:, 2] < -0.99, 2, 0))
    return face, np.stack([angle, height / 2 + 0.5], axis=1)


def _ellipsoid_coordinates(shape: Shape, p: Vectors, _: Vectors) -> tuple[np.ndarray, np.ndarray]:
    angle, height = _round(shape, p)
    latitude = np.arcsin(np.clip(height, -1.0, 1.0)) / np.pi + 0.5
    return np.zeros(len(p), dtype=np.int64), np.stack([angle, latitude], axis=1)


_COORDINATES: dict[Kind, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "plane": _flat,
    "box": _box_coordinates,
    "frustum": _frustum_coordinates,
    "cup": _frustum_coordinates,
    "ellipsoid": _ellipsoid_coordinates,
    "superquadric": _flat,
    "handle": _flat,
}
