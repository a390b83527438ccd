"""How good a mask is expected to be, without ground truth."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def expected_mean_iou(
    votes: Sequence[Float[Tensor, "h w"]], mask: Shaped[Tensor, "h w"]
) -> Float[Tensor, ""]:
    r"""Return the mean IoU that a mask is expected to have.

    If pixels have the classes c with the independent probabilities $p_c = v_c / \sum v$, the
    expected intersection over the expected union of the class c is

    $$ \frac{\sum_{i: m_i = c} p_{ic}}{|\{i: m_i = c\}| + \sum_{i: m_i \neq c} p_{ic}}, $$

    and the mean goes over all classes that have votes, background included. A class without any
    pixel and any vote counts 0: it is said to be there and was not found.

    Source: Nowozin 2014, "Optimal Decisions from Probabilistic Models: the
    Intersection-over-Union Case", its approximation by the ratio of expectations.

    Args:
        votes: a map for each class, not negative; pixels without any vote give nothing.
        mask: at each pixel the place of its class among the votes.
    """
    total = sum(votes[1:], votes[0])
    share = torch.where(total > 0, total, 1.0).reciprocal()
    found = []
    for place, vote in enumerate(votes):
        probability, inside = vote * share, mask == place
        intersection = probability[inside].sum()
        union = inside.sum() + probability.sum() - intersection
        found.append(intersection / torch.where(union > 0, union, 1.0))
    return torch.stack(found).mean().clamp(0, 1)
