"""Training samples of the second stage: images or cached features, with their masks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from dealseg.config import AugmentConfig, SegmenterLossConfig
from dealseg.data.labelled import Labelled
from dealseg.data.sample import Sample
from dealseg.data.transforms import sample_generator, to_size
from dealseg.errors import DataError
from dealseg.losses.noisy_masks import at_grid
from dealseg.training.augmentation import Size, augmented
from dealseg.training.samples import Batch, Key, drawn_view


def masked_sample(dataset: Labelled, index: int) -> Sample:
    """Read an image and its mask.

    Raises:
        DataError: if they are not of the same size.
    """
    image, mask = dataset.image(index), dataset.mask(index)
    if mask.shape != image.shape[-2:]:
        got, expected = (f"{shape[1]}x{shape[0]}" for shape in (mask.shape, image.shape[-2:]))
        raise DataError(
            f"{dataset.masks.path(dataset.names[index])}: has {got} pixels, its image "
            f"{dataset.image_path(index)} has {expected}; label these images again"
        )
    return Sample(image=image, mask=mask, name=dataset.names[index])


@dataclass(frozen=True)
class MaskedImages(Dataset[Batch]):
    """Augmented images with their masks on the same pixels: the full profile.

    Attributes:
        dataset: where they come from.
        size: height and width of a sample.
        config: the augmentation.
        seed: of the augmentation.
        weights: of each image in the loss.
    """

    dataset: Labelled
    size: Size
    config: AugmentConfig
    seed: int
    weights: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        generator = sample_generator(self.seed, epoch, index)
        sample = masked_sample(self.dataset, index)
        changed = augmented(sample, self.config, self.size, generator)
        weight = self.weights[index]
        return {"image": changed["image"], "mask": changed["mask"], "weight": weight}


@dataclass(frozen=True)
class MaskedFeatures(Dataset[Batch]):
    """Features of the frozen levels, as they are or of the mirrored image: the cached profile.

    Attributes:
        features: (n, 2, ...) float16 by part, memory-mapped; 1 is the mirrored image.
        masks: of the unmirrored images, on the decoder's grid.
        flip: probability of taking the mirrored image.
        seed: of that choice.
        weights: of each image in the loss.
    """

    features: Mapping[str, np.ndarray]
    masks: UInt8[Tensor, "n h w"]
    flip: float
    seed: int
    weights: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, key: Key) -> Batch:
        mask, weight = self.masks[key[1]], self.weights[key[1]]
        parts, mirrored = drawn_view(self.features, key, self.flip, self.seed)
        return {**parts, "mask": mask.flip(-1) if mirrored else mask, "weight": weight}


def masks_at(dataset: Labelled, size: Size, grid: Size) -> UInt8[Tensor, "n h w"]:
    """Return all masks, fitted into `size` as the images are, on a coarser grid."""
    found = []
    for index in tqdm(range(len(dataset)), desc="masks", disable=None):
        mask = to_size(masked_sample(dataset, index), size)["mask"]
        found.append(at_grid(mask[None], grid))
    return torch.cat(found)


def image_weights(dataset: Labelled, config: SegmenterLossConfig) -> Float[Tensor, " n"]:
    """Return the weight of each image in the loss: the confidence of its mask to a power.

    Raises:
        DataError: if they are asked for and a mask has none.
    """
    if config.confidence == 0:
        return torch.ones(len(dataset))
    sure = [dataset.confidence(index) for index in range(len(dataset))]
    return torch.tensor(sure) ** config.confidence


def class_weights(dataset: Labelled, config: SegmenterLossConfig) -> Float[Tensor, " c"] | None:
    """Return the weight of each class, background first: its share of the pixels to a power.

    They are such that the mean over the labelled pixels is 1. A class that is nowhere weighs 0.
    """
    if config.balance == 0:
        return None
    counts = torch.zeros(256, dtype=torch.float64)
    for index in tqdm(range(len(dataset)), desc="classes", disable=None):
        counts += dataset.mask(index).flatten().long().bincount(minlength=256)
    counts = counts[: len(dataset.classes) + 1]
    share = counts / counts.sum()
    weights = torch.where(share > 0, share, torch.inf) ** -config.balance
    return (weights / (weights * share).sum()).float()
