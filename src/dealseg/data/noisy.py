"""A data set seen through a worse depth sensor."""

from pathlib import Path

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dealseg.data.base import RgbdDataset
from dealseg.noise import Noise, noise_generator


class NoisyDepth:
    """An `RgbdDataset` like another one, but for noise in its depth.

    The noise of an image depends on the seed and its index alone: it is the same in every epoch,
    worker, profile and resumed run. It acts on depth as it is read, before any augmentation.

    Attributes:
        root: folder of the data set.
        classes: foreground classes.
        names: of the images.
        depth_info: how depth is stored.
        class_ids: the data set's own id of each class where it has one, else None.
    """

    def __init__(self, dataset: RgbdDataset, noise: Noise, seed: int):
        self.root = dataset.root
        self.classes = dataset.classes
        self.names = dataset.names
        self.depth_info = dataset.depth_info
        self.class_ids: tuple[int, ...] | None = getattr(dataset, "class_ids", None)
        self._dataset, self._noise, self._seed = dataset, noise, seed

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._dataset)

    def image_path(self, index: int) -> Path:
        """Return the file that holds the image, for messages."""
        return self._dataset.image_path(index)

    def image(self, index: int) -> UInt8[Tensor, "3 h w"]:
        """Return the RGB image."""
        return self._dataset.image(index)

    def tags(self, index: int) -> Float[Tensor, " k"] | None:
        """Return 1 where a class is in the image, else 0; None where nobody said."""
        return self._dataset.tags(index)

    def depth(self, index: int) -> tuple[Float[Tensor, "1 h w"], Bool[Tensor, "1 h w"]] | None:
        """Return noisy depth and where it is still valid; None without a file."""
        found = self._dataset.depth(index)
        if found is None:
            return None
        generator = noise_generator(self._seed, index)
        return self._noise(*found, kind=self.depth_info.kind, generator=generator)

    def mask(self, index: int) -> UInt8[Tensor, "h w"] | None:
        """Return the ground truth at the image's size, or None."""
        return self._dataset.mask(index)
