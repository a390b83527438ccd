"""Ground-truth masks: one indexed picture, or one picture per object instance (BOP)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from dealseg.data.base import IGNORE
from dealseg.data.files import file_error, read_grey

Mask = UInt8[np.ndarray, "h w"]

_INDEXED = "save the class index of each pixel as an indexed (palette) or 8-bit grey PNG"


@runtime_checkable
class MaskSource(Protocol):
    """Where the ground truth of an image is read from."""

    def read(self, size: tuple[int, int], classes: int) -> Mask:
        """Return the classes of an image of `size`: 0 background, 1 to `classes`, 255 ignored."""
        ...


@dataclass(frozen=True)
class LabelFile:
    """An indexed PNG whose values are classes.

    Attributes:
        file: the picture.
        ignore_index: the value that becomes 255.
    """

    file: Path
    ignore_index: int = IGNORE

    def read(self, size: tuple[int, int] | None, classes: int) -> Mask:
        """Return the classes: 0 background, 1 to `classes`, 255 ignored; None takes any size.

        Raises:
            DataError: if the file is unreadable, of another size, or has other values.
        """
        stored = read_grey(self.file, "mask", {"P", "L", "1"}, _INDEXED)
        if size is not None:
            require_size(self.file, stored.shape, size)
        ignored = stored == self.ignore_index
        values = stored.astype(np.uint8)
        wrong = np.unique(values[(values > classes) & ~ignored])
        if wrong.size:
            raise file_error(
                self.file,
                f"mask value {wrong[0]} is out of range: expected 0 to {classes}, or "
                f"{self.ignore_index} for ignored pixels",
            )
        values[ignored] = IGNORE
        return values


@dataclass(frozen=True)
class InstanceMasks:
    """The pictures `IMAGE_INSTANCE.png` of one image, non-zero where the instance is visible.

    Attributes:
        folder: `mask_visib` of the scene.
        image_id: of the image.
        instances: index in `scene_gt.json` and mask value of each instance that is visible.
    """

    folder: Path
    image_id: int
    instances: tuple[tuple[int, int], ...]

    def read(self, size: tuple[int, int], classes: int) -> Mask:
        """Return the classes, 0 where no instance is; where instances overlap the last one counts.

        Raises:
            DataError: if a file is missing, unreadable, or of another size.
        """
        painted = np.zeros(size, np.uint8)
        for index, value in self.instances:
            file = self.folder / f"{self.image_id:06d}_{index:06d}.png"
            visible = read_grey(file, "mask", {"P", "L", "1"}, "expected 0 and 255")
            require_size(file, visible.shape, size)
            painted[visible != 0] = min(value, classes)
        return painted


def require_size(file: Path, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Raise DataError unless a mask has the size of its image, (height, width)."""
    if shape != size:
        got, expected = _size_text(shape), _size_text(size)
        raise file_error(file, f"the mask is {got} but the image is {expected} (width x height)")


def _size_text(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
