"""From a trained network and an image to winner and score at every pixel."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dealseg.cam import (
    best_class_and_score,
    lead,
    normalise_cams,
    predicted_tags,
    threshold_mask,
    winner_and_score,
)
from dealseg.data import RgbdDataset
from dealseg.errors import ConfigError, DataError
from dealseg.labeling.options import LabelOptions
from dealseg.labeling.refining import Guide, guide_of, refined
from dealseg.metrics.expected import expected_mean_iou
from dealseg.models import CamModel, Run


@dataclass(frozen=True)
class ImageScores:
    """The winning class and its score at every pixel, all that thresholding needs.

    Attributes:
        winner: mask value of the class with the largest normalised CAM, or after refinement with
            the largest probability.
        score: that CAM, in [0, 1]; after refinement the CAM that would have had that probability,
            see :func:`dealseg.cam.best_class_and_score`.
        lead: by how much the label, at the threshold of the options, is ahead of the next best:
            of CAMs and threshold, or after refinement of probabilities.
        tag_scores: class probabilities of the image.
        predicted: whether the tags came from the network.
        confidence: how sure the mask is, in [0, 1]: the mean IoU that CAMs and threshold, read as
            probabilities, let expect of it (:func:`dealseg.metrics.expected_mean_iou`); of
            predicted tags, the probability that all of them are right.
        with_depth: whether there was depth to refine along.
    """

    winner: UInt8[Tensor, "h w"]
    score: Float[Tensor, "h w"]
    lead: Float[Tensor, "h w"]
    tag_scores: Float[Tensor, " k"]
    predicted: bool
    confidence: float
    with_depth: bool


@dataclass(frozen=True)
class ClassMaps:
    """What a network says about one image, before anything is decided.

    Attributes:
        maps: normalised CAMs of the classes present, in [0, 1], at the image's size.
        present: their indices among the run's classes, from 0, ascending.
        tag_scores: class probabilities of the image.
        predicted: whether the tags came from the network.
    """

    maps: Float[Tensor, "n h w"]
    present: Int64[Tensor, " n"]
    tag_scores: Float[Tensor, " k"]
    predicted: bool


@torch.no_grad()
def score_image(
    model: CamModel,
    image: UInt8[Tensor, "3 h w"],
    tags: Float[Tensor, " k"] | None,
    *,
    long_side: int,
    options: LabelOptions,
    guide: Guide | None = None,
) -> ImageScores:
    """Score one image: the winner of :func:`class_maps`, which documents the arguments.

    Refinement, if the options ask for it, goes along the image's colours and the depth of `guide`.
    """
    found = class_maps(model, image, tags, long_side=long_side, options=options)
    winner, score, ahead = _decided(found.maps, image, guide, options)
    confidence = _confidence(found, threshold_mask(winner, score, options.threshold), options)
    if len(found.present) > 0:
        winner = (found.present + 1).to(torch.uint8)[winner.long() - 1]
    return ImageScores(
        winner.cpu(),
        score.cpu(),
        ahead.cpu(),
        found.tag_scores.cpu(),
        found.predicted,
        confidence,
        with_depth=guide is not None,
    )


@torch.no_grad()
def class_maps(
    model: CamModel,
    image: UInt8[Tensor, "3 h w"],
    tags: Float[Tensor, " k"] | None,
    *,
    long_side: int,
    options: LabelOptions,
) -> ClassMaps:
    """Return one image's CAMs: ReLU'd, summed over scales and mirror images, normalised.

    Source: the multi-scale flip inference of SEAM and WeakTr. Departure: maps are summed on the
    training grid of pixels (`long_side`), not on the image's, and only the normalised maps of the
    classes present are brought to the image's size, so that memory does not grow with the number of
    classes times the image.

    Args:
        model: network in evaluation mode, on the device to use; the result is there too.
        image: RGB.
        tags: 1 for classes in the image; None predicts them from the class scores.
        long_side: longer side, in pixels, that the network was trained at.
        options: scales, flip and probability.
    """
    size = _fit(image.shape[-2], image.shape[-1], long_side)
    device = next(model.parameters()).device
    total, logits = None, []
    for view in _views(image.to(device)[None].float() / 255, size, options):
        output = model(view.image)
        cam = model.foreground(output, model.label_cam).clamp(min=0)
        cam = F.interpolate(cam.flip(-1) if view.mirrored else cam, size, mode="bilinear")
        total = cam if total is None else total + cam
        logits.append(model.class_scores(output))
    if total is None:
        raise ConfigError("scales must not be empty")
    scores = torch.stack(logits).mean(0)
    tagged = (
        tags[None].to(device) if tags is not None else predicted_tags(scores, options.probability)
    )
    present = tagged[0].nonzero().flatten()
    maps = total[:, present]
    maps = normalise_cams(maps, torch.ones_like(maps[..., 0, 0]), model.normalisation)
    maps = _at_image_size(maps, (image.shape[-2], image.shape[-1]))
    return ClassMaps(maps, present, scores[0].sigmoid(), tags is None)


@dataclass(frozen=True)
class _View:
    image: Tensor
    mirrored: bool


def _views(image: Tensor, size: tuple[int, int], options: LabelOptions) -> Iterator[_View]:
    for scale in options.scales:
        target = (max(32, round(size[0] * scale)), max(32, round(size[1] * scale)))
        resized = F.interpolate(image, target, mode="bilinear", antialias=True)
        yield _View(resized, mirrored=False)
        if options.flip:
            yield _View(resized.flip(-1), mirrored=True)


def _fit(height: int, width: int, long_side: int) -> tuple[int, int]:
    factor = long_side / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _at_image_size(maps: Tensor, size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    if maps.shape[1] == 0:
        return maps.new_zeros(0, *size)
    return F.interpolate(maps, size, mode="bilinear")[0]


def _decided(
    maps: Float[Tensor, "n h w"],
    image: UInt8[Tensor, "3 h w"],
    guide: Guide | None,
    options: LabelOptions,
) -> tuple[UInt8[Tensor, "h w"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the place of the winner among the maps, from 1, its score, and the label's lead.

    Without maps the winner is 1 with score 0, and the background's lead is 1.
    """
    if len(maps) == 0:
        ones = maps.new_ones(maps.shape[1:])
        return ones.to(torch.uint8), torch.zeros_like(ones), ones
    if options.refine == "none":
        background = maps.new_full(maps.shape[1:], options.threshold)
        return *winner_and_score(maps), lead([background, *maps])
    votes = refined(maps, image, guide, options)
    return *best_class_and_score(votes, options.threshold), lead(votes)


