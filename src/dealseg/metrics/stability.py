"""A threshold found without ground truth: where it matters least which one is taken."""

import torch
from jaxtyping import Float
from torch import Tensor

_EQUAL = 1e-9


def most_stable(shares: Float[Tensor, " n"]) -> int | None:
    r"""Return at which of evenly spaced thresholds the share of object pixels changes least.

    That is the i, first and last aside, with the smallest

    $$ \operatorname{logit} a_{i-1} - \operatorname{logit} a_{i+1}, $$

    with the share $a_i$ of pixels that threshold i leaves to objects, and at least 0. Where
    neighbouring thresholds are equal in this, the middle of the first such run is taken, rounded
    down.

    Source: Matas, Chum, Urban, Pajdla 2002, "Robust Wide Baseline Stereo from Maximally Stable
    Extremal Regions", section 2: there the area of one region, relative to itself. Departs in
    taking all object pixels of many images together, and log-odds instead of the logarithm: a share
    near 1 changes little, however much the background does.

    Args:
        shares: of the pixels, in [0, 1], for ascending thresholds.

    Returns:
        None if there is no such i whose neighbours both leave pixels to objects and to background.
    """
    odds = torch.logit(shares.double())
    steps = (odds[:-2] - odds[2:]).clamp(min=0)
    steps = torch.where(odds[:-2].isfinite() & odds[2:].isfinite(), steps, torch.inf)
    if not bool(steps.isfinite().any()):
        return None
    equal = (steps <= steps.min() + _EQUAL).nonzero().flatten()
    together = equal - torch.arange(len(equal), device=equal.device) == equal[0]
    return int(equal[0]) + (int(together.sum()) - 1) // 2 + 1
