"""SEAM's siamese losses together, from maps at the stride of the network.

The same numbers and gradients as :func:`dealseg.losses.equivariance`,
:func:`dealseg.losses.cross_equivariance` and :func:`dealseg.losses.min_pooling` on upsampled maps,
at a fraction of the time: absent classes contribute exact zeros to all of them and are left out,
and large maps are made only where every pixel counts. `benchmarks/seam_losses.py` measures it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dealseg.depth import at_least_float32
from dealseg.losses.bilinear import (
    Size,
    apply,
    extremes,
    rectified,
    upsampling,
)
from dealseg.losses.equivariance import MARGIN, check_channels
from dealseg.losses.selection import count_of, top_weights


class View(NamedTuple):
    """What the network makes of one view of a batch of images.

    The maps are raw, background first, of any size; they stand for what bilinear upsampling with
    aligned corners makes of them at the size of the view.

    Attributes:
        cam: the CAMs.
        pcm: the refined maps.
        size: height and width of the view.
    """

    cam: Float[Tensor, "b c h w"]
    pcm: Float[Tensor, "b c h w"]
    size: Size


class SiameseLosses(NamedTuple):
    """SEAM's losses beside the class loss, one value per image each.

    Attributes:
        er: see :func:`dealseg.losses.equivariance`; trains what the CAMs come from.
        ecr: see :func:`dealseg.losses.cross_equivariance`; trains what refines them.
        min_pool1: see :func:`dealseg.losses.min_pooling`, of view 1; trains what refines them.
        min_pool2: the same of view 2.
    """

    er: Float[Tensor, " b"]
    ecr: Float[Tensor, " b"]
    min_pool1: Float[Tensor, " b"]
    min_pool2: Float[Tensor, " b"]


class _Present(NamedTuple):
    """The pairs of image and class that are there, ordered by image, the background first.

    Attributes:
        image: of each pair.
        channel: of each pair; 0 is the background.
        foreground: indices of the pairs that are not the background.
        numbers: pairs of each image.
    """

    image: Int[Tensor, " m"]
    channel: Int[Tensor, " m"]
    foreground: Int[Tensor, " n"]
    numbers: list[int]


class _Rules(NamedTuple):
    """What the losses of one image take from the whole: classes, and shares that count."""

    classes: int
    share: float
    low_share: float


def siamese_losses(
    view1: View,
    view2: View,
    tags: Float[Tensor, "b k"],
    *,
    share: float = 0.2,
    low_share: float = 0.25,
) -> SiameseLosses:
    """Return equivariance, cross and min-pooling losses of two views of the same images.

    Args:
        view1: the larger view.
        view2: the smaller view, at whose size they are compared.
        tags: 1 for classes in the image, else 0.
        share: of an image's elements, those that count in the cross loss.
        low_share: of an image's pixels, those that count in min pooling.

    Raises:
        ValueError: for other shares, or if there is not one map for the background and each class.
    """
    for maps in (*view1[:2], *view2[:2]):
        check_channels(maps, tags)
    present = _present(tags, view1.cam.device)
    with torch.autocast(view1.cam.device.type, enabled=False):
        return _losses(view1, view2, present, _Rules(tags.shape[1], share, low_share))


def _present(tags: Float[Tensor, "b k"], device: torch.device) -> _Present:
    """Find the pairs; the counts are needed on the host, so all of it is done there at once."""
    known = F.pad(tags.detach().cpu() != 0, (1, 0), value=True)
    image, channel = known.nonzero(as_tuple=True)
    image, channel, foreground = (
        each.to(device, non_blocking=True) for each in (image, channel, channel.nonzero()[:, 0])
    )
    return _Present(image, channel, foreground, known.sum(dim=1).tolist())


def _losses(view1: View, view2: View, present: _Present, rules: _Rules) -> SiameseLosses:
    """Score every image alone."""
    cams1, refined1, pooled1 = _look(view1, view2.size, present, rules)
    cams2, refined2, pooled2 = _look(view2, view2.size, present, rules)
    er = [_er(*pair, rules) for pair in zip(cams1, cams2, strict=True)]
    ecr = [
        _ecr(cam2, pcm1, rules) + _ecr(cam1, pcm2, rules)
        for cam1, cam2, pcm1, pcm2 in zip(cams1, cams2, refined1, refined2, strict=True)
    ]
    return SiameseLosses(torch.stack(er), torch.stack(ecr), pooled1, pooled2)


def _look(
    view: View, final: Size, present: _Present, rules: _Rules
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Float[Tensor, " b"]]:
    """Return each image's CAMs and refined maps to be compared at `final`, and min pooling."""
    image, channel, foreground, numbers = present
    cam = at_least_float32(view.cam[image[foreground], channel[foreground]])
    pcm = at_least_float32(view.pcm[image, channel])
    matrices = upsampling((pcm.shape[1], pcm.shape[2]), view.size, pcm)
    pooled = [_min_pool(maps[1:], *matrices, rules.low_share) for maps in torch.split(pcm, numbers)]
    cams = torch.split(_normed(cam, view.size, final), [number - 1 for number in numbers])
    return cams, torch.split(_normed(pcm, view.size, final), numbers), torch.stack(pooled)


