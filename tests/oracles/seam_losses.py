"""SEAM's losses, slow and obvious: loops over images, classes and pixels in float64.

Written from the project's notes on arXiv 2004.04581 and the authors' code. Arguments are NumPy
arrays: raw maps (b, 1 + k, h, w) with the background first, tags (b, k).
"""

import math

import numpy as np

EPSILON = 1e-5


def soft_margin(logits, tags):
    """Mean over classes of the binary cross-entropy of each image, from its definition."""
    losses = []
    for row, labels in zip(logits, tags, strict=True):
        terms = []
        for z, y in zip(row, labels, strict=True):
            probability = 1 / (1 + math.exp(-z))
            terms.append(-(y * math.log(probability) + (1 - y) * math.log(1 - probability)))
        losses.append(sum(terms) / len(terms))
    return np.array(losses)


def resize(image, size):
    """Bilinear interpolation of one map; the corners of both grids coincide."""
    (height, width), (rows, columns) = image.shape, size
    out = np.zeros(size)
    for i in range(rows):
        for j in range(columns):
            y = i * (height - 1) / (rows - 1) if rows > 1 else 0.0
            x = j * (width - 1) / (columns - 1) if columns > 1 else 0.0
            for row in range(height):
                for column in range(width):
                    near = max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
                    out[i, j] += near * image[row, column]
    return out


def max_norm(image):
    """ReLU; from the minimum and the range to [0, 1], less a margin."""
    positive = np.maximum(image, 0.0)
    low, high = positive.min(), positive.max()
    return np.maximum(positive - low - EPSILON, 0.0) / (high - low + EPSILON)


def comparable(maps, labels, size):
    """One image's maps normalised, at `size`, absent classes 0; the background is always there."""
    present = [1.0, *labels]
    return np.array([resize(max_norm(m), size) * y for m, y in zip(maps, present, strict=True)])


def equivariance(cam1, cam2, tags):
    """Mean over classes and pixels of the difference of the foregrounds."""
    size, losses = cam2.shape[2:], []
    for first, second, labels in zip(cam1, cam2, tags, strict=True):
        difference = comparable(first, labels, size) - comparable(second, labels, size)
        losses.append(np.mean(np.abs(difference[1:])))
    return np.array(losses)


def winners(maps):
    """At each pixel the largest foreground value alone, and 1 minus it as the background."""
    out = np.zeros_like(maps)
    for i in range(maps.shape[1]):
        for j in range(maps.shape[2]):
            top = max(maps[1:, i, j])
            out[0, i, j] = 1 - top
            for k in range(1, len(maps)):
                out[k, i, j] = top if maps[k, i, j] == top else 0.0
    return out


def cross_equivariance(cam1, cam2, pcm1, pcm2, tags, share=0.2):
    """Mean of the largest 20 % of differences of refined maps from the other view's winners."""
    size, losses = cam2.shape[2:], []
    for *maps, labels in zip(cam1, cam2, pcm1, pcm2, tags, strict=True):
        a, b, refined1, refined2 = (comparable(m, labels, size) for m in maps)
        total = 0.0
        for target, refined in ((winners(b), refined1), (winners(a), refined2)):
            errors = sorted(np.abs(target - refined).flatten(), reverse=True)
            count = max(1, int(len(errors) * share))
            total += sum(errors[:count]) / count
        losses.append(total)
    return np.array(losses)


def min_pooling(pcm, tags, share=0.25):
    """Mean of the lowest quarter of the pixels' largest foreground value, negative taken as 0."""
    losses = []
    for maps, labels in zip(pcm, tags, strict=True):
        labelled = [m * y for m, y in zip(maps[1:], labels, strict=True)]
        values = sorted(np.max(labelled, axis=0).flatten())
        count = max(1, int(len(values) * share))
        losses.append(sum(max(v, 0.0) for v in values[:count]) / count)
    return np.array(losses)
