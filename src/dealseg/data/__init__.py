"""Data sets in the layouts people have on disk, read lazily, depth always with its validity."""

from dealseg.data.base import IGNORE, DepthInfo, DepthKind, RgbdDataset
from dealseg.data.opening import open_dataset

__all__ = ["IGNORE", "DepthInfo", "DepthKind", "RgbdDataset", "open_dataset"]
