"""Depth noise, pixel by pixel."""

import math

import numpy as np


def quantised_metres(depth, valid, step):
    """Metric depth rounded to whole steps of inverse depth; 0 where invalid or beyond the range."""
    result = np.zeros_like(depth)
    for y, x in np.ndindex(depth.shape):
        if valid[y, x]:
            steps = round(1 / depth[y, x] / step)
            result[y, x] = 1 / (steps * step) if steps else 0.0
    return result


def blurred(depth, valid, sigma):
    """Mean of the valid pixels within three deviations (a square), with Gaussian weights."""
    reach = math.ceil(3 * sigma)
    result = np.zeros_like(depth)
    for y, x in np.ndindex(depth.shape):
        if not valid[y, x]:
            continue
        total = weight = 0.0
        for v, u in np.ndindex(depth.shape):
            if valid[v, u] and abs(v - y) <= reach and abs(u - x) <= reach:
                w = math.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * sigma**2))
                total, weight = total + w * depth[v, u], weight + w
        result[y, x] = total / weight
    return result


def moved(maps, right, down):
    """The map moved by whole pixels, 0 from outside."""
    result = np.zeros_like(maps)
    height, width = maps.shape
    for y, x in np.ndindex(maps.shape):
        if 0 <= y - down < height and 0 <= x - right < width:
            result[y, x] = maps[y - down, x - right]
    return result


def near_edges(depth, valid, radius, jump):
    """Whether there is, within `radius`, a pixel with a valid neighbour more than `jump` off."""
    height, width = depth.shape
    edge = np.zeros(depth.shape, bool)
    for y, x in np.ndindex(depth.shape):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and valid[y, x] and valid[v, u]:
                least = min(depth[y, x], depth[v, u])
                edge[y, x] |= abs(depth[y, x] - depth[v, u]) > jump * least
    result = np.zeros_like(edge)
    for y, x in np.ndindex(edge.shape):
        window = edge[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        result[y, x] = window.any()
    return result
