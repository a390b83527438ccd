"""Masks as indexed PNG files that carry what is to be known of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dealseg.models.runs import replacing


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What `labels.json` says of a mask; it is kept in the mask's file until all are there.

    Attributes:
        confidence: how sure the mask is, in [0, 1]; see :class:`dealseg.labeling.ImageScores`.
        ignored: share of its pixels that are 255.
        with_depth: whether refinement had depth to go along.
    """

    confidence: float
    ignored: float
    with_depth: bool = False

    def as_text(self) -> dict[str, str]:
        """Return the facts for :func:`write_mask`."""
        return {
            "confidence": f"{self.confidence:.4g}",
            "ignored": f"{self.ignored:.4g}",
            "with_depth": str(int(self.with_depth)),
        }

    def as_entry(self) -> dict[str, float]:
        """Return what `labels.json` says."""
        said = self.as_text()
        return {key: float(said[key]) for key in ("confidence", "ignored")}


def read_facts(path: Path) -> MaskFacts | None:
    """Return what is kept in the file of a mask; None if it is missing, damaged or says nothing."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            said = picture.info
            return MaskFacts(
                float(said["confidence"]), float(said["ignored"]), said["with_depth"] == "1"
            )
    except (OSError, LookupError, ValueError):
        return None


def mask_path(out: Path, name: str) -> Path:
    """Return where the mask of an image stands; names may have folders in them."""
    return out / "masks" / f"{name}.png"


def write_mask(
    path: Path, mask: np.ndarray, colours: Sequence[int], facts: Mapping[str, str] | None = None
) -> None:
    """Write class indices as an 8-bit palette PNG, atomically.

    Args:
        path: the file; its folder is made.
        mask: class of each pixel.
        colours: red, green and blue of each class.
        facts: kept in the file as text, so that an interrupted call finds them again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask)
    said = PngInfo()
    for key, value in (facts or {}).items():
        said.add_text(key, value)
    picture.putpalette(colours)  # turns the grey picture into an indexed one, values unchanged
    with replacing(path) as partial:
        picture.save(partial, format="PNG", optimize=False, pnginfo=said)