def _normed(maps: Float[Tensor, "n hs ws"], size: Size, final: Size) -> Float[Tensor, "n h w"]:
    """Return maps after upsampling to `size`, max norm there, and resizing to `final`.

    Upsampling keeps sums of weights, so that shift and scale may act on the small maps.
    """
    low, high = (value.relu() for value in extremes(maps, size))
    return rectified((maps - low - MARGIN) / (high - low + MARGIN), size, final)


def _er(
    cam1: Float[Tensor, "n h w"], cam2: Float[Tensor, "n h w"], rules: _Rules
) -> Float[Tensor, ""]:
    """Return the equivariance loss of one image."""
    return (cam1 - cam2).abs().sum() / (rules.classes * cam1.shape[1] * cam1.shape[2])


def _ecr(
    cam: Float[Tensor, "n h w"], refined: Float[Tensor, "m h w"], rules: _Rules
) -> Float[Tensor, ""]:
    """Return one side of the cross loss of one image."""
    errors = (_target(cam) - refined).abs()
    count = count_of((1 + rules.classes) * errors[0].numel(), rules.share)
    if count >= errors.numel():  # what absent classes add to the hardest is 0
        return errors.sum() / count
    return (errors * top_weights(errors, count)).sum() / count


@torch.no_grad()
def _target(cam: Float[Tensor, "n h w"]) -> Float[Tensor, "m h w"]:
    """Return background and the classes where they are the largest."""
    top = _largest(cam)
    return torch.cat([1 - top, torch.where(cam == top, cam, 0.0)])


def _largest(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "1 h w"]:
    """Return the largest value at each pixel, 0 where all are negative or there is no map."""
    return maps.amax(dim=0, keepdim=True).relu() if len(maps) else maps.sum(dim=0, keepdim=True)


def _min_pool(
    maps: Float[Tensor, "n hs ws"],
    rows: Float[Tensor, "h hs"],
    columns: Float[Tensor, "w ws"],
    share: float,
) -> Float[Tensor, ""]:
    """Return the min-pooling loss of one image's classes, given how they are upsampled.

    The loss is linear in the coarse maps once it is known which pixels of which map count: no
    large map takes part in the backward pass.
    """
    count = count_of(len(rows) * len(columns), share)
    with torch.no_grad():
        weights = apply(rows.T, columns.T, _lowest(apply(rows, columns, maps), count))
    return (maps * weights).sum() / count


def _lowest(large: Float[Tensor, "n h w"], count: int) -> Float[Tensor, "n h w"]:
    """Return the weight of each value in the sum of the `count` lowest pixels; negative is 0."""
    top = _largest(large)
    unclaimed = (top_weights(-top, count) * top.sign())[0]
    claims = torch.empty_like(large)
    for claim, values in zip(claims[:-1], large[:-1], strict=True):  # of equal classes, the first
        torch.mul(unclaimed, values == top[0], out=claim)
        unclaimed = unclaimed - claim
    claims[-1:] = unclaimed
    return claims
