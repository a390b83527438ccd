"""SEAM's normalised CAM, pixel correlation and mean over pixels, number by number."""

import math


def winning_cam(cam):
    """Return nested lists [channel][row][column] from a raw CAM of one image, background first."""
    height, width = len(cam[0]), len(cam[0][0])
    scaled = []
    for rows in cam[1:]:
        peak = max(max(0.0, v) for row in rows for v in row) + 1e-5
        scaled.append([[max(0.0, max(0.0, v) - 1e-5) / peak for v in row] for row in rows])
    result = [[[0.0] * width for _ in range(height)] for _ in cam]
    for y in range(height):
        for x in range(width):
            best = max(rows[y][x] for rows in scaled)
            result[0][y][x] = 1 - best
            for k, rows in enumerate(scaled, 1):
                result[k][y][x] = 0.0 if rows[y][x] < best else rows[y][x]
    return result


def correlate(maps, features):
    """Return [channel][cell] of one image from maps [channel][cell] and features [f][cell]."""
    cells = range(len(maps[0]))
    norms = [math.sqrt(sum(row[i] ** 2 for row in features)) + 1e-5 for i in cells]
    likeness = [
        [max(0.0, sum(row[i] / norms[i] * row[j] / norms[j] for row in features)) for j in cells]
        for i in cells
    ]
    sums = [sum(likeness[i][j] for i in cells) + 1e-5 for j in cells]
    return [[sum(row[i] * likeness[i][j] for i in cells) / sums[j] for j in cells] for row in maps]


def dense(maps, features):
    """Return the same of tensors (b, c, p) and (b, f, p), with the whole matrix, for gradients."""
    units = features / (features.norm(dim=1, keepdim=True) + 1e-5)
    likeness = (units.transpose(1, 2) @ units).relu()
    return maps @ (likeness / (likeness.sum(dim=1, keepdim=True) + 1e-5))
