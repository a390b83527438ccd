"""Weights and inputs of golden values, from names and shapes alone: anybody can make them again.

Every tensor comes from numpy's frozen `RandomState`, seeded by the CRC-32 of its name.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def det_state(
    shapes: Mapping[str, Sequence[int]], seed: int, gain: float = 1.0
) -> dict[str, np.ndarray]:
    """Return arrays for a state dict; `gain` scales what has more than one axis and no token."""
    return {name: _tensor(name, tuple(shape), seed, gain) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...], seed: int, gain: float) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    own_seed = (zlib.crc32(name.encode()) ^ seed) & 0x7FFFFFFF
    normal = np.asarray(np.random.RandomState(own_seed).standard_normal(shape), np.float32)
    return np.asarray(_scaled(name, shape, normal, gain), np.float32)


def _scaled(name: str, shape: tuple[int, ...], normal: np.ndarray, gain: float) -> np.ndarray:
    """Keep variances positive, norms near the identity and activations of all layers alike."""
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(normal)
    if name.endswith("running_mean"):
        return 0.05 * normal
    if len(shape) <= 1:
        is_scale = len(shape) == 1 and name.endswith("weight")
        return 1 + 0.05 * normal if is_scale else 0.02 * normal
    if "token" in name or "pos_embed" in name:
        return 0.2 * normal
    return gain * normal / np.sqrt(math.prod(shape[1:]))


def det_image(shape: Sequence[int], seed: int) -> np.ndarray:
    """Return a normalised image of white noise."""
    return np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)
