"""Training samples: whole images, or cached features; never a mask.

Both kinds are indexed by (epoch, index), so that what a sample looks like depends on the seed, the
epoch and the image alone: not on the order, the number of workers, or an interruption.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dealseg.config import AugmentConfig
from dealseg.data import RgbdDataset
from dealseg.data.sample import Sample, replaced
from dealseg.data.transforms import Augmentation, augment, sample_generator, to_size
from dealseg.errors import DataError
from dealseg.losses import DepthEdges

Batch = dict[str, Tensor]
Key = tuple[int, int]


def training_sample(dataset: RgbdDataset, index: int, *, depth: bool = True) -> Sample:
    """Read image and tags, and depth if asked; without a depth file there is no valid depth.

    Raises:
        DataError: if the image has no tags.
    """
    image, tags = dataset.image(index), required_tags(dataset, index)
    sample = Sample(image=image, tags=tags, name=dataset.names[index])
    if not depth:
        return sample
    found = dataset.depth(index)
    if found is None:
        shape = (1, *image.shape[-2:])
        found = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    return replaced(sample, depth=found[0], valid=found[1])


def required_tags(dataset: RgbdDataset, index: int) -> Tensor:
    """Return the tags of an image that must have some (all 0 for background only).

    Raises:
        DataError: if nobody said which classes are in it.
    """
    tags = dataset.tags(index)
    if tags is None:
        raise DataError(f"{dataset.image_path(index)}: has no tags, so it cannot be trained on")
    return tags


def common_size(dataset: RgbdDataset, long_side: int, looked_at: int = 50) -> tuple[int, int]:
    """Return the (height, width) all images are fitted into: the median aspect of some of them."""
    indices = np.unique(np.linspace(0, len(dataset) - 1, looked_at).astype(int))
    shapes = [dataset.image(int(index)).shape[-2:] for index in indices]
    ratio = float(np.median([height / width for height, width in shapes]))
    factor = long_side / max(ratio, 1.0)
    return max(32, round(ratio * factor)), max(32, round(factor))


@dataclass(frozen=True)
class ImageSamples(Dataset[Batch]):
    """Augmented images with depth on the same pixels: the full profile.

    Attributes:
        dataset: where they come from.
        size: height and width of a sample.
        config: the augmentation.
        seed: of the augmentation.
        depth_of: index of the image whose depth each image gets; its own but in the control.
            None if no loss asks for depth: then none is read.
    """

    dataset: RgbdDataset
    size: tuple[int, int]
    config: AugmentConfig
    seed: int
    depth_of: tuple[int, ...] | None

    @cached_property
    def _augmentation(self) -> Augmentation:
        colour = self.config.colour
        return Augmentation(
            size=self.size,
            scale=self.config.scale,
            flip=self.config.flip,
            brightness=colour,
            contrast=colour,
            saturation=colour,
            hue=0.1 * colour,
            rotation=self.config.rotation,
            shear=self.config.shear,
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        sample = to_size(self._read(index), self.size)
        generator = sample_generator(self.seed, epoch, index)
        changed = augment(sample, self._augmentation, generator)
        kept = ("image", "tags", "depth", "valid")
        return {name: changed[name] for name in kept if name in changed}  # type: ignore[literal-required]

    def _read(self, index: int) -> Sample:
        sample = training_sample(self.dataset, index, depth=self.depth_of is not None)
        if self.depth_of is None or self.depth_of[index] == index:
            return sample
        other = to_size(training_sample(self.dataset, self.depth_of[index]), self.size)
        return replaced(to_size(sample, self.size), depth=other["depth"], valid=other["valid"])


@dataclass(frozen=True)
class CachedSamples(Dataset[Batch]):
    """Features of the frozen stages, as they are or of the mirrored image: the cached profile.

    Attributes:
        features: (n, 2, ...) float16, memory-mapped; 1 is the mirrored image.
        tags: (n, k).
        edges: depth edges of the unmirrored images; None if no loss asks for them.
        flip: probability of taking the mirrored image.
        seed: of that choice.
    """

    features: np.ndarray
    tags: Tensor
    edges: DepthEdges | None
    flip: float
    seed: int

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        chance = torch.rand((), generator=sample_generator(self.seed, epoch, index))
        mirrored = bool(chance < self.flip)
        features = torch.from_numpy(self.features[index, int(mirrored)].astype(np.float32))
        return {"features": features, "tags": self.tags[index], **self._edges(index, mirrored)}

    def _edges(self, index: int, mirrored: bool) -> Batch:
        if self.edges is None:
            return {}
        strength, valid = self.edges.strength[index], self.edges.valid[index]
        return {
            "edges": strength.flip(-1) if mirrored else strength,
            "edges_valid": valid.flip(-1) if mirrored else valid,
        }


class EpochSampler(Sampler[Key]):
    """A new order each epoch from (seed, epoch) alone; each process takes its share of it.

    Shares are made equal by starting the order over.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.size, self.seed, self.rank, self.world = size, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls it before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.size / self.world)

    def __iter__(self) -> Iterator[Key]:
        generator = sample_generator(self.seed, self.epoch, -1 % 2**32)
        order = torch.randperm(self.size, generator=generator).tolist()
        padded = (order * self.world)[: len(self) * self.world]
        return ((self.epoch, index) for index in padded[self.rank :: self.world])


def shuffled(count: int, seed: int) -> tuple[int, ...]:
    """Return a permutation without fixed point (of two or more): each gets another's depth."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    partner = dict(zip(order, order[1:] + order[:1], strict=True))
    return tuple(partner[index] for index in range(count))
