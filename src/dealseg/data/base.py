"""What every data set offers: names, tags, images, depth with its validity, masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

DepthKind = Literal["metric", "disparity", "relative"]

IGNORE = 255
"""The label of pixels that take no part in evaluation."""

ASPECT_TOLERANCE = 0.01


def same_aspect(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether two sizes, heights before widths, are of one aspect.

    That is to 1 %, or to a pixel of the smaller one if it is smaller in both: an estimator's map of
    a quarter of an image of 299x500 has 74x125 pixels.
    """
    (high, wide), (other_high, other_wide) = sorted((first, second))
    apart = abs(wide * other_high - high * other_wide)
    smaller = high < other_high and wide < other_wide
    rounding = max(other_high, other_wide) if smaller else 0
    return apart <= max(ASPECT_TOLERANCE * high * other_wide, rounding)


@dataclass(frozen=True)
class DepthInfo:
    """How the stored numbers of a depth file are to be read.

    Attributes:
        unit: unit of the scaled number: `m`, `mm`, `cm` or `1` (relative or disparity).
        scale: factor from the stored number to `unit`.
        kind: `metric` is distance; `disparity` and `relative` are inverse depth (larger is
            nearer), known up to a scale, and for `relative` also up to an offset.
    """

    unit: str = "mm"
    scale: float = 1.0
    kind: DepthKind = "metric"


@runtime_checkable
class RgbdDataset(Protocol):
    """Images with tags; depth and masks where there are any. Reading is lazy and by index.

    Class `k` of `classes` (0-based, foreground only) has the value `k + 1` in a mask; 0 is
    background and 255 is ignored.
    """

    root: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    depth_info: DepthInfo

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def image_path(self, index: int) -> Path:
        """Return the file that holds the image, for messages."""
        ...

    def image(self, index: int) -> UInt8[Tensor, "3 h w"]:
        """Return the RGB image."""
        ...

    def tags(self, index: int) -> Float[Tensor, " k"] | None:
        """Return 1 where a class is in the image, else 0; None if the image has no tags."""
        ...

    def depth(self, index: int) -> tuple[Float[Tensor, "1 h w"], Bool[Tensor, "1 h w"]] | None:
        """Return depth (metres if metric, else inverse depth) and where it was measured.

        The map may have another size than the image but has its aspect. None without a file.
        Invalid pixels hold 0 and are False in the validity.
        """
        ...

    def mask(self, index: int) -> UInt8[Tensor, "h w"] | None:
        """Return the ground truth at the image's size, or None. For evaluation only."""
        ...


def class_ids(dataset: RgbdDataset) -> dict[str, int] | None:
    """Return the data set's own id of each mask value (as text), or None where it has no ids.

    Masks hold contiguous values 1 to K; COCO's own ids have gaps. A data set with ids of its own
    offers them as `class_ids`, one for each class, which the protocol leaves optional.
    """
    own: tuple[int, ...] | None = getattr(dataset, "class_ids", None)
    return None if own is None else {str(value): i for value, i in enumerate(own, start=1)}
