"""The folder that predictions go to: it is one that `dealseg label` could have written."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dealseg import __version__
from dealseg.data.base import IGNORE
from dealseg.data.files import reading
from dealseg.data.mask_set import MANIFEST, STARTED
from dealseg.data.palette import palette
from dealseg.draw import overlay
from dealseg.labeling import claim, mask_path, write_mask
from dealseg.models.runs import replacing, write_text
from dealseg.predicting.predictors import Prediction

_CONFIDENCE = "confidence"


@dataclass(frozen=True)
class Store:
    """Masks with their confidence in `masks/`, `labels.json`, and pictures in `overlays/`.

    Attributes:
        root: the folder.
        settings: what `labels.json` says of all masks.
        overlays: whether masks are also laid over their images.
    """

    root: Path
    settings: Mapping[str, Any]
    overlays: bool = False
    _sure: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Make the folder ours.

        Raises:
            DataError: if it holds something else, or masks made with other settings.
        """
        claim(self.root, self._said)

    def has(self, name: str) -> bool:
        """Return whether all of an image is there, and remember its confidence."""
        if self.overlays and not self._overlay_path(name).is_file():
            return False
        try:
            with Image.open(mask_path(self.root, name), formats=["PNG"]) as picture:
                self._sure[name] = float(picture.info[_CONFIDENCE])
        except (OSError, LookupError, ValueError):
            return False
        return True

    def mask(self, name: str) -> UInt8[np.ndarray, "h w"]:
        """Return a mask that is there.

        Raises:
            DataError: if it is damaged.
        """
        path = mask_path(self.root, name)
        with reading(path, "mask"), Image.open(path, formats=["PNG"]) as picture:
            return np.asarray(picture)

    def put(
        self, name: str, image: UInt8[np.ndarray, "h w 3"], found: Prediction
    ) -> UInt8[np.ndarray, "h w"]:
        """Write all of an image, the mask last, and return the mask."""
        mask = found.mask.numpy()
        if self.overlays:
            path = self._overlay_path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                Image.fromarray(overlay(image, mask)).save(partial, format="JPEG", quality=90)
        sure = float(f"{found.confidence:.4g}")
        write_mask(mask_path(self.root, name), mask, self._colours, {_CONFIDENCE: str(sure)})
        self._sure[name] = sure
        return mask

    def finish(self, names: Iterable[str], **facts: object) -> None:
        """Write `labels.json` about the masks of these images."""
        masks = {name: {"confidence": self._sure[name], "ignored": 0.0} for name in names}
        manifest = {**self._said, "images": len(masks), **facts, "masks": masks}
        write_text(self.root / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        (self.root / STARTED).unlink(missing_ok=True)

    @property
    def _said(self) -> dict[str, Any]:
        made_by = f"dealseg predict {__version__}"
        return {**self.settings, "made_by": made_by, "ignore_index": IGNORE}

    @cached_property
    def _colours(self) -> list[int]:
        return palette()

    def _overlay_path(self, name: str) -> Path:
        return self.root / "overlays" / f"{name}.jpg"
