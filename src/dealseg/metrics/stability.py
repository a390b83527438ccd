"""A threshold found without ground truth: where it matters least which one is taken."""

import torch
from jaxtyping import Float
from torch import Tensor

_EQUAL = 1e-9


def most_stable(shares: Float[Tensor, " n"]) -> int | None:
    r"""Return at which of evenly spaced thresholds the share of object pixels changes least.

    That is the i, first and last aside, with the smallest

    $$ \frac{\log a_{i-1} - \log a_{i+1}}{\sqrt{1 - (a_{i-1} + a_{i+1}) / 2}}, $$

    with the share $a_i$ of pixels that threshold i leaves to objects; less than 0 counts as 0.
    Where neighbouring thresholds are equal in this, the middle of the first such run is taken,
    rounded down.

    Source: Matas, Chum, Urban, Pajdla 2002, "Robust Wide Baseline Stereo from Maximally Stable
    Extremal Regions", section 2: there the area of one region, relative to itself. Departs in
    taking all object pixels of many images together, and in the root: where objects cover nearly
    everything their area cannot change much, so the change counts relative to the background as
    well. Of the powers 0, 1/4, 1/2, 3/4 and 1 of the background the first and the last failed on
    one set of CAMs each, the others found about the same; see docs/labeling.md.

    Args:
        shares: of the pixels, in [0, 1], for ascending thresholds.

    Returns:
        None if there is no such i whose neighbours both leave pixels to objects and to background.
    """
    before, after = shares.double()[:-2], shares.double()[2:]
    usable = (before > 0) & (before < 1) & (after > 0) & (after < 1)
    if not bool(usable.any()):
        return None
    steps = (before / after).log().clamp(min=0) / (1 - (before + after) / 2).sqrt()
    steps = torch.where(usable, steps, torch.inf)
    equal = (steps <= steps.min() + _EQUAL).nonzero().flatten()
    together = equal - torch.arange(len(equal), device=equal.device) == equal[0]
    return int(equal[0]) + (int(together.sum()) - 1) // 2 + 1
