"""Throughput of labelling, and its peak memory for few and for many images.

Usage: `python benchmarks/labelling.py [--size 480 640] [--classes 20] [--long-side 416]
[--scales 1.0 1.5] [--few 20] [--many 200]`. One thread; the network is the untrained default one,
since weights do not change the cost. Each count runs in a process of its own, whose peak resident
memory is read at the end: if labelling streams, the two peaks are the same. Seconds are those of
the processor, which on one thread leaves out what else the machine does.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dealseg.config import DataConfig, TrainConfig
from dealseg.data import DepthInfo
from dealseg.labeling import LabelOptions, label_dataset
from dealseg.models import Run, create
from dealseg.models.runs import RunFacts


class NoiseImages:
    """Images of smooth noise with three tags each, made when asked for."""

    def __init__(self, count: int, size: tuple[int, int], classes: int) -> None:
        self.root = Path("noise")
        self.classes = tuple(f"class {k}" for k in range(classes))
        self.names = tuple(f"{index:06d}" for index in range(count))
        self.depth_info = DepthInfo()
        self.size = size

    def __len__(self) -> int:
        return len(self.names)

    def image_path(self, index: int) -> Path:
        """Return a name for messages."""
        return self.root / f"{self.names[index]}.png"

    @cached_property
    def _noise(self) -> Tensor:
        coarse = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
        smooth = torch.nn.functional.interpolate(coarse, self.size, mode="bilinear")
        return (255 * smooth[0]).to(torch.uint8)

    def image(self, index: int) -> Tensor:
        """Return the noise, moved by the index."""
        return self._noise.roll(7 * index, dims=-1)

    def tags(self, index: int) -> Tensor:
        """Return three classes."""
        row = torch.zeros(len(self.classes))
        row[[(index + step) % len(self.classes) for step in (0, 3, 5)]] = 1
        return row

    def depth(self, index: int) -> None:
        """Return nothing: labelling needs no depth."""

    def mask(self, index: int) -> None:
        """Return nothing: labelling needs no ground truth."""


def measured(count: int, options: argparse.Namespace) -> tuple[float, float]:
    """Return processor seconds for `count` images, and this process's peak memory in megabytes."""
    torch.set_num_threads(1)
    size = (options.size[0], options.size[1])
    images = NoiseImages(count, size, options.classes)
    config = TrainConfig(data=DataConfig(long_side=options.long_side))
    model = create(config.method, classes=options.classes, pretrained=False)
    run = Run(Path("run"), config, RunFacts(images.classes, "", "metric"), model.eval(), "")
    chosen = LabelOptions(scales=tuple(options.scales), flip=not options.no_flip)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        label_dataset(run, images, Path(folder) / "out", chosen, "user")
        seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure both counts and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--long-side", type=int, default=416)
    parser.add_argument("--scales", type=float, nargs="+", default=(1.0, 1.5))
    parser.add_argument("--no-flip", action="store_true")
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--many", type=int, default=200)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    record = {"benchmark": "labelling", **vars(options), "torch": torch.__version__}
    print(f"{options.size[1]}x{options.size[0]}, scales {options.scales}, one thread")
    for name in ("few", "many"):
        count = vars(options)[name]
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            seconds, megabytes = pool.submit(measured, count, options).result()
        print(f"{count:6} images {count / seconds:8.2f} images/s, peak memory {megabytes:8.0f} MB")
        record[name] = {"images": count, "per second": count / seconds, "peak MB": megabytes}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
