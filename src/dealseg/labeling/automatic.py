"""A background threshold found from the masks of the images, without ground truth."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from dealseg.cam import threshold_mask, winner_and_score
from dealseg.data import RgbdDataset
from dealseg.labeling.options import AUTO_FAILED, LabelOptions
from dealseg.labeling.refining import guide_of, ready_to_refine
from dealseg.labeling.scoring import class_maps, require_same_classes, tags_of
from dealseg.metrics import most_stable
from dealseg.models import Run

MOST_IMAGES, MOST_REFINED = 200, 40
"""So many images, evenly chosen, stand for all; refinement takes longer."""

TRIED = tuple(step / 20 for step in range(2, 15))
"""0.10, 0.15, ... 0.70; the first and the last are only compared with."""


def with_threshold(
    run: Run, dataset: RgbdDataset, options: LabelOptions, origin: str
) -> tuple[LabelOptions, str]:
    """Return the options with the threshold found, if that was asked for, and its origin.

    Masks of some images are made with every threshold of :data:`TRIED`, refined if the options
    say so, and the threshold is the one around which they change least
    (:func:`dealseg.metrics.most_stable`). No ground truth is read, nothing is drawn at random, and
    what is labelled already makes no difference. The options' own threshold stays where no image
    has a class, or nothing is decided by any threshold.
    """
    if not options.auto_threshold:
        return options, origin
    plain = replace(options, auto_threshold=False)
    found = most_stable(_shares(run, dataset, plain))
    if found is None:
        return plain, AUTO_FAILED
    return replace(plain, threshold=TRIED[found]), origin


def _shares(run: Run, dataset: RgbdDataset, options: LabelOptions) -> Float[Tensor, " n"]:
    """Return the mean share of object pixels for each threshold tried."""
    require_same_classes(run, dataset)
    chosen = evenly(len(dataset), MOST_IMAGES if options.refine == "none" else MOST_REFINED)
    total, count = torch.zeros(len(TRIED), dtype=torch.float64), 0
    for index in tqdm(chosen, desc="threshold", disable=None):
        shares = list(_shares_of(run, dataset, index, options))
        if any(shares):
            total, count = total + torch.tensor(shares, dtype=total.dtype), count + 1
    return total / max(count, 1)


@torch.no_grad()
def _shares_of(
    run: Run, dataset: RgbdDataset, index: int, options: LabelOptions
) -> Iterator[float]:
    """Yield the share of object pixels of one image for each threshold; nothing without a class."""
    image, long_side = dataset.image(index), options.long_side or run.config.data.long_side
    tags = tags_of(dataset, index, options)
    maps = class_maps(run.model, image, tags, long_side=long_side, options=options).maps
    if len(maps) == 0:
        return
    if options.refine == "none":
        winner, score = winner_and_score(maps)
        for threshold in TRIED:
            yield float((threshold_mask(winner, score, threshold) > 0).float().mean())
        return
    ready = ready_to_refine(maps, image, guide_of(dataset, index, options), options)
    for threshold in TRIED:
        yield float((ready.votes(threshold).argmax(0) > 0).float().mean())


def evenly(count: int, most: int) -> list[int]:
    """Return the indices of at most `most` of `count` things, spread over all of them."""
    if count <= most:
        return list(range(count))
    return [index * count // most for index in range(most)]
