"""Solids by membership alone, and rays against them by small steps: slow and obvious."""

import numpy as np


def inside(shape, points):
    """Which points (last axis x, y, z) are in the solid?"""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    a, b, c = shape.size
    if shape.kind == "box":
        return (abs(x) < a) & (abs(y) < b) & (abs(z) < c)
    if shape.kind == "ellipsoid":
        return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1
    if shape.kind == "superquadric":
        e1, e2 = shape.detail
        across = (abs(x / a) ** (2 / e2) + abs(y / b) ** (2 / e2)) ** (e2 / e1)
        return across + abs(z / c) ** (2 / e1) < 1
    if shape.kind == "handle":
        tube = shape.detail[0]
        return (x > 0) & ((np.hypot(x, z) - (a - tube)) ** 2 + y**2 < tube**2)
    top, hollow = shape.detail
    radius = a * (1 + (top - 1) * (z + c) / (2 * c))
    solid = (abs(z) < c) & (np.hypot(x, y) < radius)
    if shape.kind == "frustum":
        return solid
    floor = -c + (1 - hollow) * a
    return solid & ~((z > floor) & (np.hypot(x, y) < radius * hollow))


def first_entry(shape, origin, direction, far, steps=4000):
    """Distance at which the ray first changes from outside to inside, by steps and bisection."""
    ts = np.linspace(0, far, steps)
    within = np.flatnonzero(inside(shape, origin + ts[:, None] * direction))
    if len(within) == 0:
        return np.inf
    low, high = ts[within[0] - 1], ts[within[0]]
    for _ in range(40):
        middle = (low + high) / 2
        if inside(shape, origin + middle * direction):
            high = middle
        else:
            low = middle
    return high
