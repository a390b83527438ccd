"""Losses of the second stage, slow and obvious: loops over pixels in float64.

Written from arXiv 1805.07836, 1908.06112, 1512.00567 and 2304.01184. Arguments are NumPy arrays:
logits (b, c, h, w), mask (b, h, w) with 255 for ignored pixels.
"""

import math

import numpy as np

IGNORE = 255


def probabilities(scores):
    exponents = [math.exp(s - max(scores)) for s in scores]
    return [e / sum(exponents) for e in exponents]


def each_pixel(logits, mask, value):
    """Apply `value(probabilities, label)` at every pixel that is not ignored; 0 elsewhere."""
    out = np.zeros(mask.shape)
    for b, i, j in np.ndindex(mask.shape):
        if mask[b, i, j] != IGNORE:
            out[b, i, j] = value(probabilities(logits[b, :, i, j].tolist()), int(mask[b, i, j]))
    return out


def cross_entropy(logits, mask, smoothing=0.0):
    def value(p, y):
        target = [(1 - smoothing) * (c == y) + smoothing / len(p) for c in range(len(p))]
        return -sum(t * math.log(q) for t, q in zip(target, p, strict=True))

    return each_pixel(logits, mask, value)


def generalised(logits, mask, q):
    return each_pixel(logits, mask, lambda p, y: (1 - p[y] ** q) / q)


def symmetric(logits, mask, alpha, beta, floor):
    def value(p, y):
        reverse = -sum(p[c] * (0.0 if c == y else floor) for c in range(len(p)))
        return alpha * -math.log(p[y]) + beta * reverse

    return each_pixel(logits, mask, value)


def clipped(logits, mask, patch, start):
    """WeakTr's rule, patch by patch."""
    entropy = cross_entropy(logits, mask)
    valid = mask != IGNORE
    mean = entropy[valid].mean() if valid.any() else 0.0
    if mean > start:
        return entropy
    out = entropy.copy()
    for top in range(0, mask.shape[1], patch[0]):
        for left in range(0, mask.shape[2], patch[1]):
            window = (slice(None), slice(top, top + patch[0]), slice(left, left + patch[1]))
            inside = entropy[window][valid[window]]
            level = max(inside.mean(), mean) if inside.size else mean
            out[window] = np.minimum(entropy[window], level)
    return out


def mean(values, mask, class_weights, image_weights):
    total = weight = 0.0
    for b, i, j in np.ndindex(mask.shape):
        if mask[b, i, j] != IGNORE:
            w = class_weights[int(mask[b, i, j])] * image_weights[b]
            total, weight = total + w * values[b, i, j], weight + w
    return total / weight if weight else 0.0
