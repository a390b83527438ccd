"""Data sets in the layouts people have on disk, read lazily, depth always with its validity."""

from dealseg.data.base import IGNORE, DepthInfo, DepthKind, RgbdDataset
from dealseg.data.check import check_dataset
from dealseg.data.check_report import CheckReport, Problem
from dealseg.data.opening import open_dataset, training_split

__all__ = [
    "IGNORE",
    "CheckReport",
    "DepthInfo",
    "DepthKind",
    "Problem",
    "RgbdDataset",
    "check_dataset",
    "open_dataset",
    "training_split",
]
