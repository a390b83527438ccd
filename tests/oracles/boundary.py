"""Boundary IoU and contour F-score by nested loops over pixels, from the definitions."""

import math

IGNORE = 255


def shape(mask):
    return len(mask), len(mask[0])


def hide(prediction, truth):
    return [
        [IGNORE if true == IGNORE else label for label, true in zip(*rows, strict=True)]
        for rows in zip(prediction, truth, strict=True)
    ]


def band(mask, c, d):
    """Pixels of class c that lie within d rows and columns of another class or of the outside."""
    height, width = shape(mask)

    def other(y, x):
        outside = not (0 <= y < height and 0 <= x < width)
        return outside or mask[y][x] not in (c, IGNORE)

    near = range(-d, d + 1)
    return {
        (y, x)
        for y in range(height)
        for x in range(width)
        if mask[y][x] == c and any(other(y + i, x + j) for i in near for j in near)
    }


def boundary_counts(prediction, truth, classes, ratio):
    prediction = hide(prediction, truth)
    d = max(1, round(ratio * math.hypot(*shape(truth))))
    bands = [(band(prediction, c, d), band(truth, c, d)) for c in range(classes)]
    return [[len(a & b) for a, b in bands], [len(a | b) for a, b in bands]]


def contour(mask, c, gap):
    """Pixels whose next known pixel right, below or lower right is c where they are not, or not."""
    height, width = shape(mask)
    found = set()
    for y in range(height):
        for x in range(width):
            if mask[y][x] == IGNORE:
                continue
            for down, right in ((0, 1), (1, 0), (1, 1)):
                for hop in range(1, gap + 2):
                    i, j = y + hop * down, x + hop * right
                    if i >= height or j >= width:
                        break
                    if mask[i][j] != IGNORE:
                        if (mask[i][j] == c) != (mask[y][x] == c):
                            found.add((y, x))
                        break
    return found


def matched(points, others, radius):
    return {
        (y, x)
        for y, x in points
        if any((y - i) ** 2 + (x - j) ** 2 <= radius**2 for i, j in others)
    }


def contour_counts(prediction, truth, classes, tolerance):
    prediction = hide(prediction, truth)
    radius = math.ceil(tolerance * math.hypot(*shape(truth)))
    rows = []
    for c in range(classes):
        ours, theirs = contour(prediction, c, 2 * radius), contour(truth, c, 2 * radius)
        rows.append((matched(ours, theirs, radius), ours, matched(theirs, ours, radius), theirs))
    return [[len(row[part]) for row in rows] for part in range(4)]
