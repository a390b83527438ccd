"""From an image of a data set to a training sample, as the configuration says."""

import torch

from dealseg.config import AugmentConfig
from dealseg.data.sample import Sample, replaced, size_of
from dealseg.data.transforms import Augmentation, augment, to_size
from dealseg.models.runs import AnyConfig

Size = tuple[int, int]


def sample_size(config: AnyConfig, common: Size) -> Size:
    """Return height and width of the training samples.

    Args:
        config: with the crop `zoom`, or in the cached profile, samples have the data's usual shape;
            the crops `area` and `long` make squares of `data.long_side`.
        common: the size of the data's usual shape.
    """
    if config.profile == "cached" or config.augment.crop == "zoom":
        return common
    return config.data.long_side, config.data.long_side


def augmented(
    sample: Sample, config: AugmentConfig, size: Size, generator: torch.Generator
) -> Sample:
    """Return a random training sample of `size` from a sample as it was read.

    The crop `zoom` first fits the whole picture into `size`; the others cut their window from the
    picture as it is, so that a small window still has the camera's detail.

    Raises:
        DataError: if depth comes without validity, or has another aspect than the image.
    """
    fitted = to_size(sample, size) if config.crop == "zoom" else sample
    return augment(fitted, augmentation(config, size), generator)


def augmentation(config: AugmentConfig, size: Size) -> Augmentation:
    """Return the ranges that a configuration stands for."""
    colour = config.colour
    return Augmentation(
        size=size,
        crop=config.crop,
        scale=config.scale,
        area=config.area,
        ratio=config.ratio,
        long=config.long,
        flip=config.flip,
        brightness=colour,
        contrast=colour,
        saturation=colour,
        hue=0.1 * colour if config.hue is None else config.hue,
        rotation=config.rotation,
        shear=config.shear,
        randaugment=config.randaugment,
        erase=config.erase,
    )


def with_depth_of(sample: Sample, other: Sample, config: AugmentConfig, size: Size) -> Sample:
    """Return the sample with another's depth on its pixels: the control that must not help.

    Both are fitted, with their aspects kept, into `size` or, for crops that start from the picture
    as it is, the other into the first's.

    Raises:
        DataError: if depth comes without validity, or has another aspect than its image.
    """
    own = to_size(sample, size) if config.crop == "zoom" else sample
    fitted = to_size(other, size_of(own["image"]))
    return replaced(own, depth=fitted["depth"], valid=fitted["valid"])
