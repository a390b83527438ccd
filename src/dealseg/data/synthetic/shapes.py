"""Solids that rays can hit: each in its own frame, centred, with half extents in metres."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Kind = Literal["plane", "box", "frustum", "cup", "ellipsoid", "superquadric", "handle"]
Origin = Float[np.ndarray, "3"] | Float[np.ndarray, "n 3"]
Vectors = Float[np.ndarray, "n 3"]
Reals = Float[np.ndarray, " n"]

TINY = 1e-12
NEWTON_STEPS = 24
MARCH_STEPS = 120


@dataclass(frozen=True)
class Shape:
    """A solid of one kind.

    Attributes:
        kind: `plane` (z = 0, unbounded), `box`, `frustum` (cylinder or cone along z), `cup`
            (a frustum hollow from above), `ellipsoid`, `superquadric`, `handle` (half a torus, x >
            0).
        size: half extents in metres; of a frustum or cup: bottom radius (twice), half height.
        detail: frustum: top radius / bottom radius, unused; cup: the same, inner / outer radius;
            superquadric: the exponents e1 (along z) and e2 (across), in (0, 2];
            handle: radius of the tube in metres, unused.
    """

    kind: Kind
    size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    detail: tuple[float, float] = (1.0, 1.0)


def intersect(shape: Shape, origin: Origin, direction: Vectors) -> Reals:
    """Return the distance along each ray, in lengths of `direction`; inf where it misses.

    Args:
        shape: the solid.
        origin: where rays start, in the solid's frame; one for all rays or one each.
        direction: of any length but 0.
    """
    return _INTERSECT[shape.kind](shape, np.broadcast_to(origin, direction.shape), direction)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of the vectors in the last axis (an order faster than a sum over it)."""
    return np.asarray(np.einsum("...i,...i->...", a, b))


def gauge(shape: Shape, point: Vectors) -> Reals:
    """Return the factor by which a superquadric must grow to reach each point; 1 on it.

    It is the norm |(|(x, y)|_{2/e2}, z)|_{2/e1} of the point in half extents (Barr 1981,
    "inside-outside function", taken to the power e1/2), hence convex.
    """
    return gauge_and_slope(shape, point, None)[0]


def bounding_radius(shape: Shape) -> float:
    """Return the radius of a sphere about the centre that holds the solid."""
    if shape.kind == "plane":
        return float("inf")
    widest = max(1.0, shape.detail[0]) if shape.kind in {"frustum", "cup"} else 1.0
    if shape.kind in {"frustum", "cup"}:
        return float(np.hypot(shape.size[0] * widest, shape.size[2]))
    return max(shape.size) if shape.kind == "ellipsoid" else float(np.linalg.norm(shape.size))


def half_extents(shape: Shape) -> Float[np.ndarray, "3"]:
    """Return the half extents of the axis-aligned box about the solid."""
    widest = max(1.0, shape.detail[0]) if shape.kind in {"frustum", "cup"} else 1.0
    return np.asarray(np.array(shape.size) * np.array([widest, widest, 1.0]))


def _first(candidates: list[Reals]) -> Reals:
    return np.asarray(np.minimum.reduce([np.where(t > 0, t, np.inf) for t in candidates]))


def _nonzero(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(np.abs(x) < TINY, TINY, x))


def _plane(_: Shape, o: Vectors, d: Vectors) -> Reals:
    t = -o[:, 2] / _nonzero(d[:, 2])
    return np.where(t > 0, t, np.inf)


def _slabs(half: np.ndarray, o: Vectors, d: Vectors) -> tuple[Reals, Reals]:
    inverse = 1.0 / _nonzero(d)
    middle, reach = -o * inverse, np.abs(inverse) * half
    near, far = middle - reach, middle + reach
    return (
        np.maximum(np.maximum(near[:, 0], near[:, 1]), near[:, 2]),
        np.minimum(np.minimum(far[:, 0], far[:, 1]), far[:, 2]),
    )


def _box(shape: Shape, o: Vectors, d: Vectors) -> Reals:
    near, far = _slabs(np.array(shape.size, o.dtype), o, d)
    t = np.where(near > 0, near, far)
    return np.where((near <= far) & (t > 0), t, np.inf)


def _side(
    radius: float, slope: float, ends: tuple[float, float], o: Vectors, d: Vectors
) -> list[Reals]:
    """Return both crossings of a cone of `radius + slope * z` between the ends in z."""
    reach = radius + slope * o[:, 2]
    a = d[:, 0] ** 2 + d[:, 1] ** 2 - (slope * d[:, 2]) ** 2
    b = o[:, 0] * d[:, 0] + o[:, 1] * d[:, 1] - slope * d[:, 2] * reach
    c = o[:, 0] ** 2 + o[:, 1] ** 2 - reach**2
    disc = b * b - a * c
    root = np.sqrt(np.maximum(disc, 0.0))
    found = []
    for sign in (-1.0, 1.0):
        t = (-b + sign * root) / _nonzero(a)
        z = o[:, 2] + t * d[:, 2]
        inside = (disc >= 0) & (z >= ends[0]) & (z <= ends[1]) & (radius + slope * z >= 0)
        found.append(np.where(inside, t, np.inf))
    return found


def _disc(z: float, inner: float, outer: float, o: Vectors, d: Vectors) -> Reals:
    t = (z - o[:, 2]) / _nonzero(d[:, 2])
    r2 = (o[:, 0] + t * d[:, 0]) ** 2 + (o[:, 1] + t * d[:, 1]) ** 2
    return np.where((r2 <= outer**2) & (r2 >= inner**2), t, np.inf)


