"""The command that trains the second stage."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from dealseg.cli.data import open_images
from dealseg.config import (
    AugmentConfig,
    OptimConfig,
    SegmenterConfig,
    SegmenterDataConfig,
    SegmenterLossConfig,
    SegmenterTrainConfig,
)

_DEFAULTS = SegmenterTrainConfig()
_DATA, _MODEL = SegmenterDataConfig(split="auto"), SegmenterConfig()
_LOSS, _OPTIM, _AUGMENT = SegmenterLossConfig(), _DEFAULTS.optim, AugmentConfig()


def train_segmenter(
    data_path: str,
    labels: str,
    out: str,
    review: str | None = None,
    profile: Literal["auto", "cached", "full"] = "auto",
    frozen_stages: int | None = None,
    freeze_batch_norm: bool = True,
    average: float = _DEFAULTS.average,
    seed: int = 0,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    channels_last: bool = True,
    workers: int = 0,
    resume: bool = False,
    cache_dir: str | None = None,
    data: SegmenterDataConfig = _DATA,
    model: SegmenterConfig = _MODEL,
    loss: SegmenterLossConfig = _LOSS,
    optim: OptimConfig = _OPTIM,
    augment: AugmentConfig = _AUGMENT,
) -> int:
    """Train a segmentation network on masks; it then needs neither tags nor depth.

    Args:
        data_path: data set in folder, BOP, VOC or COCO format; of it, only images are used.
        labels: folder of masks as `dealseg label` writes it.
        out: run folder to write; a new or empty one. It is the segmenter, too.
        review: file of a review whose rejected masks are left out; by default `review.json` in
            LABELS where there is one. none takes all masks.
        profile: `cached` computes features of frozen levels once (CPU), `full` trains through the
            network with augmentation; auto is full on a GPU.
        frozen_stages: leading levels of the encoder (1/2 to 1/32 of the image's size) that are not
            trained; by default all but the last if cached, none if full.
        freeze_batch_norm: keep the batch-norm statistics of the pretrained weights.
        average: decay of the moving average of the weights that the run ends with; 0 is off.
        seed: of every random choice.
        device: where to train.
        precision: number format of the network's arithmetic.
        channels_last: memory layout that suits CNNs.
        workers: processes that read images in the full profile.
        resume: go on with an interrupted run.
        cache_dir: folder for cached features; by default `.features` beside OUT.
        data: which images.
        model: the network.
        loss: what is minimised.
        optim: optimiser and schedule.
        augment: joint augmentation of image and mask in the full profile.
    """
    from dealseg.data.labelled import Labelled
    from dealseg.data.mask_set import open_masks
    from dealseg.data.review import REVIEW_FILE, read_review
    from dealseg.training import train_segmenter as run_training

    data = _as_labelled(data_path, labels, data)
    images = open_images(data_path, data.format, data.split)
    masks = open_masks(labels, classes=tuple(images.classes) or None)
    config = SegmenterTrainConfig(
        profile=profile, frozen_stages=frozen_stages, freeze_batch_norm=freeze_batch_norm,
        average=average, seed=seed, device=device, precision=precision,
        channels_last=channels_last, workers=workers, data=data, model=model, loss=loss,
        optim=optim, augment=augment,
    )  # fmt: skip
    file = Path(review) if review else Path(labels) / REVIEW_FILE
    read = review != "none" and (review is not None or file.is_file())
    labelled = Labelled(images, masks, read_review(file) if read else None)
    if read:
        print(f"{labelled.rejected} images left out: {file} rejects their masks")
    run_training(
        labelled, Path(out), config, resume=resume, cache_dir=Path(cache_dir) if cache_dir else None
    )
    print(f"segmenter in {out}; next: dealseg evaluate {out} {data_path} --split val")
    return 0


def _as_labelled(data_path: str, labels: str, data: SegmenterDataConfig) -> SegmenterDataConfig:
    """Return which images to open, `auto` being those that the masks were made for."""
    from dealseg.data import training_split
    from dealseg.data.mask_set import open_masks, recorded_format

    masks = open_masks(labels)
    if data.format == "auto":
        data = replace(data, format=recorded_format(masks.facts, Path(data_path)))
    if data.split == "auto":
        data = replace(data, split=masks.split or training_split(data_path, data.format))
    return data
