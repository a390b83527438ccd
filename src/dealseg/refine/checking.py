"""What both refinements ask of their arguments, and depth made safe to compute with."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dealseg.depth import at_least_float32, measured

_IMAGE = (-3, -2, -1)  # the axes of one image of a batch


class Inputs(NamedTuple):
    """Arguments in float32 or float64, whose depth can be read everywhere.

    Attributes:
        probabilities: as given.
        image: as given.
        depth: divided by its spread, 0 where it is not valid; None where no pixel is valid.
        valid: where the depth was measured; None without depth.
        known: of each image, how many pixels have a depth.
    """

    probabilities: Float[Tensor, "b c h w"]
    image: Float[Tensor, "b 3 h w"]
    depth: Float[Tensor, "b 1 h w"] | None
    valid: Bool[Tensor, "b 1 h w"] | None
    known: tuple[int, ...]


def checked(
    probabilities: Float[Tensor, "b c h w"],
    image: Float[Tensor, "b 3 h w"],
    depth: Float[Tensor, "b 1 h w"] | None,
    valid: Bool[Tensor, "b 1 h w"] | None,
) -> Inputs:
    """Return the arguments ready to compute with.

    Raises:
        ValueError: if sizes differ, probabilities or image are not finite, or validity comes
            without depth.
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
    if depth is None and valid is not None:
        raise ValueError("valid says where depth was measured, and there is no depth")
    given = Inputs(probabilities.to(kind), image.to(kind), None, None, (0,) * batch)
    for name, value in (("probabilities", given.probabilities), ("image", given.image)):
        if not bool(value.sum().isfinite()):  # the sum is not, where one number is not
            raise ValueError(f"{name} must be finite, got infinity or NaN")
    if depth is None:
        return given
    found = measured(depth, valid, "relative")
    count = found.sum(dim=_IMAGE, keepdim=True)
    known = tuple(count.flatten().tolist())
    if not any(known):
        return given
    return given._replace(depth=_by_spread(depth.to(kind), found, count), valid=found, known=known)


def _by_spread(
    depth: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    count: Int[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b 1 h w"]:
    """Return each image's valid depth less its mean, over its mean absolute deviation; else 0.

    So no unit, factor or offset of the depth matters. An image of one depth gives 0 everywhere.
    """
    count = count.clamp(min=1)
    known = torch.where(valid, depth, 0.0)
    largest = known.abs().amax(_IMAGE, keepdim=True)
    known.div_(torch.where(largest > 0, largest, 1.0))  # so that no sum and no factor overflows
    centred = torch.where(valid, known.sub_(known.sum(_IMAGE, keepdim=True) / count), 0.0)
    spread = centred.abs().sum(_IMAGE, keepdim=True) / count
    usable = spread > 8 * torch.finfo(depth.dtype).eps
    return centred.mul_(torch.where(usable, 1 / spread, 0.0))


def require_positive(**options: float) -> None:
    """Refuse options that are not above 0, by their names.

    Raises:
        ValueError: for the first of them.
    """
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
