"""A mask for every image of a data set, and the manifest that says how they came."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor
from tqdm import tqdm

from dealseg.cam import threshold_mask
from dealseg.data import RgbdDataset
from dealseg.data.base import IGNORE, class_ids
from dealseg.data.mask_set import MANIFEST, STARTED
from dealseg.data.palette import palette
from dealseg.errors import DataError
from dealseg.labeling.automatic import with_threshold
from dealseg.labeling.claiming import begun, claim, require_ours
from dealseg.labeling.mask_files import MaskFacts, mask_path, read_facts, write_mask
from dealseg.labeling.options import AUTO_FAILED, AUTO_ORIGIN, AUTO_REFINED, LabelOptions
from dealseg.labeling.scoring import ImageScores, require_same_classes, score_dataset, tags_of
from dealseg.models import Run
from dealseg.models.runs import write_text


@dataclass(frozen=True)
class LabelResult:
    """What labelling did.

    Attributes:
        out: the folder with `masks/` and `labels.json`.
        kept: masks found from an interrupted call.
        predicted: images whose tags came from the network.
        options: how masks were made, with the threshold that was found if it was to be.
        threshold_origin: who chose it.
        facts: of all masks.
    """

    out: Path
    kept: int
    predicted: int
    options: LabelOptions
    threshold_origin: str
    facts: tuple[MaskFacts, ...]

    @property
    def written(self) -> int:
        """Return how many masks were written now."""
        return len(self.facts) - self.kept

    @property
    def ignored(self) -> float:
        """Return the mean share of a mask's pixels that are 255."""
        return sum(each.ignored for each in self.facts) / max(1, len(self.facts))

    @property
    def without_depth(self) -> int | None:
        """Return how many images were refined by colour alone; None without refinement."""
        if self.options.refine == "none":
            return None
        return sum(not each.with_depth for each in self.facts)


def label_dataset(
    run: Run,
    dataset: RgbdDataset,
    out: Path,
    options: LabelOptions,
    threshold_origin: str,
    *,
    split: str = "all",
    depth_folder: str | None = None,
    data_format: str | None = None,
) -> LabelResult:
    """Write a mask for every image, and `labels.json`; an interrupted call goes on where it was.

    Args:
        run: the trained network.
        dataset: its images.
        out: the folder.
        options: how masks are made.
        threshold_origin: who chose the threshold.
        split: name of the part of the data that `dataset` is.
        depth_folder: where its depth is from, if refinement may go along it.
        data_format: layout of the data set, recorded for those that open it again for the masks.

    Raises:
        DataError: if `out` holds something else, or masks made with other settings, if the classes
            are not the run's, or an image without tags is not to be labelled.
    """
    require_same_classes(run, dataset)
    predicted = sum(tags_of(dataset, index, options) is None for index in range(len(dataset)))
    settings = {**_settings(run, dataset, options, threshold_origin), "split": split}
    if options.refine != "none" and options.refine_depth is not False:
        settings["depth_folder"] = depth_folder
    settings["tags"] = _tag_origin(predicted, len(dataset))
    if ids := class_ids(dataset):
        settings["class_ids"] = ids
    options, origin = _with_threshold(run, dataset, out, options, settings)
    settings |= {"threshold": options.threshold, "threshold_origin": origin}
    claim(out, settings)
    facts = _facts_there(out, dataset)
    kept = len(facts)
    _write_missing(run, dataset, out, options, facts)
    told: dict[str, Any] = {"images": len(dataset), "images_with_predicted_tags": predicted}
    if data_format is not None:
        told["data_format"] = data_format
    done = LabelResult(out, kept, predicted, options, origin, tuple(facts.values()))
    if done.without_depth is not None:
        told["images_refined_without_depth"] = done.without_depth
    masks = {name: facts[name].as_entry() for name in dataset.names}
    write_text(out / MANIFEST, json.dumps({**settings, **told, "masks": masks}, indent=1) + "\n")
    (out / STARTED).unlink(missing_ok=True)
    return done


def _facts_there(out: Path, dataset: RgbdDataset) -> dict[str, MaskFacts]:
    """Return the facts of the masks that an earlier call wrote."""
    found = ((name, read_facts(mask_path(out, name))) for name in dataset.names)
    return {name: facts for name, facts in found if facts is not None}


def _write_missing(
    run: Run,
    dataset: RgbdDataset,
    out: Path,
    options: LabelOptions,
    facts: dict[str, MaskFacts],
) -> None:
    """Write the masks of the images that have no facts yet, and add theirs."""
    todo = [index for index, name in enumerate(dataset.names) if name not in facts]
    scored = score_dataset(run, dataset, options, todo)
    colours = palette(256)
    for index, scores in tqdm(scored, total=len(todo), desc="label", disable=None):
        name = dataset.names[index]
        mask, facts[name] = mask_of(scores, options)
        write_mask(mask_path(out, name), mask.numpy(), colours, facts[name].as_text())


def mask_of(scores: ImageScores, options: LabelOptions) -> tuple[UInt8[Tensor, "h w"], MaskFacts]:
    """Return the mask of a scored image, 255 where no class leads by enough, and its facts."""
    mask = threshold_mask(scores.winner, scores.score, options.threshold)
    unsure = scores.lead < options.ignore
    facts = MaskFacts(scores.confidence, float(unsure.float().mean()), scores.with_depth)
    return mask.masked_fill(unsure, IGNORE), facts


def _with_threshold(
    run: Run,
    dataset: RgbdDataset,
    out: Path,
    options: LabelOptions,
    settings: dict[str, Any],
) -> tuple[LabelOptions, str]:
    """Return the options with a threshold, that of an interrupted call if it found one.

    Raises:
        DataError: if `out` is not ours; that is not said only after the threshold was looked for.
    """
    origin = settings["threshold_origin"]
    if not options.auto_threshold:
        return options, origin
    require_ours(out, {key: settings[key] for key in settings if "threshold" not in key})
    found = begun(out)
    if found is None:
        return with_threshold(run, dataset, options, origin)
    said = found.get("threshold_origin")
    value = found.get("threshold")
    if said not in (AUTO_ORIGIN, AUTO_REFINED, AUTO_FAILED) or not isinstance(value, float):
        raise DataError(
            f"{out}: holds masks made with another threshold ({value!r}, {said}; now auto); "
            "choose another --out"
        )
    return replace(options, threshold=value, auto_threshold=False), said


def _settings(
    run: Run, dataset: RgbdDataset, options: LabelOptions, threshold_origin: str
) -> dict[str, Any]:
    return {
        "classes": list(run.facts.classes),
        "threshold": options.threshold,
        "threshold_origin": threshold_origin,
        "refine": options.refine,
        "refine_depth": None if options.refine == "none" else options.refine_depth,
        "ignore": options.ignore,
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
