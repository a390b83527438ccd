"""What both refinements ask of their arguments, and depth made safe to compute with."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dealseg.depth import at_least_float32, measured


class Inputs(NamedTuple):
    """Arguments in float32 or float64, whose depth can be read everywhere.

    Attributes:
        probabilities: as given.
        image: as given.
        depth: divided by its spread, 0 where it is not valid; None where no pixel is valid.
        valid: where the depth was measured; None without depth.
    """

    probabilities: Float[Tensor, "b c h w"]
    image: Float[Tensor, "b 3 h w"]
    depth: Float[Tensor, "b 1 h w"] | None
    valid: Bool[Tensor, "b 1 h w"] | None


def checked(
    probabilities: Float[Tensor, "b c h w"],
    image: Float[Tensor, "b 3 h w"],
    depth: Float[Tensor, "b 1 h w"] | None,
    valid: Bool[Tensor, "b 1 h w"] | None,
) -> Inputs:
    """Return the arguments ready to compute with.

    Raises:
        ValueError: if sizes differ, or validity comes without depth.
    """
    kind = at_least_float32(probabilities).dtype
    batch, _, height, width = probabilities.shape
    for name, value, channels in (("image", image, 3), ("depth", depth, 1), ("valid", valid, 1)):
        expected = (batch, channels, height, width)
        if value is not None and tuple(value.shape) != expected:
            raise ValueError(
                f"{name} must have shape {expected} to fit the probabilities, "
                f"got {tuple(value.shape)}"
            )
    if depth is None:
        if valid is not None:
            raise ValueError("valid says where depth was measured, and there is no depth")
        return Inputs(probabilities.to(kind), image.to(kind), None, None)
    found = measured(depth, valid, "relative")
    if not bool(found.any()):
        return Inputs(probabilities.to(kind), image.to(kind), None, None)
    return Inputs(probabilities.to(kind), image.to(kind), _by_spread(depth.to(kind), found), found)


def _by_spread(
    depth: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Return each image's valid depth less its mean, over its mean absolute deviation; else 0.

    So no unit, factor or offset of the depth matters. An image of one depth gives 0 everywhere.
    """
    axes, count = (-3, -2, -1), valid.sum(dim=(-3, -2, -1), keepdim=True).clamp(min=1)
    known = torch.where(valid, depth, torch.zeros_like(depth))
    centred = torch.where(valid, known - known.sum(axes, keepdim=True) / count, 0.0)
    spread = centred.abs().sum(axes, keepdim=True) / count
    usable = spread > known.abs().amax(axes, keepdim=True) * 8 * torch.finfo(depth.dtype).eps
    return torch.where(usable, centred / torch.where(usable, spread, 1.0), 0.0)


def require_positive(**options: float) -> None:
    """Refuse options that are not above 0, by their names.

    Raises:
        ValueError: for the first of them.
    """
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
