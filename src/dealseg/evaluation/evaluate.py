"""One pass over a data set's ground truth and the masks or scores made for it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from tqdm import tqdm

from dealseg.data.base import RgbdDataset, class_ids
from dealseg.errors import ConfigError, DataError
from dealseg.evaluation.counts import MaskCounts, Tally
from dealseg.evaluation.figures import Figures, TagFigures, figures
from dealseg.evaluation.result import EvaluationResult
from dealseg.evaluation.sources import (
    CamFolder,
    MaskFolder,
    ScoredImage,
    SourceInfo,
    open_source,
)
from dealseg.metrics.confusion import mean_iou
from dealseg.metrics.protocols import PROTOCOLS, Protocol, search
from dealseg.metrics.sweep import THRESHOLDS, sweep_confusions
from dealseg.metrics.tags import average_precision, f1

Source = MaskFolder | CamFolder | Iterable[ScoredImage]
Case = tuple[int, UInt8[Tensor, "h w"], UInt8[Tensor, "h w"] | ScoredImage]
"""Index in the data set, ground truth, and the prediction to judge."""

_SHOWN = 5


@dataclass
class _Census:
    """Which images were left out, and why."""

    allow_subset: bool
    way_out: str = "label them"
    without_truth: int = 0
    missing: list[str] = field(default_factory=list)


def evaluate(
    source: Path | Source,
    dataset: RgbdDataset,
    *,
    threshold: float | None = None,
    threshold_origin: str | None = None,
    split: str = "all",
    info: SourceInfo | None = None,
    allow_subset: bool = False,
    boundaries: bool = True,
    oracle_boundaries: bool = False,
    protocol: str = "full",
) -> EvaluationResult:
    """Judge masks or scores by a data set's ground truth.

    Images are taken one at a time; what is kept does not grow with their number, but for
    the tag scores. Images without ground truth are left out and counted.

    Protocol ("max mIoU"): one confusion matrix over the set at each of 101 constant background
    scores, mean IoU over all classes with background. The figure at the best of those that the
    protocol tries is an ORACLE figure, apart from the one at the fixed threshold.

    Args:
        source: a folder of masks or CAMs, or scored images in any order.
        dataset: names, classes, tags and ground truth.
        threshold: the fixed background score; for scores only, since masks come finished.
        threshold_origin: who chose it, and with what, for example "default".
        split: name of the part of the data that `dataset` is.
        info: where scored images come from; folders say it themselves.
        allow_subset: accept that predictions are missing for some images; the result says so.
        boundaries: compute boundary IoU and contour F at the fixed threshold.
        oracle_boundaries: the same at the oracle threshold, in a second pass over the source.
        protocol: how the oracle threshold is searched for, a key of
            :data:`dealseg.metrics.PROTOCOLS`.

    Raises:
        DataError: if classes, images, sizes or values do not fit the data set, predictions are
            missing, or no image has ground truth.
        ConfigError: if the threshold options or the protocol do not fit the source.
    """
    if isinstance(source, Path):
        source = open_source(source)
    if isinstance(source, MaskFolder):
        source.require_classes(dataset.classes)
    fixed_at, origin = _fixed_threshold(source, threshold, threshold_origin)
    searched = _protocol(source, protocol)
    if oracle_boundaries and (isinstance(source, MaskFolder) or _once_only(source)):
        raise ConfigError(
            "outlines at the oracle threshold take a second pass over scores: give a folder of "
            "CAMs, or scored images that can be iterated twice"
        )
    census = _Census(allow_subset)
    if isinstance(source, MaskFolder):
        census.way_out = source.way_out(split)
    undecided = isinstance(source, MaskFolder) and source.may_leave_undecided
    tally = Tally(len(dataset.classes) + 1, fixed_at, boundaries, undecided)
    for case in _cases(source, dataset, census):
        _add(tally, dataset, case)
    result = _result(tally, dataset, origin, census, split, searched)
    result = replace(result, source=info or _info(source))
    if oracle_boundaries and result.oracle is not None:
        cases = _cases(source, dataset, _Census(allow_subset))
        result = replace(result, oracle=_oracle_outlines(cases, dataset, result.oracle))
    return result


def _once_only(source: Source) -> bool:
    """Return whether a source can be read once only."""
    return isinstance(source, Iterator)


def _fixed_threshold(
    source: Source, threshold: float | None, origin: str | None
) -> tuple[float | None, str]:
    """Return the threshold that scores are cut at, or that finished masks were cut at."""
    if isinstance(source, MaskFolder):
        if threshold is not None:
            raise ConfigError(
                f"threshold {threshold} cannot apply to finished masks ({source.root}); label again"
            )
        return source.threshold, source.threshold_origin
    if threshold is None or origin is None:
        raise ConfigError("scores need a fixed threshold and its origin")
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be in [0, 1], got {threshold}")
    return threshold, origin


def _protocol(source: Source, name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {name!r}")
    if isinstance(source, MaskFolder) and name != "full":
        raise ConfigError(
            f"protocol {name} searches thresholds, and finished masks ({source.root}) have none; "
            "evaluate the run or its CAMs"
        )
    return PROTOCOLS[name]


def _info(source: Source) -> SourceInfo:
    if isinstance(source, MaskFolder | CamFolder):
        return source.info
    return SourceInfo(kind="scores")


def _cases(source: Source, dataset: RgbdDataset, census: _Census) -> Iterator[Case]:
    """Return the images with ground truth and prediction; the others are counted or refused."""
    if isinstance(source, MaskFolder | CamFolder):
        return _of_folder(source, dataset, census)
    return _of_stream(source, dataset, census)


def _of_folder(
    folder: MaskFolder | CamFolder, dataset: RgbdDataset, census: _Census
) -> Iterator[Case]:
    absent = [index for index, name in enumerate(dataset.names) if name not in folder.files]
    _count_missing(absent, dataset, census)
    present = [index for index, name in enumerate(dataset.names) if name in folder.files]
    for index in tqdm(present, desc="evaluate", unit="image", disable=None):
        truth = dataset.mask(index)
        if truth is None:
            census.without_truth += 1
        else:
            size = (truth.shape[0], truth.shape[1])
            yield index, truth, folder.prediction(dataset.names[index], size, dataset, index)


def _of_stream(
    images: Iterable[ScoredImage], dataset: RgbdDataset, census: _Census
) -> Iterator[Case]:
    expected = {name: index for index, name in enumerate(dataset.names)}
    for image in tqdm(images, total=len(dataset), desc="evaluate", unit="image", disable=None):
        index = expected.pop(image.name, None)
        if index is None:
            why = "came twice" if image.name in dataset.names else "is not in the data set"
            raise DataError(f"{image.name}: this scored image {why} ({dataset.root})")
        truth = dataset.mask(index)
        if truth is None:
            census.without_truth += 1
            continue
        _require_size(image, truth)
        yield index, truth.to(image.winner.device), image
    _count_missing(list(expected.values()), dataset, census)


def _require_size(image: ScoredImage, truth: UInt8[Tensor, "h w"]) -> None:
    for part in (image.winner, image.score):
        if part.shape != truth.shape:
            got, expected = (f"{shape[1]}x{shape[0]}" for shape in (part.shape, truth.shape))
            raise DataError(
                f"{image.name}: the scores are {got}, the ground truth is {expected} (width x "
                "height); resize the CAMs before winner and score are taken"
            )


def _count_missing(absent: list[int], dataset: RgbdDataset, census: _Census) -> None:
    """Split images without prediction into those with and without ground truth.

    Raises:
        DataError: if there are some with ground truth and a subset is not allowed.
    """
    missing = [dataset.names[index] for index in absent if dataset.mask(index) is not None]
    census.without_truth += len(absent) - len(missing)
    census.missing += missing
    if missing and not census.allow_subset:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise DataError(
            f"{len(missing)} of {len(dataset)} images of {dataset.root} have ground truth but no "
            f"prediction: {shown}; {census.way_out}, or --allow-subset (the result will say so)"
        )


def _add(tally: Tally, dataset: RgbdDataset, case: Case) -> None:
    index, truth, prediction = case
    try:
        tally.add(prediction, truth, dataset.tags(index))
    except ValueError as error:
        raise DataError(f"{dataset.names[index]}: {error}") from error


def _result(
    tally: Tally,
    dataset: RgbdDataset,
    origin: str,
    census: _Census,
    split: str,
    protocol: Protocol,
) -> EvaluationResult:
    if tally.fixed is None or tally.pixels == tally.ignored:
        raise DataError(
            f"{dataset.root}: none of the {len(dataset)} images has a ground-truth mask to judge "
            "by; masks are needed for evaluation only, training and labelling go without"
        )
    result = EvaluationResult(
        source=SourceInfo(kind="scores"),
        dataset=str(dataset.root),
        split=split,
        images=tally.images,
        images_without_ground_truth=census.without_truth,
        images_missing=len(census.missing),
        pixels=tally.pixels,
        ignored_share=tally.ignored / tally.pixels,
        undecided_share=tally.undecided / (tally.pixels - tally.ignored),
        class_names=("background", *dataset.classes),
        fixed=figures(tally.fixed, tally.threshold, origin),
        tags=_tag_figures(tally),
        class_ids=class_ids(dataset),
    )
    return result if tally.histogram is None else _with_sweep(result, tally.histogram, protocol)


def _with_sweep(
    result: EvaluationResult, histogram: Int64[Tensor, "c k bins"], protocol: Protocol
) -> EvaluationResult:
    """Add the curve of all thresholds, and the best point of those that the protocol tries."""
    confusions = sweep_confusions(histogram)
    found = search(confusions, protocol)
    origin = f"best of {len(found.thresholds)} with the ground truth, protocol {protocol.name}"
    oracle = figures(MaskCounts(confusions[THRESHOLDS.index(found.best)]), found.best, origin)
    return replace(
        result,
        oracle=replace(oracle, mean_iou=found.best_mean_iou),
        protocol=found,
        thresholds=THRESHOLDS,
        curve=tuple(mean_iou(confusions).tolist()),
    )


def _oracle_outlines(cases: Iterator[Case], dataset: RgbdDataset, oracle: Figures) -> Figures:
    tally = Tally(len(dataset.classes) + 1, oracle.threshold, boundaries=True)
    for case in cases:
        _add(tally, dataset, case)
    if tally.fixed is None:
        raise DataError("the source gave no images the second time")
    return figures(tally.fixed, oracle.threshold, oracle.threshold_origin)


def _tag_figures(tally: Tally) -> TagFigures | None:
    if not tally.tag_scores:
        return None
    scores, tags = torch.stack(tally.tag_scores), torch.stack(tally.tags)
    precision = average_precision(scores, tags)
    harmonic = f1((scores > 0.5).float(), tags)
    return TagFigures(
        images=len(scores),
        mean_average_precision=float(precision.nanmean()),
        average_precision=tuple(precision.tolist()),
        mean_f1=float(harmonic.nanmean()),
        f1=tuple(harmonic.tolist()),
    )
