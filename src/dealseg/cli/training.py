"""The command that trains."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from dealseg.cli.data import open_images, reviewed
from dealseg.config import (
    AugmentConfig,
    DataConfig,
    DealConfig,
    FslConfig,
    IslConfig,
    LabelConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)

_DATA, _MODEL = DataConfig(split="auto"), ModelConfig()
_DEAL, _ISL, _FSL = DealConfig(), IslConfig(), FslConfig()
_OPTIM, _AUGMENT, _LABEL = OptimConfig(), AugmentConfig(), LabelConfig()


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
    init: str | None = None,
    depth_noise: str | None = None,
    review: str | None = None,
    data: DataConfig = _DATA,
    model: ModelConfig = _MODEL,
    deal: DealConfig = _DEAL,
    isl: IslConfig = _ISL,
    fsl: FslConfig = _FSL,
    optim: OptimConfig = _OPTIM,
    augment: AugmentConfig = _AUGMENT,
    label: LabelConfig = _LABEL,
) -> int:
    """Train a CAM network on image tags; with depth, the Depth Edge Alignment Loss sharpens it.

    Args:
        data_path: data set in folder, BOP, VOC or COCO format.
        out: run folder to write; a new or empty one.
        method: CAM network: cam, weaktr or seam; see `dealseg methods`.
        losses: losses beside the method's own: none, or any of deal, isl and fsl with commas.
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
        init: checkpoint (official or own weights, or a run folder) to start from; see `dealseg
            weights inspect`.
        depth_noise: noise added to depth, such as gaussian:0.02,holes:0.1 or level:2; see
            docs/noise.md.
        review: file that `dealseg review` wrote; tags edited there replace the data's. Images of
            rejected masks are trained on: a bad mask does not make a tag wrong.
        data: which images.
        model: the network.
        deal: the Depth Edge Alignment Loss.
        isl: the importance sampling loss.
        fsl: the feature similarity loss.
        optim: optimiser and schedule.
        augment: joint augmentation of image and depth.
        label: how `label` and `evaluate` make masks of the run.
    """
    from dealseg.data import training_split

    if data.split == "auto":
        data = replace(data, split=training_split(data_path, data.format))
    config = TrainConfig(
        method=method, losses=losses, profile=profile, frozen_stages=frozen_stages,
        freeze_batch_norm=freeze_batch_norm, seed=seed, device=device, precision=precision,
        channels_last=channels_last, workers=workers, init=init, depth_noise=depth_noise,
        data=data, model=model, deal=deal, isl=isl, fsl=fsl, optim=optim, augment=augment,
        label=label,
    )  # fmt: skip
    from dealseg.training import train as run_training

    images = open_images(data_path, data.format, data.split, data.depth_folder, data.tags_from)
    cache = Path(cache_dir) if cache_dir else None
    images = reviewed(images, review)
    run_training(images, Path(out), config, resume=resume, cache_dir=cache)
    print(f"run in {out}; next: dealseg label {out} {data_path} --out MASKS")
    return 0
