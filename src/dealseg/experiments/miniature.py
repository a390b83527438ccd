"""Tiny data sets in the layouts of the real ones, so that a grid can be tried without those."""

from collections.abc import Callable
from pathlib import Path

from dealseg.config.checks import require
from dealseg.data.miniature.coco import write_coco_miniature
from dealseg.data.miniature.hope import write_hope_miniature
from dealseg.data.miniature.voc import write_voc_miniature
from dealseg.data.synthetic import write_synthetic


def _synthetic(out: Path) -> None:
    write_synthetic(out, images=10, val_images=5, size=64, progress=False)


def _hope(out: Path) -> None:
    """Write sequences so long that three consecutive frames of each are held out."""
    write_hope_miniature(out, frames=15)


WRITERS: dict[str, Callable[[Path], None]] = {
    "coco": write_coco_miniature,
    "hope": _hope,
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
