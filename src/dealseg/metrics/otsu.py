"""A threshold between two heaps of scores, found without ground truth."""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

_EQUAL = 1e-12


def otsu_bin(histogram: Int64[Tensor, " bins"]) -> int | None:
    r"""Return how many leading bins of a histogram are its lower class.

    The split maximises the variance between the classes,

    $$ \sigma_B^2 = \omega_0 \omega_1 (\mu_1 - \mu_0)^2, $$

    with the shares of the samples $\omega$ and the mean bins $\mu$ below and above it. Where empty
    bins lie between the classes all splits there are equal: the middle one is taken, rounded down.

    Source: Otsu 1979, "A Threshold Selection Method from Gray-Level Histograms", eq. 14.

    Args:
        histogram: samples in bins of one width.

    Returns:
        At least 1; None if fewer than two bins hold samples.
    """
    counts = histogram.double()
    if int((counts > 0).sum()) < 2:
        return None
    between = _variance_between(counts)
    equal = (between >= between.max() * (1 - _EQUAL)).nonzero().flatten()
    together = equal - torch.arange(len(equal), device=equal.device) == equal[0]
    return int(equal[0]) + (int(together.sum()) - 1) // 2 + 1


def _variance_between(counts: Float64[Tensor, " bins"]) -> Float64[Tensor, " splits"]:
    """Return the variance between the classes for a split after each bin but the last."""
    places = torch.arange(len(counts), dtype=counts.dtype, device=counts.device)
    below, total = counts.cumsum(0)[:-1], counts.sum()
    moment, moments = (counts * places).cumsum(0)[:-1], (counts * places).sum()
    above = total - below
    apart = (moments - moment) / above.clamp(min=1) - moment / below.clamp(min=1)
    return below * above * apart**2 / total**2
