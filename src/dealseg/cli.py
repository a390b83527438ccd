"""The command: a plain function for each sub-command; heavy imports inside; one-line errors."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dealseg.arguments import parse
from dealseg.config import (
    AugmentConfig,
    DataConfig,
    DealConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from dealseg.errors import DealsegError, one_line
from dealseg.process import keep_freed_memory

Format = Literal["auto", "folder", "bop"]

_DATA, _MODEL, _DEAL = DataConfig(split="auto"), ModelConfig(), DealConfig()
_OPTIM, _AUGMENT = OptimConfig(), AugmentConfig()


def synth(
    out: str, images: int = 320, val_images: int = 100, size: int = 192, seed: int = 0
) -> int:
    """Render a synthetic RGB-D tabletop data set with tags, depth and masks (BOP layout).

    Args:
        out: folder to write; a new or empty one, or the same again after an interruption.
        images: training images.
        val_images: images of the `val` split.
        size: height and width in pixels.
        seed: the same seed gives the same bytes.
    """
    from dealseg.data.synthetic import write_synthetic

    write_synthetic(Path(out), images=images, val_images=val_images, size=size, seed=seed)
    print(f"{images} + {val_images} images in {out}; look at them with: dealseg check {out}")
    return 0


def check(
    data: str,
    format: Format = "auto",
    split: str | None = None,
    depth_folder: str = "depth",
    sample: int | None = None,
    json: bool = False,
) -> int:
    """Say what is in a data set, and everything that would make training wrong (exit code 1).

    Args:
        data: data set in folder or BOP format.
        format: layout; auto looks.
        split: named part of the data set.
        depth_folder: folder of the depth maps.
        sample: open only this many images, evenly spaced.
        json: print JSON instead of a table.
    """
    from dealseg.data import check_dataset

    report = check_dataset(
        data, format=format, split=split, depth_folder=depth_folder, sample=sample
    )
    print(report.to_json() if json else report.table())
    return 0 if report.ok else 1


def train(
    data_path: str,
    out: str,
    method: str = "cam",
    losses: str = "deal",
    profile: Literal["auto", "cached", "full"] = "auto",
    frozen_stages: int | None = None,
    freeze_batch_norm: bool = True,
    seed: int = 0,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    channels_last: bool = True,
    workers: int = 0,
    resume: bool = False,
    cache_dir: str | None = None,
    data: DataConfig = _DATA,
    model: ModelConfig = _MODEL,
    deal: DealConfig = _DEAL,
    optim: OptimConfig = _OPTIM,
    augment: AugmentConfig = _AUGMENT,
) -> int:
    """Train a CAM network on image tags; with depth, the Depth Edge Alignment Loss sharpens it.

    Args:
        data_path: data set in folder or BOP format.
        out: run folder to write; a new or empty one.
        method: CAM network: cam.
        losses: losses beside the class loss: deal or none.
        profile: `cached` computes features of frozen stages once (CPU), `full` trains through the
            network with augmentation; auto is full on a GPU.
        frozen_stages: leading backbone stages that are not trained; by default all but the last if
            cached, none if full.
        freeze_batch_norm: keep the batch-norm statistics of the pretrained weights.
        seed: of every random choice.
        device: where to train.
        precision: number format of the network's arithmetic.
        channels_last: memory layout that suits CNNs.
        workers: processes that read images in the full profile.
        resume: go on with an interrupted run.
        cache_dir: folder for cached features; by default `.features` beside OUT.
        data: which images.
        model: the network.
        deal: the Depth Edge Alignment Loss.
        optim: optimiser and schedule.
        augment: joint augmentation of image and depth.
    """
    from dealseg.data import training_split

    if data.split == "auto":
        data = replace(data, split=training_split(data_path, data.format))
    config = TrainConfig(
        method, losses, profile, frozen_stages, freeze_batch_norm, seed, device, precision,
        channels_last, workers, data, model, deal, optim, augment,
    )  # fmt: skip
    from dealseg.training import train as run_training

    images = _open(data_path, data.format, data.split, data.depth_folder)
    cache = Path(cache_dir) if cache_dir else None
    run_training(images, Path(out), config, resume=resume, cache_dir=cache)
    print(f"run in {out}; next: dealseg label {out} {data_path} --out MASKS")
    return 0


def label(
    run: str,
    data: str,
    out: str,
    threshold: float | None = None,
    scales: tuple[float, ...] = (1.0, 1.5),
    flip: bool = True,
    tags: Literal["auto", "data", "predicted"] = "auto",
    format: Format = "auto",
    split: str | None = None,
) -> int:
    """Write a mask for every image, from a trained run and the images' tags.

    Args:
        run: run folder of a training.
        data: data set in folder or BOP format; tags are used where it has them, else predicted.
        out: folder for `masks/` and `labels.json`; a new one, or the same to go on.
        threshold: background score; 0.4 by default, chosen without your ground truth.
        scales: image sizes whose CAMs are summed, relative to the training's.
        flip: add the CAMs of mirrored images.
        tags: `data` and `predicted` insist on where tags come from.
        format: layout; auto looks.
        split: named part of the data set.
    """
    from dealseg.labeling import DEFAULT_THRESHOLD, LabelOptions, label_dataset
    from dealseg.models import load_run

    origin = "default" if threshold is None else "user"
    value = DEFAULT_THRESHOLD if threshold is None else threshold
    options = LabelOptions(threshold=value, scales=scales, flip=flip, tags=tags)
    images = _open(data, format, split)
    done = label_dataset(load_run(Path(run)), images, Path(out), options, origin)
    kept = f", {done.kept} kept from before" if done.kept else ""
    print(f"{done.written} masks written{kept} in {out}/masks, threshold {value:g} ({origin})")
    if done.predicted:
        print(f"{done.predicted} images had no tags: the network predicted them")
    return 0


def evaluate(
    source: str,
    data: str,
    threshold: float | None = None,
    scales: tuple[float, ...] = (1.0, 1.5),
    flip: bool = True,
    tags: Literal["auto", "data", "predicted"] = "auto",
    format: Format = "auto",
    split: str | None = None,
    out: str | None = None,
    boundaries: bool = True,
    allow_subset: bool = False,
) -> int:
    """Judge a run, a folder of masks or of CAM arrays by a data set's ground-truth masks.

    Args:
        source: run folder, folder of masks, or folder of CAM arrays (npz).
        data: data set with masks.
        threshold: background score for a run or CAMs; by default the one `label` uses.
        scales: as in `label`, for a run.
        flip: as in `label`, for a run.
        tags: as in `label`, for a run.
        format: layout; auto looks.
        split: named part of the data set.
        out: JSON file; by default `evaluation.json` in SOURCE.
        boundaries: compute boundary IoU and contour F too.
        allow_subset: accept that predictions are missing for some images.
    """
    from dealseg.labeling import DEFAULT_THRESHOLD, LabelOptions

    value = DEFAULT_THRESHOLD if threshold is None else threshold
    options = LabelOptions(threshold=value, scales=scales, flip=flip, tags=tags)
    origin = "default" if threshold is None else "user"
    from dealseg.judging import judge

    result = judge(
        Path(source), _open(data, format, split), options, origin,
        split=split or "all", boundaries=boundaries, allow_subset=allow_subset,
    )  # fmt: skip
    path = Path(out) if out else Path(source) / "evaluation.json"
    print(result.table())
    result.write_result(path)
    print(f"written to {path}")
    return 0


def report(
    runs: list[str],
    data: str | None = None,
    split: str | None = None,
    out: str = "report.html",
    examples: int = 6,
) -> int:
    """Write one self-contained HTML page that compares runs, with pictures.

    Args:
        runs: run folders, e.g. of a baseline and of DEAL.
        data: data set for the pictures; by default the one the first run was trained on.
        split: named part of it.
        out: HTML file; figures go to a folder beside it.
        examples: images shown.
    """
    from dealseg.models.runs import read_config
    from dealseg.report import write_report

    source = data or read_config(Path(runs[0]))[1].data_root
    images = _open(source, "auto", split)
    page = write_report([Path(run) for run in runs], Path(out), data=images, examples=examples)
    print(f"report in {page}")
    return 0


def demo(out: str = "runs/demo", seed: int = 0, images: int = 240, epochs: int = 6) -> int:
    """Do the main job on embedded data: train with and without DEAL, label, evaluate, report.

    Args:
        out: folder to write; call again to go on after an interruption.
        seed: of data and training.
        images: training images to render.
        epochs: passes over them, for each of the two trainings.
    """
    from dealseg.demo import run_demo

    result = run_demo(
        Path(out), seed=seed, images=images, epochs=epochs, say=partial(print, flush=True)
    )
    print(result)
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "synth": synth,
    "check": check,
    "train": train,
    "label": label,
    "evaluate": evaluate,
    "report": report,
    "demo": demo,
}


def _open(path: str, format: Format, split: str | None, depth_folder: str = "depth") -> Any:
    from dealseg.data import open_dataset

    return open_dataset(path, format=format, split=split, depth_folder=depth_folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return 0, 1 (problems found), 2 (an error) or 130 (interrupted)."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        keep_freed_memory()
        name, values = parse(COMMANDS, sys.argv[1:] if argv is None else argv)
        return COMMANDS[name](**values)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on (train: with --resume)", file=sys.stderr)
        return 130
    except (DealsegError, OSError, ValueError) as error:
        if os.environ.get("DEALSEG_DEBUG"):  # for tracebacks
            raise
        print(f"dealseg: error: {one_line(error)}", file=sys.stderr)
        return 2
