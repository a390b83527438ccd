"""Normalised CAMs of one image sharpened along its colours and depth."""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dealseg.data import RgbdDataset
from dealseg.depth import resample_valid, to_space
from dealseg.errors import DataError
from dealseg.labeling.options import LabelOptions
from dealseg.models.sizing import at_long_side
from dealseg.refine import LONG_SIDES, METHODS, class_probabilities


class Guide(NamedTuple):
    """Inverse depth, in any unit, and where it is known."""

    depth: Float[Tensor, "1 h w"]
    valid: Bool[Tensor, "1 h w"]


def guide_of(dataset: RgbdDataset, index: int, options: LabelOptions) -> Guide | None:
    """Return the depth to refine an image along; None if it is not to be used or not there.

    Raises:
        DataError: if the options insist on depth and the image has none.
    """
    if options.refine == "none" or options.refine_depth is False:
        return None
    found = dataset.depth(index)
    if found is not None and bool(found[1].any()):
        depth, valid = found
        return Guide(to_space(depth, valid, "inverse", dataset.depth_info.kind), valid)
    if options.refine_depth is True:
        raise DataError(
            f"{dataset.image_path(index)}: has no depth to refine along; add it, or refine by "
            "colour alone where there is none (--refine_depth auto)"
        )
    return None


@dataclass(frozen=True)
class Ready:
    """One image at the size at which it is refined.

    Attributes:
        scores: normalised CAMs of the classes present.
        picture: RGB in [0, 1].
        along: depth and validity, or nothing.
        method: a key of :data:`dealseg.refine.METHODS`.
    """

    scores: Float[Tensor, "1 n h w"]
    picture: Float[Tensor, "1 3 h w"]
    along: tuple[Tensor, ...]
    method: str

    def votes(self, threshold: float) -> Float[Tensor, "c h w"]:
        """Return refined class probabilities, background first."""
        given = class_probabilities(self.scores, threshold)
        return METHODS[self.method](given, self.picture, *self.along)[0]


def ready_to_refine(
    maps: Float[Tensor, "n h w"],
    image: UInt8[Tensor, "3 h w"],
    guide: Guide | None,
    options: LabelOptions,
) -> Ready:
    """Return an image brought to the size at which it is refined, see :func:`refined`."""
    size = (image.shape[-2], image.shape[-1])
    picture = at_long_side(
        image.to(maps.device)[None].float() / 255, min(max(size), LONG_SIDES[options.refine])
    )
    small = (picture.shape[-2], picture.shape[-1])
    scores = maps[None]
    if small != size:
        scores = F.interpolate(scores, small, mode="bilinear", antialias=True)
    along: tuple[Tensor, ...] = ()
    if guide is not None:
        depth, valid = (each.to(maps.device)[None] for each in guide)
        along = resample_valid(depth, valid, small, mode="bilinear")
    return Ready(scores, picture, along, options.refine)


def refined(
    maps: Float[Tensor, "n h w"],
    image: UInt8[Tensor, "3 h w"],
    guide: Guide | None,
    options: LabelOptions,
) -> Float[Tensor, "c h w"]:
    """Return refined class probabilities at the image's size, background first.

    Args:
        maps: normalised CAMs of the classes present, at least one.
        image: RGB.
        guide: the image's depth, at any size; None refines by colour alone.
        options: method and threshold.
    """
    size = (image.shape[-2], image.shape[-1])
    found = ready_to_refine(maps, image, guide, options).votes(options.threshold)
    if found.shape[-2:] == size:
        return found
    return F.interpolate(found[None], size, mode="bilinear")[0]
