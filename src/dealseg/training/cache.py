"""Features of the frozen stages, computed once: what makes training on a CPU practical."""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm import tqdm

from dealseg.config import DealConfig, TrainConfig
from dealseg.data import RgbdDataset
from dealseg.data.sample import Sample
from dealseg.data.transforms import to_size
from dealseg.errors import DataError
from dealseg.losses import DepthEdges, depth_edges, grid_size
from dealseg.models import CamModel
from dealseg.models.runs import WEIGHTS_FILE
from dealseg.models.segmenter import Segmenter
from dealseg.training.added import Size, colours_at
from dealseg.training.samples import Images, part_name, training_sample

VERSION = 3
"""Grows whenever the same key would stand for other features."""

Encoder = CamModel | Segmenter

STALE = 3600.0
"""Seconds after which an unfinished file that nobody writes to was left by a killed process."""

log = logging.getLogger("dealseg")


def cache_stem(
    folder: Path, dataset: RgbdDataset, config: TrainConfig, stages: int, size: Size
) -> Path:
    """Return how the files of the features begin: a checksum of all that they depend on.

    That is: the image files (path, size, time of change), the network with its weights, its frozen
    stages, and the image size; not depth, tags or masks.
    """
    model = config.model
    start = Path(config.init) if config.init else None
    weights = Path(model.weights) if model.weights and model.pretrained else None
    network = [
        config.method,
        {**asdict(model), "weights": None},
        [checksum(path) for path in (weights, start) if path],
        None if model.pretrained and not config.init else config.seed,
    ]
    return stem_of(folder, dataset, network, stages, size)


def stem_of(folder: Path, dataset: Images, network: Sequence[Any], stages: int, size: Size) -> Path:
    """Return how the files of the features of a network, told by plain values, begin."""
    stamps = [_stamp(dataset.image_path(index)) for index in range(len(dataset))]
    facts = [VERSION, *network, stages, size, stamps]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return folder / f"features-{digest[:16]}"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a weights file, or of the weights in a run folder."""
    file = path / WEIGHTS_FILE if path.is_dir() else path
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def build_features(
    stem: Path, dataset: Images, model: Encoder, size: Size
) -> dict[str, np.ndarray]:
    """Return the (n, 2, ...) float16 features of all images and their mirror images, memory-mapped.

    There is one file for each part of each view. They are computed if one is not there or is
    damaged, and moved there whole, never half.

    Raises:
        DataError: if the disk has no room for them.
    """
    names = _part_names(model, size)
    found = _read_features(stem, names, len(dataset))
    if found is not None:
        return found
    stem.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(stem)
    partials = {name: _partial(stem, name) for name in names}
    was = model.training
    try:
        _write_features(partials, dataset, model, size)
        for name, partial in partials.items():
            partial.replace(_part_file(stem, name))
    finally:
        model.train(was)
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return {name: np.load(_part_file(stem, name), mmap_mode="r") for name in names}


def _part_file(stem: Path, name: str) -> Path:
    return stem.with_name(f"{stem.name}-{name.removeprefix('features.')}.npy")


def _partial(stem: Path, name: str) -> Path:
    return stem.with_name(f".{_part_file(stem, name).name}.{os.getpid()}.part")


@torch.no_grad()
def _part_names(model: Encoder, size: Size) -> tuple[str, ...]:
    """Encode a black image to learn what parts there are."""
    was = model.training
    model.eval()
    device = next(model.parameters()).device
    parts = encoded(model, torch.zeros(1, 3, *size, device=device))
    model.train(was)
    return tuple(parts)


def encoded(model: Encoder, image: Tensor) -> dict[str, Tensor]:
    """Return the features of every view of images, under the names that a batch has them by."""
    return {
        part_name(number, name): part
        for number, view in enumerate(model.views(image))
        for name, part in model.encode(view).items()
    }


def _read_features(stem: Path, names: Sequence[str], count: int) -> dict[str, np.ndarray] | None:
    """Return what is there, or None if a part is not, or is not what was written."""
    found = {}
    for name in names:
        path = _part_file(stem, name)
        if not path.is_file():
            return None
        try:
            part: np.ndarray = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            part = np.empty(0)
        if part.dtype != np.float16 or part.shape[:2] != (count, 2):
            log.warning(f"{path}: damaged, its features are computed anew")
            return None
        found[name] = part
    return found


def _remove_stale(stem: Path) -> None:
    for partial in stem.parent.glob(f".{stem.name}-*.part"):
        if time.time() - partial.stat().st_mtime > STALE:
            partial.unlink(missing_ok=True)


@torch.no_grad()
def _write_features(partials: dict[str, Path], dataset: Images, model: Encoder, size: Size) -> None:
    device = next(model.parameters()).device
    stores: dict[str, np.memmap] = {}
    model.eval()
    for index in tqdm(range(len(dataset)), desc="features", disable=None):
        image = to_size(Sample(image=dataset.image(index)), size)["image"]
        pair = torch.stack([image, image.flip(-1)]).to(device).float() / 255
        features = encoded(model, pair.contiguous(memory_format=torch.channels_last))
        for name, part in features.items():
            if name not in stores:
                stores[name] = _allocate(partials[name], (len(dataset), *part.shape))
            stores[name][index] = part.half().cpu().numpy()
    for store in stores.values():
        store.flush()


def _allocate(partial: Path, shape: tuple[int, ...]) -> np.memmap:
    """Reserve the file, so that a full disk is known at once."""
    needed = 2 * int(np.prod(shape))
    try:
        store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        _reserve(partial, store.offset + needed)
    except OSError as error:
        raise DataError(
            f"{partial.parent}: no room for {needed / 1e6:.0f} MB of cached features "
            f"({error.strerror}); free some, choose another --cache-dir, or --profile full"
        ) from error
    return store


def _reserve(file: Path, size: int) -> None:
    """Take the room on the disk; where the system cannot, look how much is free."""
    if hasattr(os, "posix_fallocate"):
        try:
            with file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    if shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def build_edges(
    dataset: RgbdDataset, config: DealConfig, size: Size, order: Sequence[int]
) -> DepthEdges:
    """Return the depth edges on the loss's grid, computed once (float16), of images in `order`."""
    grid = grid_size(*size, config.cells)
    found = [
        depth_edges(
            depth,
            valid,
            size=grid,
            space=config.space,
            kind=dataset.depth_info.kind,
            gain=config.gain,
            divide=config.divide,
        )
        for depth, valid in _depths(dataset, size, order)
    ]
    strength = torch.cat([edges.strength for edges in found]).half()
    return DepthEdges(strength, torch.cat([edges.valid for edges in found]))


def _depths(
    dataset: RgbdDataset, size: Size, order: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    for index in tqdm(order, desc="depth edges", disable=None):
        sample = to_size(training_sample(dataset, index), size)
        yield sample["depth"][None], sample["valid"][None]


def build_colours(dataset: RgbdDataset, size: Size, grid: Size) -> UInt8[Tensor, "n 3 h w"]:
    """Return the colours of all images on the cells of a CAM, computed once."""
    found = []
    for index in tqdm(range(len(dataset)), desc="colours", disable=None):
        image = to_size(Sample(image=dataset.image(index)), size)["image"]
        found.append((colours_at(image[None].float() / 255, grid) * 255).round().to(torch.uint8))
    return torch.cat(found)
