"""Tiny data sets in the layouts of the real ones, so that a grid can be tried without those."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dealseg.config.checks import require
from dealseg.data.miniature.coco import write_coco_miniature
from dealseg.data.miniature.hope import write_hope_miniature
from dealseg.data.miniature.voc import write_voc_miniature
from dealseg.data.synthetic import write_synthetic


def _synthetic(out: Path) -> None:
    write_synthetic(out, images=10, val_images=5, size=64, progress=False)


WRITERS: dict[str, Callable[..., None]] = {
    "coco": write_coco_miniature,
    "hope": partial(write_hope_miniature, frames=15),  # three frames of each sequence are held out
    "synthetic": _synthetic,
    "voc": write_voc_miniature,
}
"""What writes the miniature of each grid."""


def write_miniature(name: str, out: Path) -> Path:
    """Write the miniature of a grid's data set, or keep the one that is there; return its root.

    Raises:
        ConfigError: if there is none for a grid of this name.
    """
    require(name in WRITERS, "miniature", f"a grid of the package: {', '.join(WRITERS)}", name)
    WRITERS[name](out)
    return out
