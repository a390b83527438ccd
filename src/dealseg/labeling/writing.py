"""Masks on disk: indexed PNG files with a palette, and the manifest that says how they came."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from dealseg.cam import threshold_mask
from dealseg.data import RgbdDataset
from dealseg.errors import DataError
from dealseg.labeling.palette import palette
from dealseg.labeling.scoring import LabelOptions, score_dataset, tags_of
from dealseg.models import Run
from dealseg.models.runs import write_text

MANIFEST = "labels.json"
_STARTED = ".labels.part.json"


@dataclass(frozen=True)
class LabelResult:
    """What labelling did.

    Attributes:
        out: the folder with `masks/` and `labels.json`.
        written: masks written now.
        kept: masks found from an interrupted call.
        predicted: images whose tags came from the network.
    """

    out: Path
    written: int
    kept: int
    predicted: int


def label_dataset(
    run: Run, dataset: RgbdDataset, out: Path, options: LabelOptions, threshold_origin: str
) -> LabelResult:
    """Write a mask for every image, and `labels.json`; an interrupted call goes on where it was.

    Raises:
        DataError: if `out` holds something else, or masks made with other settings.
    """
    settings = _settings(run, dataset, options, threshold_origin)
    _claim(out, settings)
    todo = [i for i, name in enumerate(dataset.names) if not mask_path(out, name).is_file()]
    colours = palette(256)
    for index, scores in tqdm(
        score_dataset(run, dataset, options, todo), total=len(todo), desc="label", disable=None
    ):
        mask = threshold_mask(scores.winner, scores.score, options.threshold)
        write_mask(mask_path(out, dataset.names[index]), mask.numpy(), colours)
    predicted = sum(tags_of(dataset, i, options) is None for i in range(len(dataset)))
    manifest = {**settings, "images": len(dataset), "images_with_predicted_tags": predicted}
    write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (out / _STARTED).unlink(missing_ok=True)
    return LabelResult(out, len(todo), len(dataset) - len(todo), predicted)


def _settings(
    run: Run, dataset: RgbdDataset, options: LabelOptions, threshold_origin: str
) -> dict[str, Any]:
    return {
        "classes": list(run.facts.classes),
        "threshold": options.threshold,
        "threshold_origin": threshold_origin,
        "tags": options.tags if options.tags != "auto" else _tag_origin(dataset),
        "scales": list(options.scales),
        "flip": options.flip,
        "probability": options.probability,
        "run": str(run.path),
        "weights_sha256": run.weights_sha256,
        "data": str(dataset.root),
        "ignore_index": 255,
    }


def _tag_origin(dataset: RgbdDataset) -> str:
    given = any(dataset.tags(index) is not None for index in range(len(dataset)))
    return "data" if given else "predicted"


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make the output folder ours, or refuse it."""
    for file in (out / MANIFEST, out / _STARTED):
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            changed = [key for key, value in settings.items() if found.get(key) != value]
            if changed:
                raise DataError(
                    f"{out}: holds masks made with another {changed[0]} "
                    f"({found.get(changed[0])!r}, now {settings[changed[0]]!r}); "
                    "choose another --out"
                )
            return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is not an empty folder; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / _STARTED, json.dumps(settings))


def mask_path(out: Path, name: str) -> Path:
    """Return where the mask of an image stands; names may have folders in them."""
    return out / "masks" / f"{name}.png"


def write_mask(path: Path, mask: np.ndarray, colours: Sequence[int]) -> None:
    """Write class indices as an 8-bit palette PNG, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask)
    picture.putpalette(colours)  # turns the grey picture into an indexed one, values unchanged
    partial = path.with_name(f".{path.name}.part")
    picture.save(partial, format="PNG", optimize=False)
    partial.replace(path)
