"""Training samples: whole images, or cached features; never a mask.

Both kinds are indexed by (epoch, index), so that what a sample looks like depends on the seed, the
epoch and the image alone: not on the order, the number of workers, or an interruption.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dealseg.config import AugmentConfig
from dealseg.data import RgbdDataset
from dealseg.data.labelled import Labelled
from dealseg.data.sample import Sample, replaced
from dealseg.data.transforms import sample_generator
from dealseg.errors import DataError
from dealseg.losses import DepthEdges
from dealseg.models.base import Features
from dealseg.training.augmentation import augmented, with_depth_of

Batch = dict[str, Tensor]
Key = tuple[int, int]
Images = RgbdDataset | Labelled


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


def common_size(dataset: Images, long_side: int, looked_at: int = 50) -> tuple[int, int]:
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

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        generator = sample_generator(self.seed, epoch, index)
        changed = augmented(self._read(index), self.config, self.size, generator)
        kept = ("image", "tags", "depth", "valid")
        return {name: changed[name] for name in kept if name in changed}  # type: ignore[literal-required]

    def _read(self, index: int) -> Sample:
        sample = training_sample(self.dataset, index, depth=self.depth_of is not None)
        if self.depth_of is None or self.depth_of[index] == index:
            return sample
        other = training_sample(self.dataset, self.depth_of[index])
        return with_depth_of(sample, other, self.config, self.size)


@dataclass(frozen=True)
class CachedSamples(Dataset[Batch]):
    """Features of the frozen stages, as they are or of the mirrored image: the cached profile.

    Attributes:
        features: (n, 2, ...) float16 by part, memory-mapped; 1 is the mirrored image.
        tags: (n, k).
        edges: depth edges of the unmirrored images; None if no loss asks for them.
        colours: uint8 colours on the CAM's cells; None if no loss asks for them.
        flip: probability of taking the mirrored image.
        seed: of that choice.
    """

    features: Mapping[str, np.ndarray]
    tags: Tensor
    edges: DepthEdges | None
    colours: UInt8[Tensor, "n 3 h w"] | None
    flip: float
    seed: int

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, key: Key) -> Batch:
        index = key[1]
        parts, mirrored = drawn_view(self.features, key, self.flip, self.seed)
        return {**parts, "tags": self.tags[index], **self._maps(index, mirrored)}

    def _maps(self, index: int, mirrored: bool) -> Batch:
        maps = {}
        if self.edges is not None:
            maps = {"edges": self.edges.strength[index], "edges_valid": self.edges.valid[index]}
        if self.colours is not None:
            maps["colours"] = self.colours[index]
        return {name: part.flip(-1) if mirrored else part for name, part in maps.items()}


def drawn_view(
    features: Mapping[str, np.ndarray], key: Key, flip: float, seed: int
) -> tuple[Batch, bool]:
    """Return the cached features of an image or of its mirror image, and whether of the latter."""
    epoch, index = key
    chance = torch.rand((), generator=sample_generator(seed, epoch, index))
    mirrored = bool(chance < flip)
    parts = {
        name: torch.from_numpy(part[index, int(mirrored)].astype(np.float32))
        for name, part in features.items()
    }
    return parts, mirrored


def part_name(view: int, name: str) -> str:
    """Return the key under which a batch holds a part of a view's features."""
    return f"features.{view}.{name}"


def cached_views(batch: Batch, count: int) -> list[Features]:
    """Return the features of each of `count` views in a batch of :class:`CachedSamples`."""
    found: list[Features] = [{} for _ in range(count)]
    for key, value in batch.items():
        if key.startswith("features."):
            _, view, name = key.split(".", 2)
            found[int(view)][name] = value
    return found


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
