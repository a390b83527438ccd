"""A data set seen through a worse depth sensor."""

from jaxtyping import Bool, Float
from torch import Tensor

from dealseg.data.base import RgbdDataset
from dealseg.data.seen_through import SeenThrough
from dealseg.noise import Noise, noise_generator


class NoisyDepth(SeenThrough):
    """An `RgbdDataset` like another one, but for noise in its depth.

    The noise of an image depends on the seed and its index alone: it is the same in every epoch,
    worker, profile and resumed run. It acts on depth as it is read, before any augmentation.
    """

    def __init__(self, dataset: RgbdDataset, noise: Noise, seed: int):
        super().__init__(dataset)
        self._noise, self._seed = noise, seed

    def depth(self, index: int) -> tuple[Float[Tensor, "1 h w"], Bool[Tensor, "1 h w"]] | None:
        """Return noisy depth and where it is still valid; None without a file."""
        found = super().depth(index)
        if found is None:
            return None
        generator = noise_generator(self._seed, index)
        return self._noise(*found, kind=self.depth_info.kind, generator=generator)
