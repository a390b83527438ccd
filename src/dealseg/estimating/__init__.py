"""Depth where there was no sensor: a pretrained network looks at each image."""

from dealseg.estimating.estimate import DepthResult, estimate_depth, require_room
from dealseg.estimating.estimator import Estimator
from dealseg.estimating.kinds import Output, output_of
from dealseg.estimating.loading import DEFAULT_MODEL, load_estimator
from dealseg.estimating.storing import StoredDepth, restore, store, write_depth

__all__ = [
    "DEFAULT_MODEL",
    "DepthResult",
    "Estimator",
    "Output",
    "StoredDepth",
    "estimate_depth",
    "load_estimator",
    "output_of",
    "require_room",
    "restore",
    "store",
    "write_depth",
]
