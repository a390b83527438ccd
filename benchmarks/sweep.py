"""Cost of the single-pass sweep over 101 thresholds against one threshold's confusion matrix.

Usage: `python benchmarks/sweep.py [--images 40] [--classes 20] [--size 480 640] [--seed 0]`.
The aim is a ratio below 1.5. Runs on one thread; each figure is the median over the rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dealseg.cam import threshold_mask
from dealseg.metrics import (
    THRESHOLDS,
    boundary_counts,
    confusion_matrix,
    contour_counts,
    score_histogram,
    sweep_confusions,
)

Image = tuple[Tensor, Tensor, Tensor]


def random_image(size: tuple[int, int], classes: int, generator: torch.Generator) -> Image:
    """Return winner, smooth score and blocky ground truth with 3 classes and an ignored frame."""
    grid = (max(size[0] // 32, 2), max(size[1] // 32, 2))
    present = torch.randperm(classes, generator=generator)[:3] + 1
    score = interpolate(torch.rand(1, 1, *grid, generator=generator), size, mode="bilinear")
    choice = torch.randint(3, (2, 1, *grid), generator=generator)
    blocks = interpolate(present[choice].float(), size).to(torch.uint8)
    objects = interpolate(torch.rand(1, 1, *grid, generator=generator), size)[0, 0] < 0.35
    truth = torch.where(objects, blocks[1, 0], 0)
    truth[:4] = 255
    return blocks[0, 0], score[0, 0].clamp(0, 1), truth


def one_threshold(images: list[Image], classes: int, threshold: float = 0.3) -> Tensor:
    """Return the confusion matrix at one threshold."""
    total = torch.zeros(classes + 1, classes + 1, dtype=torch.int64)
    for winner, score, truth in images:
        total += confusion_matrix(threshold_mask(winner, score, threshold), truth, classes + 1)
    return total


def sweep(images: list[Image], classes: int) -> Tensor:
    """Return the confusion matrices at all thresholds, in one pass."""
    histogram = sum(score_histogram(*image, classes + 1) for image in images)
    return sweep_confusions(histogram)


def loop(images: list[Image], classes: int) -> Tensor:
    """Return the same by one pass per threshold."""
    return torch.stack([one_threshold(images, classes, step) for step in THRESHOLDS])


def outlines(images: list[Image], classes: int) -> None:
    """Count the boundary bands and contours of one threshold's masks."""
    for winner, score, truth in images:
        mask = threshold_mask(winner, score, 0.3)
        boundary_counts(mask, truth, classes + 1)
        contour_counts(mask, truth, classes + 1)


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Measure, check that both ways agree, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    size = (options.size[0], options.size[1])
    images = [random_image(size, options.classes, generator) for _ in range(options.images)]
    if not torch.equal(sweep(images, options.classes), loop(images, options.classes)):
        raise SystemExit("the sweep differs from the loop")
    pair: list[list[float]] = [[], []]
    for _ in range(options.rounds):  # in turn, so that a busy machine slows both alike
        for times, work in zip(pair, (one_threshold, sweep), strict=True):
            times.append(milliseconds(lambda work=work: work(images, options.classes), 1))
    one, all_of_them = (statistics.median(times) for times in pair)
    figures = {
        "one threshold": one,
        "sweep of 101": all_of_them,
        "loop over 101": milliseconds(lambda: loop(images, options.classes), 1),
        "outlines at one threshold": milliseconds(lambda: outlines(images, options.classes), 3),
    }
    print(f"{options.images} images {size[1]}x{size[0]}, {options.classes} classes, one thread")
    for name, value in figures.items():
        print(f"{name:26} {value / options.images:8.2f} ms an image  {value / one:7.2f} x")
    record = {
        "benchmark": "sweep",
        "ratio": all_of_them / one,
        "milliseconds": figures,
        "images": options.images,
        "classes": options.classes,
        "size": size,
        "torch": torch.__version__,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
