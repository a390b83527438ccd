"""From a trained network and an image to winner and score at every pixel."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dealseg.cam import normalise_cams, predicted_tags, winner_and_score
from dealseg.config import TrainConfig
from dealseg.data import RgbdDataset
from dealseg.errors import ConfigError, DataError
from dealseg.models import CamModel, Run
from dealseg.models.registry import method

DEFAULT_THRESHOLD = 0.4
"""Background score between the best of the embedded synthetic set and of NYUv2; see
docs/method.md."""


@dataclass(frozen=True)
class LabelOptions:
    """How CAMs become masks.

    Attributes:
        threshold: a pixel is background unless its score is above this.
        scales: image sizes whose CAMs are summed, relative to the training's.
        flip: add the CAMs of the mirrored image.
        long_side: longer side of an image at scale 1, pixels; None takes the training's.
        tags: `auto` takes the data's tags and predicts them where an image has none; `data` and
            `predicted` insist.
        probability: class probability above which a class is predicted.
    """

    threshold: float = DEFAULT_THRESHOLD
    scales: tuple[float, ...] = (1.0, 1.5)
    flip: bool = True
    tags: str = "auto"
    probability: float = 0.5
    long_side: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold must be in [0, 1], got {self.threshold}")
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ConfigError(f"scales must be positive, got {self.scales}")
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"probability must be in [0, 1], got {self.probability}")
        if self.tags not in ("auto", "data", "predicted"):
            raise ConfigError(f"tags must be auto, data or predicted, got {self.tags!r}")


def label_options(
    config: TrainConfig,
    *,
    threshold: float | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    tags: str = "auto",
) -> LabelOptions:
    """Return how to label with a run: as told here, else as its configuration says.

    The threshold is the method's own where neither says one.

    Raises:
        ConfigError: for values that cannot work.
    """
    own = config.label
    found = [threshold, own.threshold, method(config.method).threshold]
    return LabelOptions(
        threshold=next(value for value in found if value is not None),
        scales=own.scales if scales is None else scales,
        flip=own.flip if flip is None else flip,
        tags=tags,
        long_side=own.long_side,
    )


def threshold_origin(config: TrainConfig, threshold: float | None) -> str:
    """Return who chose the threshold of :func:`label_options`: `user`, `run` or `method`."""
    if threshold is not None:
        return "user"
    return "method" if config.label.threshold is None else "run"


@dataclass(frozen=True)
class ImageScores:
    """The winning class and its score at every pixel, all that thresholding needs.

    Attributes:
        winner: mask value of the class with the largest normalised CAM.
        score: that CAM, in [0, 1].
        tag_scores: class probabilities of the image.
        predicted: whether the tags came from the network.
    """

    winner: UInt8[Tensor, "h w"]
    score: Float[Tensor, "h w"]
    tag_scores: Float[Tensor, " k"]
    predicted: bool


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
) -> ImageScores:
    """Score one image: the winner of :func:`class_maps`, which documents the arguments."""
    found = class_maps(model, image, tags, long_side=long_side, options=options)
    winner, score = _winner(found.maps, found.present)
    return ImageScores(winner.cpu(), score.cpu(), found.tag_scores.cpu(), found.predicted)


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


def _winner(
    maps: Float[Tensor, "n h w"], present: Int64[Tensor, " n"]
) -> tuple[UInt8[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the mask value of the largest map and its score; class 1 with score 0 of no maps."""
    if len(present) == 0:
        size = maps.shape[1:]
        return maps.new_ones(size, dtype=torch.uint8), maps.new_zeros(size)
    winner, score = winner_and_score(maps)
    return (present + 1).to(torch.uint8)[winner.long() - 1], score


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
        tags = tags_of(dataset, index, options)
        yield (
            index,
            score_image(
                run.model, dataset.image(index), tags, long_side=long_side, options=options
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
