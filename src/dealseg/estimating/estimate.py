"""Estimated depth for a whole data set, beside what there is of a sensor's."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from dealseg import __version__
from dealseg.data.files import file_error
from dealseg.data.frames import FrameDataset
from dealseg.errors import ConfigError, DataError
from dealseg.estimating.batches import Prepared, ahead, in_batches
from dealseg.estimating.claiming import claim, require_ours_or_empty, require_plain_name
from dealseg.estimating.estimator import Estimator
from dealseg.estimating.storing import is_map_of, store, stored_info, write_depth

DEFAULT_FOLDER = "depth_estimate"


@dataclass(frozen=True)
class DepthResult:
    """What estimating did.

    Attributes:
        written: maps written now.
        kept: maps found from an earlier call.
        renewed: of those written, maps made again as they were damaged or of another image.
        beyond: share of the pixels written now that were farther than can be stored.
    """

    written: int
    kept: int
    renewed: int
    beyond: float


def require_room(dataset: FrameDataset, folder: str = DEFAULT_FOLDER) -> None:
    """Check that depth may be written into `folder`: quick, before a network is loaded.

    Raises:
        ConfigError: if it is no plain name.
        DataError: if it holds something that this program did not write.
    """
    require_plain_name(folder)
    require_ours_or_empty(_folders(dataset, folder))


def _folders(dataset: FrameDataset, folder: str) -> list[Path]:
    places = (frame.depth_place(dataset.root, folder)[0] for frame in dataset.frames)
    return sorted(set(places))


def estimate_depth(
    dataset: FrameDataset,
    estimator: Estimator,
    folder: str = DEFAULT_FOLDER,
    *,
    batch_size: int | None = None,
    long_side: int | None = None,
    threads: int | None = None,
) -> DepthResult:
    """Write a 16-bit depth map for every image that has none in `folder`, and `depth.yaml`.

    Maps are written whole or not at all, so an interrupted call goes on where it was. A map whose
    image has other bytes since is made again.

    Args:
        dataset: whose images are looked at.
        estimator: the network.
        folder: name of the depth folder, in the root, or in each scene of BOP.
        batch_size: images of one shape a step; by default 16 on a GPU, 1 on a CPU.
        long_side: maps are stored with at most this many pixels on the longer side; by default at
            the size of the image.
        threads: that read and write files; by default as many as processors, at most 8.

    Raises:
        ConfigError: if an option cannot work.
        DataError: if a folder holds other depth, or an image cannot be read.
    """
    _require_positive(batch_size=batch_size, long_side=long_side, threads=threads)
    require_plain_name(folder)
    info = stored_info(estimator.output)
    claim(_folders(dataset, folder), info, _source(estimator, long_side))
    files = [frame.depth_place(dataset.root, folder)[1] for frame in dataset.frames]
    there = [index for index, file in enumerate(files) if file.is_file()]
    workers = threads or min(8, os.cpu_count() or 1)
    kept = _still_true(dataset, files, there, workers)
    todo = [index for index in range(len(files)) if index not in kept]

    def write(made: tuple[int, Tensor]) -> float:
        index, estimate = made
        stored = store(estimate.numpy(), info)
        if not stored.values.any():
            raise DataError(
                f"{dataset.image_path(index)}: the network gave no finite number; "
                "try --precision 32-true"
            )
        write_depth(files[index], stored, dataset.image_path(index))
        return stored.beyond

    with ThreadPoolExecutor(workers) as pool:
        size = batch_size or (16 if next(estimator.network.parameters()).is_cuda else 1)
        made = _estimates(pool, dataset, estimator, todo, size, long_side)
        written = ahead(pool, write, made, 2 * size + 8)
        beyond = list(tqdm(written, total=len(todo), desc="depth", unit="image", disable=None))
    return DepthResult(
        len(todo), len(kept), len(there) - len(kept), float(np.mean(beyond or [0.0]))
    )


def _still_true(
    dataset: FrameDataset, files: Sequence[Path], there: Sequence[int], workers: int
) -> set[int]:
    """Return those of the maps there are that are whole, and of the images as they are now."""
    with ThreadPoolExecutor(workers) as pool:
        images = (dataset.image_path(index) for index in there)
        true = pool.map(is_map_of, (files[index] for index in there), images)
        # every image is read for its checksum, which takes a while where there are many
        told = tqdm(true, total=len(there), desc="maps there", disable=None if there else True)
        return {index for index, holds in zip(there, told, strict=True) if holds}


def _require_positive(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")


def _source(estimator: Estimator, long_side: int | None) -> dict[str, str | int | None]:
    return {
        "model": estimator.name,
        "weights_sha256": estimator.digest,
        "long_side": long_side,
        "transformers": version("transformers"),
        "dealseg": __version__,
    }


def _estimates(
    pool: ThreadPoolExecutor,
    dataset: FrameDataset,
    estimator: Estimator,
    todo: list[int],
    batch_size: int,
    long_side: int | None,
) -> Iterator[tuple[int, Float[Tensor, "_ _"]]]:
    def prepare(index: int) -> Prepared:
        image = dataset.image(index)
        try:
            pixels = estimator.prepared(image)
        except (ValueError, RuntimeError) as error:  # too small or too narrow an image
            file = dataset.image_path(index)
            raise file_error(file, f"the network cannot take this image ({error})") from error
        return Prepared(index, (image.shape[-2], image.shape[-1]), pixels)

    for batch in in_batches(ahead(pool, prepare, todo, 2 * batch_size + 8), batch_size):
        sizes = [image.size for image in batch]
        pixels = torch.stack([image.pixels for image in batch])
        maps = estimator.estimates(pixels, sizes, [_target(size, long_side) for size in sizes])
        yield from zip((image.index for image in batch), maps, strict=True)


def _target(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    factor = min(1.0, (long_side or max(size)) / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
