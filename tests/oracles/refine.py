"""Both refinements slow and obvious: every pair of pixels, one image, float64.

Maps are (c, h, w) tensors; depth and validity (h, w) or None. Depth enters divided by its mean
absolute deviation over the valid pixels.
"""

import math

import torch


def pixels(height, width):
    return [(i, j) for i in range(height) for j in range(width)]


def by_spread(depth, valid):
    """Depth over its mean absolute deviation; the mean itself cancels in differences."""
    if depth is None or not valid.any():
        return torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    known = depth[valid]
    spread = float((known - known.mean()).abs().mean())
    return torch.where(valid, depth, 0.0) / (spread if spread > 1e-12 else math.inf), valid


def deviation(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def local_affinity(
    p,
    image,
    depth=None,
    valid=None,
    dilations=(1, 2, 4, 8, 12, 24),
    iterations=10,
    colour_scale=0.3,
    depth_scale=0.5,
    depth_floor=0.05,
):
    _, height, width = p.shape
    z, known = by_spread(depth, valid)
    z, known = z.expand(height, width).tolist(), known.expand(height, width).tolist()
    colours = image.permute(1, 2, 0).tolist()
    affinity = {}
    for i, j in pixels(height, width):
        near = [(i + d * a, j + d * b) for d in dilations for a in (-1, 0, 1) for b in (-1, 0, 1)]
        near = [(k, m) for k, m in near if 0 <= k < height and 0 <= m < width and (k, m) != (i, j)]
        around = [(i, j), *near]
        scale = [deviation([colours[k][m][c] for k, m in around]) for c in range(3)]
        depths = [z[k][m] for k, m in around if known[k][m]]
        depth_step = depth_scale * ((deviation(depths) if depths else 0.0) + depth_floor)
        terms = []
        for k, m in near:
            steps = [abs(colours[i][j][c] - colours[k][m][c]) for c in range(3)]
            pairs = zip(steps, scale, strict=True)
            term = sum(step / s for step, s in pairs if s > 0) / 3 / colour_scale
            if known[i][j] and known[k][m]:
                term += abs(z[i][j] - z[k][m]) / depth_step
            terms.append(math.exp(-term))
        affinity[i, j] = [
            (place, term / sum(terms)) for place, term in zip(near, terms, strict=True)
        ]
    for _ in range(iterations):
        new = p.clone()
        for (i, j), near in affinity.items():
            if near:
                new[:, i, j] = sum(weight * p[:, k, m] for (k, m), weight in near)
        p = new
    return p


def gaussian(features):
    """The kernel of every pair of rows of features that are divided by their deviations."""
    return torch.exp(-(features[:, None] - features[None]).square().sum(-1) / 2)


def mean_field(
    p,
    image,
    depth=None,
    valid=None,
    iterations=10,
    smooth=(3.0, 3.0),
    bilateral=(4.0, 50.0, 5.0),
    depth_bilateral=(8.0, 0.5),
):
    _, height, width = p.shape
    places = torch.tensor(pixels(height, width), dtype=torch.float64)
    kernels = [(smooth[0], gaussian(places / smooth[1]))]
    colours = 255 * image.flatten(1).T
    alike = gaussian(places / bilateral[1])
    srgb, deviation = depth_bilateral
    z, known = by_spread(depth, valid)
    z, known = z.expand(height, width).reshape(-1, 1), known.expand(height, width).reshape(-1, 1)
    with_depth = gaussian(colours / srgb) * gaussian(z / deviation)
    alike *= torch.where(known & known.T, with_depth, gaussian(colours / bilateral[2]))
    kernels.append((bilateral[0], alike))
    kernels = [(weight, k / torch.outer(k.sum(1), k.sum(0)).sqrt()) for weight, k in kernels]
    unary = p.flatten(1).T.log()
    q = unary.softmax(1)
    for _ in range(iterations):
        q = (unary + sum(weight * (k @ q) for weight, k in kernels)).softmax(1)
    return q.T.reshape(p.shape)


def to_pixels(maps, colour, depth, known, stride, slack):
    """Each pixel's mean of its cell and the four beside it; beyond the border cells are repeated.

    Looks are in deviations. `known` says where there is depth; slack scales colours beside it.
    """
    _, height, width = colour.shape
    _, rows, columns = maps.shape

    def mean(values, weights, row, column):
        rows_of, columns_of = (slice(stride * k, stride * (k + 1)) for k in (row, column))
        share = weights[rows_of, columns_of]
        total = (values[..., rows_of, columns_of] * share).sum((-2, -1))
        return total / share.sum() if share.any() else torch.zeros_like(total)

    every = torch.ones(height, width, dtype=colour.dtype)
    found = torch.zeros(len(maps), height, width, dtype=maps.dtype)
    for i, j in pixels(height, width):
        weights, values = [], []
        for down, right in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
            centre = (i // stride + down + 0.5) * stride, (j // stride + right + 0.5) * stride
            row = min(max(i // stride + down, 0), rows - 1)
            column = min(max(j // stride + right, 0), columns - 1)
            apart = (i + 0.5 - centre[0]) ** 2 + (j + 0.5 - centre[1]) ** 2
            apart = apart / (0.7 * stride) ** 2
            step = colour[:, i, j] - mean(colour, every, row, column)
            if known[i, j] and mean(known.to(every), every, row, column) >= 0.5:
                deeper = depth[i, j] - mean(depth, known.to(depth.dtype), row, column)
                apart += slack**2 * float(step @ step) + float(deeper) ** 2
            else:
                apart += float(step @ step)
            weights.append(math.exp(-apart / 2))
            values.append(maps[:, row, column])
        pairs = zip(weights, values, strict=True)
        found[:, i, j] = sum(weight * value for weight, value in pairs) / sum(weights)
    return found
