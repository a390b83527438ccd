"""A background threshold found from the images alone, without ground truth."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from tqdm import tqdm

from dealseg.cam import winner_and_score
from dealseg.data import RgbdDataset
from dealseg.labeling.options import AUTO_FAILED, AUTO_ORIGIN, AUTO_REFINED, LabelOptions
from dealseg.labeling.refining import guide_of, ready_to_refine
from dealseg.labeling.scoring import class_maps, require_same_classes, tags_of
from dealseg.metrics import most_stable, otsu_bin
from dealseg.metrics.sweep import STEPS
from dealseg.models import Run

MOST_IMAGES, MOST_REFINED = 200, 40
"""So many images, evenly chosen, stand for all; refinement takes longer."""

TRIED = tuple(step / 20 for step in range(2, 15))
"""0.10, 0.15, ... 0.70; the first and the last are only compared with."""


def with_threshold(
    run: Run, dataset: RgbdDataset, options: LabelOptions, origin: str
) -> tuple[LabelOptions, str]:
    """Return the options with the threshold found, if that was asked for, and its origin.

    Without refinement it is Otsu's split of the histogram of the scores of all pixels, to 0.01;
    with refinement the middle, to 0.01, between that and the one of :data:`TRIED` around which
    refined masks change least (:func:`dealseg.metrics.most_stable`), if there is one. Some of the
    images stand for all. No ground truth is read, nothing is drawn at random, and what is labelled
    already makes no difference. The options' own threshold stays where no image has a class, or
    no threshold parts the pixels.
    """
    if not options.auto_threshold:
        return options, origin
    require_same_classes(run, dataset)
    plain = replace(options, auto_threshold=False)
    split = otsu_bin(_histogram(run, dataset, plain))
    if split is None:
        return plain, AUTO_FAILED
    place = None if options.refine == "none" else most_stable(_shares(run, dataset, plain))
    if place is None:
        return replace(plain, threshold=split / STEPS), AUTO_ORIGIN
    return replace(plain, threshold=round((split / STEPS + TRIED[place]) / 2, 2)), AUTO_REFINED


def _histogram(run: Run, dataset: RgbdDataset, options: LabelOptions) -> Int64[Tensor, " bins"]:
    """Return the counts of scores in steps of 0.01, of images in which a class is."""
    counts = torch.zeros(STEPS, dtype=torch.int64)
    for _, _, maps in _class_maps(run, dataset, options, MOST_IMAGES):
        counts += _counts(winner_and_score(maps)[1])
    return counts


def _counts(score: Float[Tensor, "h w"]) -> Int64[Tensor, " bins"]:
    steps = (score * STEPS).long().clamp_(0, STEPS - 1)
    return torch.bincount(steps.flatten(), minlength=STEPS).cpu()


def _shares(run: Run, dataset: RgbdDataset, options: LabelOptions) -> Float64[Tensor, " n"]:
    """Return the mean share of object pixels of refined masks for each threshold tried."""
    total, count = torch.zeros(len(TRIED), dtype=torch.float64), 0
    for index, image, maps in _class_maps(run, dataset, options, MOST_REFINED):
        ready = ready_to_refine(maps, image, guide_of(dataset, index, options), options)
        masks = (ready.votes(threshold).argmax(0) > 0 for threshold in TRIED)
        total += torch.tensor([float(mask.float().mean()) for mask in masks], dtype=total.dtype)
        count += 1
    return total / max(count, 1)


def _class_maps(
    run: Run, dataset: RgbdDataset, options: LabelOptions, most: int
) -> Iterator[tuple[int, UInt8[Tensor, "3 h w"], Float[Tensor, "n h w"]]]:
    """Yield number, image and CAMs of at most so many images, of those that have a class."""
    long_side = options.long_side or run.config.data.long_side
    for index in tqdm(evenly(len(dataset), most), desc="threshold", disable=None):
        image, tags = dataset.image(index), tags_of(dataset, index, options)
        maps = class_maps(run.model, image, tags, long_side=long_side, options=options).maps
        if bool(maps.any()):
            yield index, image, maps


def evenly(count: int, most: int) -> list[int]:
    """Return the indices of at most `most` of `count` things, spread over all of them."""
    if count <= most:
        return list(range(count))
    return [index * count // most for index in range(most)]