def _confidence(found: ClassMaps, mask: UInt8[Tensor, "h w"], options: LabelOptions) -> float:
    """Return how good a mask is expected to be, or that predicted tags are all right."""
    if found.predicted:
        return float(torch.maximum(found.tag_scores, 1 - found.tag_scores).prod())
    background = found.maps.new_full(mask.shape, options.threshold)
    return float(expected_mean_iou([background, *found.maps], mask))


def score_dataset(
    run: Run, dataset: RgbdDataset, options: LabelOptions, indices: Iterable[int] | None = None
) -> Iterator[tuple[int, ImageScores]]:
    """Score the images of a data set one at a time; memory does not grow with their number.

    Raises:
        DataError: if the data set's classes are not the run's.
    """
    require_same_classes(run, dataset)
    long_side = options.long_side or run.config.data.long_side
    for index in range(len(dataset)) if indices is None else indices:
        yield (
            index,
            score_image(
                run.model,
                dataset.image(index),
                tags_of(dataset, index, options),
                long_side=long_side,
                options=options,
                guide=guide_of(dataset, index, options),
            ),
        )


def require_same_classes(run: Run, dataset: RgbdDataset) -> None:
    """Refuse a data set whose class list is not the run's (one without classes is fine)."""
    if dataset.classes and dataset.classes != run.facts.classes:
        raise DataError(
            f"{dataset.root}: its classes {list(dataset.classes)} are not those of the run "
            f"{run.path}: {list(run.facts.classes)}; give them in dataset.yaml in the run's order"
        )


def tags_of(dataset: RgbdDataset, index: int, options: LabelOptions) -> Tensor | None:
    """Return the tags to apply to an image, or None where they are to be predicted."""
    tags = None if options.tags == "predicted" else dataset.tags(index)
    if tags is None and options.tags == "data":
        raise DataError(
            f"{dataset.image_path(index)}: has no tags; add them or label with --tags predicted"
        )
    return tags
