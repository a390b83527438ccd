"""Features of the frozen stages, computed once: what makes training on a CPU practical."""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dealseg.config import DealConfig, TrainConfig
from dealseg.data import RgbdDataset
from dealseg.data.sample import Sample
from dealseg.data.transforms import to_size
from dealseg.errors import DataError
from dealseg.losses import DepthEdges, depth_edges, grid_size
from dealseg.models import CamModel
from dealseg.training.samples import training_sample

VERSION = 2
"""Grows whenever the same key would stand for other features."""

STALE = 3600.0
"""Seconds after which an unfinished file that nobody writes to was left by a killed process."""

log = logging.getLogger("dealseg")


def cache_file(
    folder: Path, dataset: RgbdDataset, config: TrainConfig, stages: int, size: tuple[int, int]
) -> Path:
    """Return where the features belong: the name is a checksum of all that they depend on.

    That is: the image files (path, size, time of change), the network with its weights, its frozen
    stages, and the image size; not depth, tags or masks.
    """
    model = config.model
    weights = Path(model.weights) if model.weights and model.pretrained else None
    facts = [
        VERSION,
        config.method,
        model.backbone,
        model.output_stride,
        hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None,
        None if model.pretrained else config.seed,
        stages,
        size,
        [_stamp(dataset.image_path(index)) for index in range(len(dataset))],
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return folder / f"features-{digest[:16]}.npy"


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def build_features(
    path: Path, dataset: RgbdDataset, model: CamModel, size: tuple[int, int]
) -> np.ndarray:
    """Return the (n, 2, ...) float16 features of all images and their mirror images, memory-mapped.

    They are computed if `path` is not there or is damaged, and moved there whole, never half.

    Raises:
        DataError: if the disk has no room for them.
    """
    found = _read_features(path, len(dataset))
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    was = model.training
    try:
        _write_features(partial, dataset, model, size)
        partial.replace(path)
    finally:
        model.train(was)
        partial.unlink(missing_ok=True)
    written: np.ndarray = np.load(path, mmap_mode="r")
    return written


def _read_features(path: Path, count: int) -> np.ndarray | None:
    """Return what is there, or None if nothing is, or not what was written."""
    if not path.is_file():
        return None
    try:
        found: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        found = np.empty(0)
    if found.dtype == np.float16 and found.shape[:2] == (count, 2):
        return found
    log.warning(f"{path}: damaged, its features are computed anew")
    return None


def _remove_stale(path: Path) -> None:
    for partial in path.parent.glob(f".{path.name}.*.part"):
        if time.time() - partial.stat().st_mtime > STALE:
            partial.unlink(missing_ok=True)


@torch.no_grad()
def _write_features(
    partial: Path, dataset: RgbdDataset, model: CamModel, size: tuple[int, int]
) -> None:
    device = next(model.parameters()).device
    store: np.memmap | None = None
    model.eval()
    for index in tqdm(range(len(dataset)), desc="features", disable=None):
        image = to_size(Sample(image=dataset.image(index)), size)["image"]
        pair = torch.stack([image, image.flip(-1)]).to(device).float() / 255
        features = model.encode(pair.contiguous(memory_format=torch.channels_last))
        if store is None:
            store = _allocate(partial, (len(dataset), *features.shape))
        store[index] = features.half().cpu().numpy()
    if store is not None:
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
    dataset: RgbdDataset, config: DealConfig, size: tuple[int, int], order: Sequence[int]
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
    dataset: RgbdDataset, size: tuple[int, int], order: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    for index in tqdm(order, desc="depth edges", disable=None):
        sample = to_size(training_sample(dataset, index), size)
        yield sample["depth"][None], sample["valid"][None]
