"""The largest of many values, without sorting them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def count_of(number: int, share: float) -> int:
    """Return how many of `number` elements are a `share` of them, rounded down but at least one.

    Raises:
        ValueError: for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    return max(1, int(number * share))


@torch.no_grad()
def top_weights(values: Float[Tensor, "*s"], count: int) -> Float[Tensor, "*s"]:
    """Return 1 on the `count` largest values and 0 elsewhere; ties at the limit share what is left.

    The sum of values times weights is the sum of the largest ones, and has its gradient.
    """
    if count >= values.numel():
        return torch.ones_like(values)
    order = (values - _kth_largest(values.flatten(), count)).sign_()  # 1 above, 0 at the limit
    above, equal = order.relu(), 1 - order.abs()
    return above.add_(equal.mul_((count - above.sum()) / equal.sum()))


def _kth_largest(values: Float[Tensor, " n"], count: int) -> Float[Tensor, ""]:
    """Return the value that `count - 1` others reach.

    NumPy's partition is vectorised, up to ten times as fast as PyTorch's selection on a CPU.
    """
    if values.device.type != "cpu":
        return values.topk(count, sorted=False).values.amin()
    place = len(values) - count
    return torch.as_tensor(np.partition(values.numpy(), place)[place])
