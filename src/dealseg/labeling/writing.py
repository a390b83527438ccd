"""Masks on disk: indexed PNG files with a palette, and the manifest that says how they came."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from dealseg.cam import threshold_mask
from dealseg.data import RgbdDataset
from dealseg.data.base import class_ids
from dealseg.data.files import read_json
from dealseg.data.mask_set import MANIFEST, STARTED
from dealseg.data.palette import palette
from dealseg.errors import DataError
from dealseg.labeling.scoring import LabelOptions, require_same_classes, score_dataset, tags_of
from dealseg.models import Run
from dealseg.models.runs import replacing, write_text


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
    run: Run,
    dataset: RgbdDataset,
    out: Path,
    options: LabelOptions,
    threshold_origin: str,
    *,
    split: str = "all",
) -> LabelResult:
    """Write a mask for every image, and `labels.json`; an interrupted call goes on where it was.

    Args:
        run: the trained network.
        dataset: its images.
        out: the folder.
        options: how masks are made.
        threshold_origin: who chose the threshold.
        split: name of the part of the data that `dataset` is.

    Raises:
        DataError: if `out` holds something else, or masks made with other settings, if the classes
            are not the run's, or an image without tags is not to be labelled.
    """
    require_same_classes(run, dataset)
    predicted = sum(tags_of(dataset, index, options) is None for index in range(len(dataset)))
    settings = {**_settings(run, dataset, options, threshold_origin), "split": split}
    settings["tags"] = _tag_origin(predicted, len(dataset))
    if ids := class_ids(dataset):
        settings["class_ids"] = ids
    claim(out, settings)
    todo = [i for i, name in enumerate(dataset.names) if not mask_path(out, name).is_file()]
    colours = palette(256)
    for index, scores in tqdm(
        score_dataset(run, dataset, options, todo), total=len(todo), desc="label", disable=None
    ):
        mask = threshold_mask(scores.winner, scores.score, options.threshold)
        write_mask(mask_path(out, dataset.names[index]), mask.numpy(), colours)
    manifest = {**settings, "images": len(dataset), "images_with_predicted_tags": predicted}
    write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (out / STARTED).unlink(missing_ok=True)
    return LabelResult(out, len(todo), len(dataset) - len(todo), predicted)


def _settings(
    run: Run, dataset: RgbdDataset, options: LabelOptions, threshold_origin: str
) -> dict[str, Any]:
    return {
        "classes": list(run.facts.classes),
        "threshold": options.threshold,
        "threshold_origin": threshold_origin,
        "long_side": options.long_side or run.config.data.long_side,
        "scales": list(options.scales),
        "flip": options.flip,
        "probability": options.probability,
        "run": str(run.path.resolve()),
        "weights_sha256": run.weights_sha256,
        "data": str(dataset.root.resolve()),
        "review": getattr(dataset, "edited_tags", None),
        "ignore_index": 255,
    }


def _tag_origin(predicted: int, images: int) -> str:
    if predicted == 0:
        return "data"
    return "predicted" if predicted == images else "data, predicted where an image has none"


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Make a folder of masks ours, or refuse it.

    Args:
        out: new, empty, or begun with the same settings.
        settings: what `labels.json` will say of all masks.

    Raises:
        DataError: if it holds something else, or masks made with other settings.
    """
    for file in (out / MANIFEST, out / STARTED):
        if file.is_file():
            found = _read_settings(file)
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
    write_text(out / STARTED, json.dumps(settings))


def _read_settings(file: Path) -> dict[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise DataError(f"{file}: not written by dealseg; choose another --out")
    return found


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
