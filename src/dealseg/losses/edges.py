"""Edge maps and the gate that both sides of the Depth Edge Alignment Loss pass through.

Source: Schmidt, Belagiannis, Nalpantidis, "Depth Edge Alignment Loss", arXiv 2509.17702.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EDGE_SHARE = (0.02, 0.30)
"""Share of grid cells with a depth edge outside of which a training warns: with fewer the loss asks
for flat CAMs, with more it takes slopes for edges. Chosen around the useful 5 to 20 %."""


def gate_zero(mu: float = 2.5) -> float:
    """Return the edge strength at which :func:`edge_activation` changes sign: 1 / (1 + e^mu)."""
    return 1.0 / (1.0 + math.exp(mu))


def edge_activation(edges: Float[Tensor, "*shape"], mu: float = 2.5) -> Float[Tensor, "*shape"]:
    r"""Gate edge strengths from [0, 1] to [-1, 1]: tanh(mu + logit(a)), in closed form.

    $$ a' = \tanh(\mu + \log\frac{a}{1-a}) = \frac{E a^2 - (1-a)^2}{E a^2 + (1-a)^2},
    \quad E = e^{2\mu} $$

    -1 means flat, +1 edge, 0 at a = 1 / (1 + e^mu) (0.0759 at mu = 2.5). The closed form needs no
    epsilon: value and gradient are finite at 0 and 1, where the gradient is 0.

    Source: DEAL, step 3 (mu = 2.5 in the paper); the closed form is ours, equal to rounding.

    Args:
        edges: strengths in [0, 1].
        mu: shift of the gate; larger counts weaker edges.
    """
    wide = edges.float() if edges.dtype in (torch.bfloat16, torch.float16) else edges
    present = math.exp(2 * mu) * wide.square()
    absent = (1 - wide).square()
    return ((present - absent) / (present + absent)).to(edges.dtype)


def sobel_magnitude(maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """Return the length of the 3x3 Sobel gradient, divided by 8: change per cell.

    A ramp that rises by 1 a cell gives 1 inside; a step of height 1 gives 0.5 on both its sides.
    Borders are replicated, so that the frame of the picture is no edge. The gradient of the
    magnitude is taken as 0 where the map is flat (the square root has none).
    """
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    across = (rows[..., 2:] - rows[..., :-2]) / 8
    down = (columns[..., 2:, :] - columns[..., :-2, :]) / 8
    return _safe_sqrt(across.square() + down.square())


def _safe_sqrt(squares: Tensor) -> Tensor:
    """Square root with gradient 0, not infinity, at 0."""
    positive = squares > 0
    return torch.where(positive, squares, torch.ones_like(squares)).sqrt() * positive
