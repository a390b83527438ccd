"""Features of the frozen stages, computed once: what makes training on a CPU practical."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dealseg.config import DealConfig, TrainConfig
from dealseg.data import RgbdDataset
from dealseg.data.transforms import to_size
from dealseg.errors import DataError
from dealseg.losses import DepthEdges, depth_edges, grid_size
from dealseg.models import CamModel
from dealseg.training.samples import training_sample


def cache_file(
    folder: Path, dataset: RgbdDataset, config: TrainConfig, stages: int, size: tuple[int, int]
) -> Path:
    """Return where the features belong: the name is a checksum of all that they depend on."""
    stamps = [_stamp(dataset.image_path(index)) for index in range(len(dataset))]
    facts = [vars(config.model), stages, size, config.seed * (not config.model.pretrained), stamps]
    digest = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
    return folder / f"features-{digest[:16]}.npy"


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def build_features(
    path: Path, dataset: RgbdDataset, model: CamModel, size: tuple[int, int]
) -> np.ndarray:
    """Return the (n, 2, ...) float16 features of all images and their mirror images, memory-mapped.

    They are computed if `path` is not there, and moved there whole, never half.

    Raises:
        DataError: if the disk has no room for them.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            _write_features(partial, dataset, model, size)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


@torch.no_grad()
def _write_features(
    partial: Path, dataset: RgbdDataset, model: CamModel, size: tuple[int, int]
) -> None:
    device = next(model.parameters()).device
    store: np.ndarray | None = None
    was = model.training
    model.eval()
    for index in tqdm(range(len(dataset)), desc="features", disable=None):
        image = to_size(training_sample(dataset, index), size)["image"]
        pair = torch.stack([image, image.flip(-1)]).to(device).float() / 255
        features = model.encode(pair.contiguous(memory_format=torch.channels_last))
        if store is None:
            store = _allocate(partial, (len(dataset), *features.shape))
        store[index] = features.half().cpu().numpy()
    model.train(was)
    if store is not None and isinstance(store, np.memmap):
        store.flush()


def _allocate(partial: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reserve the file, so that a full disk is known at once."""
    needed = 2 * int(np.prod(shape))
    store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    try:
        with partial.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, store.offset + needed)
    except OSError as error:
        raise DataError(
            f"{partial.parent}: no room for {needed / 1e6:.0f} MB of cached features "
            f"({error.strerror}); free some, choose another --cache-dir, or --profile full"
        ) from error
    return store


def build_edges(dataset: RgbdDataset, config: DealConfig, size: tuple[int, int]) -> DepthEdges:
    """Return the depth edges of all images on the loss's grid, computed once (float16)."""
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
        for depth, valid in _depths(dataset, size)
    ]
    strength = torch.cat([edges.strength for edges in found]).half()
    return DepthEdges(strength, torch.cat([edges.valid for edges in found]))


def _depths(dataset: RgbdDataset, size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    for index in tqdm(range(len(dataset)), desc="depth edges", disable=None):
        sample = to_size(training_sample(dataset, index), size)
        yield sample["depth"][None], sample["valid"][None]
