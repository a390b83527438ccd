"""A polygon filled pixel by pixel: even-odd rule at the pixels' centres, the border included."""

import numpy as np


def filled(points, size):
    """Fill a polygon of whole numbers (x, y) in a picture of a height and width."""
    sides = list(zip(points, [*points[1:], points[0]], strict=True))
    picture = np.zeros(size, bool)
    for y, x in np.ndindex(*size):
        on_it = any(_on(x, y, *one, *other) for one, other in sides)
        picture[y, x] = on_it or sum(_right_of(x, y, *one, *other) for one, other in sides) % 2 == 1
    return picture


def _on(x, y, x0, y0, x1, y1):
    in_line = (x1 - x0) * (y - y0) == (y1 - y0) * (x - x0)
    return in_line and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1)


def _right_of(x, y, x0, y0, x1, y1):
    """Say whether the side crosses the pixel's row to the right of it."""
    return (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
