"""The feature similarity loss, slow and obvious: every pair of cells, gradient by autograd.

Written from the formula of arXiv 2304.02621 as the project's notes state it. Tensors in, one loss
for each image out; pairs farther apart than `radius` cells are left out.
"""

import math

import torch

EPS = 1e-5


def gate(distance, mu=2.5):
    return torch.tanh(mu + torch.log((distance + EPS) / (1 - distance + EPS)))


def spatial(height, width, sigma, radius=math.inf):
    """The weight k of every pair of cells."""
    cells = torch.tensor([(i, j) for i in range(height) for j in range(width)]).double()
    squares = (cells[:, None] - cells[None]).square().sum(dim=-1)
    weight = torch.exp(-squares / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    return torch.where(squares <= radius**2, weight, 0.0)


def half_squares(predictions):
    """0.5 |y_i - y_j|^2 of every pair of cells of one image (c, h, w)."""
    y = predictions.flatten(1).T
    return 0.5 * (y[:, None] - y[None]).square().sum(dim=-1)


def feature_similarity(image, predictions, mu=2.5, sigma=5.0, radius=math.inf):
    height, width = image.shape[-2:]
    losses = []
    for colours, y in zip(image, predictions, strict=True):
        x = colours.clamp(0, 1).flatten(1).T
        distance = (x[:, None] - x[None]).abs().sum(dim=-1) / 3
        pairs = spatial(height, width, sigma, radius) * gate(distance, mu) * half_squares(y)
        losses.append(-pairs.sum() / (height * width))
    return torch.stack(losses)


def predictions_from_cams(cams, tags):
    """SEAM's max-norm of each present class's map, and 1 - their maximum in front; one image."""
    rows = [torch.ones_like(cams[0])]
    for cam, tag in zip(cams, tags, strict=True):
        p = torch.relu(cam)
        normed = torch.relu(p - p.min() - 1e-5) / (p.max() - p.min() + 1e-5)
        rows.append(normed * tag)
    rows[0] = 1 - torch.stack(rows[1:]).max(dim=0).values
    return torch.stack(rows)
