"""A background threshold found from the scores of the images alone."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm

from dealseg.data import RgbdDataset
from dealseg.labeling.options import AUTO_FAILED, LabelOptions
from dealseg.labeling.scoring import score_dataset
from dealseg.metrics.otsu import otsu_bin
from dealseg.metrics.sweep import STEPS
from dealseg.models import Run

MOST_IMAGES = 200
"""So many images, evenly chosen, stand for all."""


def with_threshold(
    run: Run, dataset: RgbdDataset, options: LabelOptions, origin: str
) -> tuple[LabelOptions, str]:
    """Return the options with the threshold found, if that was asked for, and its origin.

    One pass over at most :data:`MOST_IMAGES` images counts the scores of all their pixels, and
    the threshold is Otsu's split of that histogram, to 0.01. No ground truth is read, nothing is
    drawn at random, and neither refinement nor what is labelled already makes a difference. The
    options' own threshold stays where no image has a class.
    """
    if not options.auto_threshold:
        return options, origin
    plain = replace(options, auto_threshold=False)
    split = otsu_bin(_histogram(run, dataset, replace(plain, refine="none", ignore=0.0)))
    if split is None:
        return plain, AUTO_FAILED
    return replace(plain, threshold=split / STEPS), origin


def _histogram(run: Run, dataset: RgbdDataset, options: LabelOptions) -> Int64[Tensor, " bins"]:
    """Return the counts of scores in steps of 0.01, of images in which a class is."""
    chosen = evenly(len(dataset), MOST_IMAGES)
    counts = torch.zeros(STEPS, dtype=torch.int64)
    scored = score_dataset(run, dataset, options, chosen)
    for _, found in tqdm(scored, total=len(chosen), desc="threshold", disable=None):
        if bool(found.score.any()):
            counts += _counts(found.score)
    return counts


def _counts(score: Float[Tensor, "h w"]) -> Int64[Tensor, " bins"]:
    steps = (score * STEPS).long().clamp_(0, STEPS - 1)
    return torch.bincount(steps.flatten(), minlength=STEPS)


def evenly(count: int, most: int) -> list[int]:
    """Return the indices of at most `most` of `count` things, spread over all of them."""
    if count <= most:
        return list(range(count))
    return [index * count // most for index in range(most)]
