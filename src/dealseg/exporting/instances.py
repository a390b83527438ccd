"""The objects of a mask: connected components, or all pixels of a class as one."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from dealseg.data.base import IGNORE
from dealseg.exporting.components import Labels, components, runs


@dataclass(frozen=True)
class Instance:
    """One object.

    Attributes:
        value: its class's mask value.
        area: in pixels.
        left: of its box, in pixels.
        top: of its box.
        pixels: inside the box, whether they are the object's.
        size: height and width of the image.
    """

    value: int
    area: int
    left: int
    top: int
    pixels: Bool[np.ndarray, "h w"]
    size: tuple[int, int]

    @property
    def box(self) -> list[int]:
        """Return left, top, width and height in pixels."""
        return [self.left, self.top, self.pixels.shape[1], self.pixels.shape[0]]

    @property
    def whole(self) -> Bool[np.ndarray, "h w"]:
        """Return the object's pixels in the whole image."""
        whole = np.zeros(self.size, bool)
        left, top, width, height = self.box
        whole[top : top + height, left : left + width] = self.pixels
        return whole


def find_instances(
    mask: UInt8[np.ndarray, "h w"], how: str, min_area: int = 0
) -> tuple[Instance, ...]:
    """Return the objects of a mask, by class and then by their first pixels.

    Args:
        mask: classes, 0 background, 255 ignored.
        how: `components` (pixels that touch, also at a corner, are one object) or `class`.
        min_area: smaller objects, in pixels, are left out.
    """
    if how == "class":
        labels, values = _by_class(mask)
    else:
        labels, values = components(mask)
    boxes, areas = _measured(labels, len(values))
    order = np.lexsort((np.arange(len(values)), values))
    return tuple(
        _instance(labels, place + 1, int(values[place]), boxes[place], int(areas[place]))
        for place in order.tolist()
        if areas[place] >= max(min_area, 1)
    )


def _by_class(mask: UInt8[np.ndarray, "h w"]) -> tuple[Labels, Int64[np.ndarray, " n"]]:
    labels = np.where(mask == IGNORE, 0, mask).astype(np.int32)
    return labels, np.arange(1, labels.max(initial=0) + 1)


def _measured(
    labels: Labels, count: int
) -> tuple[Int64[np.ndarray, "n 4"], Int64[np.ndarray, " n"]]:
    """Return the box (left, top, right, bottom; the last two beyond it) and area of each label."""
    starts, lengths, values = runs(labels)
    row, column = np.divmod(starts, labels.shape[1])
    boxes = np.zeros((count + 1, 4), np.int64)
    boxes[:, :2] = max(labels.shape)
    np.minimum.at(boxes[:, 0], values, column)
    np.minimum.at(boxes[:, 1], values, row)
    np.maximum.at(boxes[:, 2], values, column + lengths)
    np.maximum.at(boxes[:, 3], values, row + 1)
    areas = np.zeros(count + 1, np.int64)
    np.add.at(areas, values, lengths)
    return boxes[1:], areas[1:]


def _instance(
    labels: Labels, label: int, value: int, box: Int64[np.ndarray, " 4"], area: int
) -> Instance:
    left, top, right, bottom = box.tolist()
    pixels = labels[top:bottom, left:right] == label
    return Instance(value, area, left, top, pixels, (labels.shape[0], labels.shape[1]))
