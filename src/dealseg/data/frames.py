"""The data set that all formats become: a list of frames, each read when it is asked for."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from dealseg.data.base import DepthInfo, same_aspect
from dealseg.data.description import DepthRule, depth_values
from dealseg.data.files import FileError, RawDepth, file_error, image_size, read_depth, read_image
from dealseg.data.masks import MaskSource
from dealseg.errors import DataError


@dataclass(frozen=True)
class Frame:
    """One image and what belongs to it.

    Attributes:
        name: unique in the data set, usable as a relative path without suffix.
        image: RGB file.
        tags: classes said to be in it, empty for background only, None if nobody said.
        depth: depth file, if any.
        depth_rule: how its numbers are to be read.
        mask: ground truth, if any.
        home: where its depth folders lie, which then hold it under the last part of its name; None
            for the root of the data set, where they hold it under its whole name.
    """

    name: str
    image: Path
    tags: frozenset[str] | None = None
    depth: Path | None = None
    depth_rule: DepthRule = field(default_factory=DepthRule)
    mask: MaskSource | None = None
    home: Path | None = None

    def depth_place(self, root: Path, depth_folder: str) -> tuple[Path, Path]:
        """Return a depth folder of this image, and the PNG in it where the reader looks for it."""
        folder = (self.home or root) / depth_folder
        name = PurePosixPath(self.name).name if self.home else self.name
        return folder, folder / f"{name}.png"


class FrameDataset:
    """An `RgbdDataset` over frames.

    Attributes:
        root: folder of the data set.
        classes: foreground classes; class `k` has the value `k + 1` in a mask.
        frames: the images with their files.
        names: of the frames.
        depth_info: how the first depth file is read; the others may differ by number type and,
            in BOP, by scale.
        class_ids: the data set's own id of each class where it has one, else None.
        image_ids: the data set's own number of each image where it has one, else None.
        facts: what a user should know of the listing, for `dealseg check`.
        remarks: what may make training worse, by kind, for `dealseg check`.
    """

    def __init__(
        self,
        root: Path,
        classes: tuple[str, ...],
        frames: Sequence[Frame],
        *,
        names: tuple[str, ...] | None = None,
        class_ids: tuple[int, ...] | None = None,
        image_ids: Int64[np.ndarray, " n"] | None = None,
        facts: tuple[str, ...] = (),
        remarks: tuple[tuple[str, FileError], ...] = (),
    ):
        self.root = root
        self.classes = classes
        self.frames = frames
        self.names = tuple(frame.name for frame in frames) if names is None else names
        self.class_ids = class_ids
        self.image_ids = image_ids
        self.facts = facts
        self.remarks = remarks
        self.depth_info = _first_depth_info(frames)
        self._warned_of_8_bit = False

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.frames)

    def image_path(self, index: int) -> Path:
        """Return the file that holds the image, for messages."""
        return self.frames[index].image

    def image(self, index: int) -> UInt8[Tensor, "3 h w"]:
        """Return the RGB image, upright.

        Raises:
            DataError: if the file cannot be read.
        """
        return read_image(self.frames[index].image)

    def tags(self, index: int) -> Float[Tensor, " k"] | None:
        """Return 1 where a class is in the image, else 0; None where nobody said."""
        tags = self.frames[index].tags
        if tags is None:
            return None
        return torch.tensor([float(name in tags) for name in self.classes])

    def depth(self, index: int) -> tuple[Float[Tensor, "1 h w"], Bool[Tensor, "1 h w"]] | None:
        """Return depth (metres if metric, else inverse depth) and where it was measured.

        Warns once per data set of depth with 8 bits.

        Raises:
            DataError: if the file cannot be read or its aspect is not the image's.
        """
        frame = self.frames[index]
        if frame.depth is None:
            return None
        raw = read_depth(frame.depth)
        require_aspect(frame.depth, raw, image_size(frame.image))
        if raw.dtype.itemsize == 1 and not self._warned_of_8_bit:
            self._warned_of_8_bit = True
            warnings.warn(f"{frame.depth}: {EIGHT_BITS}", stacklevel=2)
        values, valid = depth_values(raw, frame.depth_rule.info(raw.dtype))
        return torch.from_numpy(values)[None], torch.from_numpy(valid)[None]

    def mask(self, index: int) -> UInt8[Tensor, "h w"] | None:
        """Return the ground truth at the image's size, or None. For evaluation only.

        Raises:
            DataError: if a file cannot be read, has another size, or values out of range.
        """
        frame = self.frames[index]
        if frame.mask is None:
            return None
        return torch.from_numpy(frame.mask.read(image_size(frame.image), len(self.classes)))


def _first_depth_info(frames: Sequence[Frame]) -> DepthInfo:
    frame = next((frame for frame in frames if frame.depth is not None), None)
    if frame is None or frame.depth is None:
        return DepthInfo()
    try:
        stored = (
            np.dtype(np.uint16) if frame.depth_rule.is_complete else read_depth(frame.depth).dtype
        )
    except DataError:  # it will be said when that depth is asked for
        return DepthInfo()
    return frame.depth_rule.info(stored)


EIGHT_BITS = (
    "this depth has 8 bits, at most 255 steps: most depth edges are lost; "
    "export 16-bit or float depth if you can"
)


def require_aspect(file: Path, raw: RawDepth, size: tuple[int, int]) -> None:
    """Check that a depth map has the aspect of its image, see :func:`same_aspect`.

    Args:
        file: of the depth, for the message.
        raw: the depth map.
        size: height and width of the image.

    Raises:
        DataError: if it has not.
    """
    (high, wide), (image_high, image_wide) = raw.shape, size
    if not same_aspect((high, wide), size):
        raise file_error(
            file,
            f"the depth is {wide}x{high} but the image is {image_wide}x{image_high} (width x "
            "height): another aspect; export depth aligned to the colour camera and cropped alike",
        )
