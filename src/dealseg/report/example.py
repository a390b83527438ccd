"""One image with all that the report shows of it, as plain tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dealseg.cam import threshold_mask


@dataclass(frozen=True)
class Prediction:
    """What one run makes of an image.

    Attributes:
        label: of the run.
        winner: mask value of the class with the largest normalised CAM.
        score: that CAM, in [0, 1].
        threshold: background score of the mask.
    """

    label: str
    winner: UInt8[Tensor, "h w"]
    score: Float[Tensor, "h w"]
    threshold: float

    @property
    def mask(self) -> UInt8[Tensor, "h w"]:
        """The winner where its score is above the threshold, else 0."""
        return threshold_mask(self.winner, self.score, self.threshold)


@dataclass(frozen=True)
class DepthView:
    """Depth, and its edges as the loss sees them.

    Attributes:
        depth: metres if `metric`, else inverse depth.
        valid: where it was measured.
        gate: activation of the depth edges on the loss's grid, -1 flat to +1 edge.
        counted: cells of the grid that take part in the loss.
        metric: whether `depth` is in metres.
    """

    depth: Float[Tensor, "h w"]
    valid: Bool[Tensor, "h w"]
    gate: Float[Tensor, "gh gw"]
    counted: Bool[Tensor, "gh gw"]
    metric: bool = True


@dataclass(frozen=True)
class Example:
    """An image of the data set, what is known of it, and what each run makes of it.

    Attributes:
        tags: names of the classes said to be in it; None if it has no tags.
        truth: the ground truth, 255 where it is not counted.
    """

    name: str
    image: UInt8[Tensor, "3 h w"]
    tags: tuple[str, ...] | None = None
    view: DepthView | None = None
    truth: UInt8[Tensor, "h w"] | None = None
    predictions: Sequence[Prediction] = ()


def evenly_spaced(count: int, total: int) -> list[int]:
    """Return `count` indices spread evenly over `total`, each in the middle of its part."""
    count = max(0, min(count, total))
    return [(2 * place + 1) * total // (2 * count) for place in range(count)]