def cone(shape: Shape) -> tuple[float, float, float, float, float]:
    """Return bottom and top radius, half height, radius at z = 0 and its slope along z."""
    bottom, top, half = shape.size[0], shape.size[0] * shape.detail[0], shape.size[2]
    return bottom, top, half, (bottom + top) / 2, (top - bottom) / (2 * half)


def _frustum(shape: Shape, o: Vectors, d: Vectors) -> Reals:
    bottom, top, half, radius, slope = cone(shape)
    sides = _side(radius, slope, (-half, half), o, d)
    return _first([*sides, _disc(-half, 0.0, bottom, o, d), _disc(half, 0.0, top, o, d)])


def cup_floor(shape: Shape) -> float:
    """Return z of the inside bottom of a cup."""
    return -shape.size[2] + (1 - shape.detail[1]) * shape.size[0]


def _cup(shape: Shape, o: Vectors, d: Vectors) -> Reals:
    bottom, top, half, radius, slope = cone(shape)
    hollow, floor = shape.detail[1], cup_floor(shape)
    return _first([
        *_side(radius, slope, (-half, half), o, d),
        *_side(radius * hollow, slope * hollow, (floor, half), o, d),
        _disc(-half, 0.0, bottom, o, d),
        _disc(floor, 0.0, (radius + slope * floor) * hollow, o, d),
        _disc(half, top * hollow, top, o, d),
    ])  # fmt: skip


def _ellipsoid(shape: Shape, o: Vectors, d: Vectors) -> Reals:
    half = np.array(shape.size, o.dtype)
    o, d = o / half, d / half
    a, b = dot(d, d), dot(o, d)
    disc = b * b - a * (dot(o, o) - 1.0)
    root = np.sqrt(np.maximum(disc, 0.0))
    t = np.where(-b - root > 0, -b - root, -b + root) / a
    return np.where((disc >= 0) & (t > 0), t, np.inf)


def gauge_and_slope(shape: Shape, p: Vectors, d: Vectors | None) -> tuple[Reals, Vectors]:
    """Return the gauge of a superquadric and, unless `d` is None, its gradient."""
    (e1, e2), half = shape.detail, np.array(shape.size, p.dtype)
    x, y, z = np.maximum(np.abs(p / half), 1e-9).T
    across = x ** (2 / e2) + y ** (2 / e2)
    both = across ** (e2 / e1) + z ** (2 / e1)
    value = both ** (e1 / 2)
    if d is None:
        return value, p
    outer = both ** (e1 / 2 - 1)
    inner = outer * across ** (e2 / e1 - 1)
    slopes = (inner * x ** (2 / e2 - 1), inner * y ** (2 / e2 - 1), outer * z ** (2 / e1 - 1))
    return value, np.stack(slopes, axis=1) * np.sign(p) / half


def _superquadric(shape: Shape, o: Vectors, d: Vectors) -> Reals:
    """Newton's method from the bounding box, or from the origin within it.

    The gauge is convex along a ray, so that Newton's steps from outside never pass the first root;
    a ray whose gauge stops falling before 1 misses.
    """
    near, far = _slabs(np.array(shape.size, o.dtype), o, d)
    out = np.full(len(d), np.inf, d.dtype)
    live = np.flatnonzero((near <= far) & (far > 0))
    t, o, d = np.maximum(near[live], 0.0), o[live], d[live]
    close = max(1e-10, 20 * float(np.finfo(d.dtype).eps))
    for _ in range(NEWTON_STEPS):
        point = o + t[:, None] * d
        value, gradient = gauge_and_slope(shape, point, d)
        slope = dot(gradient, d)
        done = value - 1.0 < close
        out[live[done]] = t[done]
        keep = ~done & (slope < 0)
        live, o, d = live[keep], o[keep], d[keep]
        t = t[keep] - (value[keep] - 1.0) / slope[keep]
    return out


def _handle_distance(shape: Shape, p: Vectors) -> Reals:
    tube = shape.detail[0]
    ring = np.hypot(p[:, 0], p[:, 2]) - (shape.size[0] - tube)
    return np.asarray(np.maximum(np.hypot(ring, p[:, 1]) - tube, -p[:, 0]))


def _handle(shape: Shape, o: Vectors, d: Vectors) -> Reals:
    """Sphere tracing (Hart 1996) of the signed distance, from the bounding box inwards."""
    near, far = _slabs(np.array([shape.size[0], shape.detail[0], shape.size[2]], o.dtype), o, d)
    length = np.sqrt(dot(d, d))
    out = np.full(len(d), np.inf, d.dtype)
    live = np.flatnonzero((near <= far) & (far > 0))
    t = np.maximum(near[live], 0.0)
    for _ in range(MARCH_STEPS):
        step = _handle_distance(shape, o[live] + t[:, None] * d[live])
        done = step < 2e-6
        out[live[done]] = t[done]
        t = t + step / length[live]
        keep = ~done & (t <= far[live])
        live, t = live[keep], t[keep]
    return out


_INTERSECT: dict[Kind, Callable[[Shape, Vectors, Vectors], Reals]] = {
    "plane": _plane,
    "box": _box,
    "frustum": _frustum,
    "cup": _cup,
    "ellipsoid": _ellipsoid,
    "superquadric": _superquadric,
    "handle": _handle,
}
