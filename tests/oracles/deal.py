"""The Depth Edge Alignment Loss, slow and obvious: loops over pixels in float64.

Written from the formulas of arXiv 2509.17702 as the project's method notes state them, with the
choices they leave open taken as the loss documents its defaults: Sobel / 8 with replicated borders,
inverse depth mapped to [0, 1] over the image, gain 2, CAMs divided by their maximum.
Arguments are NumPy arrays; `valid` is an array of booleans.
"""

import math

import numpy as np

SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
SOBEL_Y = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]


def activation(a, mu=2.5):
    """tanh(mu + log(a / (1 - a))), with its limits -1 at 0 and 1 at 1."""
    if a <= 0:
        return -1.0
    if a >= 1:
        return 1.0
    return math.tanh(mu + math.log(a / (1 - a)))


def sobel(image):
    """Length of the Sobel gradient / 8 of one map, the border pixels repeated outwards."""
    height, width = image.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            gx = gy = 0.0
            for di in range(3):
                for dj in range(3):
                    row = min(max(i + di - 1, 0), height - 1)
                    column = min(max(j + dj - 1, 0), width - 1)
                    gx += SOBEL_X[di][dj] * float(image[row, column])
                    gy += SOBEL_Y[di][dj] * float(image[row, column])
            out[i, j] = math.sqrt(gx * gx + gy * gy) / 8
    return out


def edge_alignment(cam_edges, depth_edges, tags, valid=None, mu=2.5):
    """Step 4 for each image: minus the mean over valid pixels of the mean over present classes."""
    batch, classes, height, width = cam_edges.shape
    losses = []
    for b in range(batch):
        present = [k for k in range(classes) if tags[b, k] == 1]
        total, pixels = 0.0, 0
        for i in range(height):
            for j in range(width):
                if not present or (valid is not None and not valid[b, 0, i, j]):
                    continue
                d = activation(float(depth_edges[b, 0, i, j]), mu)
                products = [activation(float(cam_edges[b, k, i, j]), mu) * d for k in present]
                total += sum(products) / len(present)
                pixels += 1
        losses.append(-total / pixels if pixels else 0.0)
    return np.array(losses)


def triangle(x):
    return max(0.0, 1 - abs(x))


def cubic(x):
    """Keys' cubic with a = -1/2, as the anti-aliased resizing of Pillow has it."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def weights(length, cells, kernel, reach):
    """Weight of each of `length` pixels in each cell: the kernel widened to the cell if larger."""
    step = length / cells
    width = max(step, 1.0)
    table = np.zeros((cells, length))
    for cell in range(cells):
        centre = (cell + 0.5) * step
        for pixel in range(length):
            distance = pixel + 0.5 - centre
            if abs(distance) < reach * width + 0.5:
                table[cell, pixel] = kernel(distance / width)
        table[cell] /= table[cell].sum()
    return table


def resample(image, size, valid=None, kernel=cubic, reach=2):
    """Weighted mean of the valid pixels in each cell; valid where they hold half of the weight."""
    if valid is None:
        valid = np.ones(image.shape, dtype=bool)
    rows = weights(image.shape[0], size[0], kernel, reach)
    columns = weights(image.shape[1], size[1], kernel, reach)
    out, known = np.zeros(size), np.zeros(size, dtype=bool)
    for i in range(size[0]):
        for j in range(size[1]):
            total = mass = 0.0
            for y in range(image.shape[0]):
                for x in range(image.shape[1]):
                    if valid[y, x]:
                        weight = rows[i, y] * columns[j, x]
                        total += weight * float(image[y, x])
                        mass += weight
            known[i, j] = mass >= 0.5
            out[i, j] = total / mass if known[i, j] else 0.0
    return out, known


def depth_edges(depth, valid, size, gain=2.0):
    """Edges of inverse depth of one image on the grid, and where all nine cells are known."""
    usable = np.zeros(depth.shape, dtype=bool)
    inverse = np.zeros(depth.shape)
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            value = float(depth[y, x])
            if valid[y, x] and math.isfinite(value) and value > 0:
                usable[y, x] = True
                inverse[y, x] = 1 / value
    grid, known = resample(inverse, size, usable)
    values = [grid[i, j] for i in range(size[0]) for j in range(size[1]) if known[i, j]]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    for i in range(size[0]):
        for j in range(size[1]):
            flat = not known[i, j] or high == low
            grid[i, j] = 0.0 if flat else (grid[i, j] - low) / (high - low)
    strength = np.minimum(gain * sobel(grid), 1.0)
    inside = np.zeros(size, dtype=bool)
    for i in range(size[0]):
        for j in range(size[1]):
            inside[i, j] = all(
                known[y, x]
                for y in range(max(i - 1, 0), min(i + 2, size[0]))
                for x in range(max(j - 1, 0), min(j + 2, size[1]))
            )
    return strength, inside


def cam_edges(cam, size, gain=2.0):
    """Edges of one CAM on the grid: triangle filter, ReLU, divided by its maximum, Sobel, gain."""
    grid, _ = resample(cam, size, kernel=triangle, reach=1)
    positive = np.maximum(grid, 0.0)
    peak = positive.max()
    return np.minimum(gain * sobel(positive / peak if peak > 0 else positive), 1.0)


def depth_edge_alignment(cams, depth, tags, valid, size, mu=2.5):
    """Steps 1 to 4 on raw CAMs (b, k, h, w) and raw depth (b, 1, hd, wd)."""
    cam_side = np.array([[cam_edges(cam, size) for cam in image] for image in cams])
    depth_side = [depth_edges(depth[b, 0], valid[b, 0], size) for b in range(len(depth))]
    strength = np.array([[edges] for edges, _ in depth_side])
    known = np.array([[inside] for _, inside in depth_side])
    return edge_alignment(cam_side, strength, tags, known, mu)
