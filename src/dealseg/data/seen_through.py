"""What data sets that stand before another one have in common."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dealseg.data.base import RgbdDataset


class Images:
    """Some images of a data set.

    Attributes:
        root: folder of the data set.
        names: of the images.
    """

    def __init__(self, dataset: RgbdDataset, places: Sequence[int] | None = None):
        """Take the images at some places of a data set, or all."""
        self._dataset = dataset
        self._places = range(len(dataset)) if places is None else places
        self.root = dataset.root
        self.names = dataset.names if places is None else tuple(dataset.names[i] for i in places)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def image_path(self, index: int) -> Path:
        """Return the file that holds the image, for messages."""
        return self._dataset.image_path(self._places[index])

    def image(self, index: int) -> UInt8[Tensor, "3 h w"]:
        """Return the RGB image."""
        return self._dataset.image(self._places[index])


class SeenThrough(Images):
    """An `RgbdDataset` with some images of another one, of which a subclass changes a part.

    Attributes:
        root: folder of the data set.
        classes: foreground classes.
        names: of the images.
        depth_info: how depth is stored.
        class_ids: the data set's own id of each class where it has one, else None.
    """

    def __init__(self, dataset: RgbdDataset, places: Sequence[int] | None = None):
        """See the images at some places of a data set, or all."""
        super().__init__(dataset, places)
        self.classes = dataset.classes
        self.depth_info = dataset.depth_info
        self.class_ids: tuple[int, ...] | None = getattr(dataset, "class_ids", None)

    def tags(self, index: int) -> Float[Tensor, " k"] | None:
        """Return 1 where a class is in the image, else 0; None where nobody said."""
        return self._dataset.tags(self._places[index])

    def depth(self, index: int) -> tuple[Float[Tensor, "1 h w"], Bool[Tensor, "1 h w"]] | None:
        """Return depth and where it was measured; None without a file."""
        return self._dataset.depth(self._places[index])

    def mask(self, index: int) -> UInt8[Tensor, "h w"] | None:
        """Return the ground truth at the image's size, or None."""
        return self._dataset.mask(self._places[index])
