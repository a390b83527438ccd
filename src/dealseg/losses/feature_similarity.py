"""The feature similarity loss (FSL): predictions smooth where colour is, apart across its edges.

Source: Jonnarth, Zhang, Felsberg, "High-fidelity Pseudo-labels for Boosting Weakly-Supervised
Segmentation" (HFPL), WACV 2024, arXiv 2304.02621, and its published code.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.depth import at_least_float32
from dealseg.losses.equivariance import max_norm

EPS = 1e-5
WHOLE = 1 + 2 * EPS
"""HFPL takes (d + EPS) / (1 - d + EPS) as the odds of a colour distance; the sum of both parts."""
CPU_BLOCK, DEVICE_BLOCK = 3 * 2**16, 2**22
"""Pairs weighed at once: by each CPU thread what its second cache was fastest with; elsewhere few
large kernels."""


def feature_similarity(
    image: Float[Tensor, "b 3 h w"],
    predictions: Float[Tensor, "b c h w"],
    *,
    mu: float = 2.5,
    sigma: float = 5.0,
    window: float | None = None,
) -> Float[Tensor, " b"]:
    r"""Score how badly predictions follow the colours, one value per image; lower is better.

    $$ L = -\frac{1}{hw} \sum_{ij} k_{ij} g_{ij} \tfrac12 |y_i - y_j|^2, \quad
    k_{ij} = \frac{e^{-r_{ij}^2 / 2\sigma^2}}{2 \pi \sigma^2}, \quad
    g_{ij} = \tanh(\mu + \mathrm{logit}(d_{ij})) $$

    over all ordered pairs of cells, with r their distance in cells and d the mean absolute
    difference of their colours. Alike in colour (d < 0.0759 at mu = 2.5) they are pulled together,
    else pushed apart. L is in [-1, 1] if no two predictions are farther apart than sqrt(2), as
    probabilities never are, and sigma is not below 1 (the sum of k over a row is then at most 1).

    Computed as a graph Laplacian: with W = k g, which the colours alone decide, the double sum is
    sum_i deg_i |y_i|^2 - <y, W y>, and the gradient of L is -2/(hw) (deg_i y_i - (W y)_i). W is
    made in blocks, each pair once, and no block outlives its use: kept for the backward pass is one
    map of the size of the predictions. Channels that are constant over an image, as those of absent
    classes are, cost nothing. k counts as 0 beyond 8 sigma (12 in float64), where it is less than
    eps^2 of its largest value, so time grows with that reach. There is no second derivative.

    Equal to the source, the epsilon of 1e-5 in its logit included, but for one value per image, so
    that each is scored alone (the source's own windowed form scores only the first of a batch).
    The gate is :func:`dealseg.losses.edges.edge_activation` up to that epsilon.

    With a `window`, pairs farther apart than window * sigma cells are left out. If window is at
    least sqrt(2) + 1 / (2 sigma), the weights left out of a cell's sum are at most

    $$ m = \frac{4}{\pi} e^{-(window - 1/(2\sigma))^2 / 2} $$

    (0.019 at window 3, sigma 5), so L changes by at most m D^2 / 2 and its gradient at a cell, as a
    vector over the channels, by at most 2 m D / (hw), with D the largest distance of two cells'
    predictions: D^2 / 2 is at most 1 for one-hot predictions, c / 2 for any in [0, 1].

    Args:
        image: RGB in [0, 1] (clamped), at the grid of the predictions; gets no gradient.
        predictions: class scores of each cell; half precision is computed with in float32.
        mu: shift of the gate; larger counts weaker colour edges.
        sigma: reach in cells.
        window: radius in sigmas beyond which pairs are left out; None takes all pairs.

    Raises:
        ValueError: for a sigma or window that is not positive, or grids that differ.
        RuntimeError: in the backward pass, if a second derivative is asked for (`create_graph`).
    """
    if not sigma > 0 or not (window is None or window > 0):
        raise ValueError(f"sigma and window must be > 0, got sigma {sigma} and window {window}")
    if image.shape[-2:] != predictions.shape[-2:]:
        raise ValueError(
            f"image must have the grid of the predictions, {tuple(predictions.shape[-2:])}, got "
            f"{tuple(image.shape[-2:])}: resize it first"
        )
    wide = at_least_float32(predictions)
    colours = image.detach().to(wide.dtype).clamp(0, 1) / (3 * WHOLE)
    rounding = math.sqrt(-4 * math.log(torch.finfo(wide.dtype).eps))  # k is eps^2 of its largest
    radius = sigma * min(rounding, math.inf if window is None else window)
    with torch.autocast(wide.device.type, enabled=False):
        losses: Tensor = _QuadraticForm.apply(wide, colours, mu, sigma, radius)
    return losses


def predictions_from_cams(
    cams: Float[Tensor, "b k h w"], tags: Float[Tensor, "b k"]
) -> Float[Tensor, "b k+1 h w"]:
    """Return what HFPL scores: max-normed CAMs of the classes present, 1 - their maximum first.

    Args:
        cams: raw maps, without background; see :func:`dealseg.losses.equivariance.max_norm`.
        tags: 1 for classes in the image, else 0.
    """
    maps = max_norm(at_least_float32(cams))
    present = maps * tags[:, :, None, None].to(maps.dtype)
    background = 1 - present.max(dim=1, keepdim=True).values
    return torch.cat([background, present], dim=1)


class FeatureSimilarity(nn.Module):
    """Batch mean of :func:`feature_similarity`, which documents the options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(
        self, image: Float[Tensor, "b 3 h w"], predictions: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return feature_similarity(image, predictions, **self.options).mean()


class _QuadraticForm(torch.autograd.Function):
    """-<y, (D - W) y> / (h w) for each image."""

    @staticmethod
    def forward(
        ctx: Any, predictions: Tensor, colours: Tensor, mu: float, sigma: float, radius: float
    ) -> Tensor:
        # A constant added to y changes nothing; without it, less is lost in the difference.
        y = predictions - predictions.mean(dim=(-2, -1), keepdim=True)
        tiles = _tiles(colours, sigma, radius)
        product = torch.stack(
            [_laplacian(*each, tiles, math.exp(2 * mu)) for each in zip(y, colours, strict=True)]
        )
        ctx.save_for_backward(product)
        return -(y * product).mean(dim=(-2, -1)).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "feature_similarity has no second derivative: call backward without create_graph"
            )
        (product,) = ctx.saved_tensors
        factor = -2 / (product.shape[-2] * product.shape[-1])
        return product * (factor * slope[:, None, None, None]), None, None, None, None


class _Tiles(NamedTuple):
    """How the pairs are cut in blocks: a tile of cells against all at or below it in reach.

    Attributes:
        height: rows of a tile.
        width: columns of a tile.
        reach: rows below a tile, and columns on both sides of it, that it meets.
        margin: columns of the kernel before those of the tile.
        kernel: k between the cells of a tile and those in reach, 0 beyond the radius.
        scratch: room for two blocks.
    """

    height: int
    width: int
    reach: tuple[int, int]
    margin: int
    kernel: Float[Tensor, "th tw rows columns"]
    scratch: Float[Tensor, "2 n"]


def _tiles(colours: Float[Tensor, "b 3 h w"], sigma: float, radius: float) -> _Tiles:
    """Cut so that a block holds about as many weights as the device is best with."""
    h, w = colours.shape[-2:]
    down, aside = (min(side - 1, math.floor(min(radius, side))) for side in (h, w))
    on_cpu = colours.device.type == "cpu"
    most = CPU_BLOCK * torch.get_num_threads() if on_cpu else DEVICE_BLOCK
    room = most / (down + 1)  # for the columns of a tile times those in reach
    width = _even(w, math.floor(max(room / w, math.sqrt(aside**2 + room) - aside)))
    height = _even(h, most // (width * (down + 1) * min(w, 2 * aside + width))) if width == w else 1
    margin = min(aside, (w - 1) // width * width)
    rows, columns = min(h, height + down), margin + width + margin
    y = _offsets(height, rows, 0, colours)
    x = _offsets(width, columns, margin, colours)
    squares = y.square()[:, None, :, None] + x.square()[None, :, None, :]
    kernel = torch.exp(squares / (-2 * sigma**2)) / (2 * math.pi * sigma**2)
    kernel.masked_fill_(squares > radius**2, 0)
    return _Tiles(
        height, width, (down, aside), margin, kernel, colours.new_empty(2, kernel.numel())
    )


def _even(length: int, most: int) -> int:
    """Return the size of the fewest equal pieces of `length` that are not larger than `most`."""
    return math.ceil(length / math.ceil(length / max(1, min(most, length))))


def _offsets(own: int, near: int, margin: int, like: Tensor) -> Float[Tensor, "own near"]:
    """Return the distance along one axis of the cells in reach from those of a tile."""
    line = torch.arange(max(own, near) + margin, device=like.device, dtype=like.dtype)
    return line[:near] - margin - line[:own, None]


def _laplacian(
    y: Float[Tensor, "c h w"], colours: Float[Tensor, "3 h w"], tiles: _Tiles, gain: float
) -> Float[Tensor, "c h w"]:
    """Return (D - W) y of one image, W never whole; constant channels are 0 and not computed."""
    flat = y.flatten(1)
    varied = (flat.amax(dim=1) != flat.amin(dim=1)).nonzero()[:, 0]
    values = torch.cat([y[varied], torch.ones_like(y[:1])]).permute(1, 2, 0).contiguous()
    sums = torch.zeros_like(values)
    for top in range(0, y.shape[1], tiles.height):
        for left in range(0, y.shape[2], tiles.width):
            _add_tile(sums, values, colours, tiles, (top, left), gain)
    product = sums[..., -1:] * values[..., :-1] - sums[..., :-1]
    return torch.zeros_like(y).index_copy_(0, varied, product.permute(2, 0, 1))


def _add_tile(
    sums: Float[Tensor, "h w m"],
    values: Float[Tensor, "h w m"],
    colours: Float[Tensor, "3 h w"],
    tiles: _Tiles,
    corner: tuple[int, int],
    gain: float,
) -> None:
    """Add W times the values for the pairs of a tile: to its own cells, then to those below.

    The cells of the tile's own rows are met from both sides, so only rows below get their share.
    """
    (h, w), (top, left) = colours.shape[1:], corner
    bottom, right = min(top + tiles.height, h), min(left + tiles.width, w)
    end = min(bottom + tiles.reach[0], h)
    first, last = max(left - tiles.reach[1], 0), min(right + tiles.reach[1], w)
    skip = tiles.margin - (left - first)
    kernel = tiles.kernel[: bottom - top, : right - left, : end - top, skip : skip + last - first]
    own, near = colours[:, top:bottom, left:right], colours[:, top:end, first:last]
    weights = _weights(own.flatten(1), near.flatten(1), kernel, tiles.scratch, gain)
    mine, theirs = values[top:bottom, left:right], values[top:end, first:last]
    sums[top:bottom, left:right] += (weights @ theirs.flatten(0, 1)).view_as(mine)
    if end > bottom:
        below = weights[:, (bottom - top) * (last - first) :].T @ mine.flatten(0, 1)
        sums[bottom:end, first:last] += below.view(end - bottom, last - first, -1)


def _weights(
    own: Float[Tensor, "3 p"],
    near: Float[Tensor, "3 q"],
    kernel: Float[Tensor, "th tw rows columns"],
    scratch: Float[Tensor, "2 n"],
    gain: float,
) -> Float[Tensor, "p q"]:
    """Return k tanh(mu + ln r) = k - 2 k / (1 + e^2mu r^2), r the odds of d; made in scratch."""
    shape, count = (own.shape[1], near.shape[1]), kernel.numel()
    distance, spare = scratch[0, :count].view(shape), scratch[1, :count].view(shape)
    torch.sub(own[0, :, None], near[0], out=distance).abs_()
    for channel in (1, 2):
        distance += torch.sub(own[channel, :, None], near[channel], out=spare).abs_()
    one = distance.new_ones(())
    odds = torch.sub(one * ((1 + EPS) / WHOLE), distance, out=spare).reciprocal_().sub_(1)
    divisor = torch.addcmul(one, odds, odds, value=gain, out=odds).view(kernel.shape)
    torch.addcdiv(kernel, kernel, divisor, value=-2, out=distance.view(kernel.shape))
    return distance
