"""A training from data set to run folder, resumable after any interruption."""

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from dealseg.config import TrainConfig
from dealseg.data import RgbdDataset
from dealseg.errors import CheckpointError, ConfigError, DataError
from dealseg.models import CamModel, create
from dealseg.models.backbones import stages
from dealseg.models.runs import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    RunFacts,
    read_config,
    save_weights,
    write_config,
)
from dealseg.training.cache import build_edges, build_features, cache_file
from dealseg.training.environment import write_environment
from dealseg.training.samples import (
    Batch,
    CachedSamples,
    EpochSampler,
    ImageSamples,
    common_size,
    shuffled,
)
from dealseg.training.task import CamTask
from dealseg.training.watch import AlignmentWatch, MetricsFile, Progress

CHECKPOINT_FILE = "last.ckpt"


@dataclass(frozen=True)
class _World:
    """The processes of a training; `torchrun` says it in the environment."""

    rank: int
    size: int
    local_size: int

    @classmethod
    def of_environment(cls) -> "_World":
        names = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1))
        return cls(*(int(os.environ.get(name, default)) for name, default in names))


def train(
    dataset: RgbdDataset,
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    cache_dir: Path | None = None,
) -> Path:
    """Train a CAM network on a data set's tags and write the run folder.

    Checkpoints are written after every epoch. Interrupted, the same call with `resume` goes on
    there and, on a CPU, ends with the weights of an undisturbed training.

    Args:
        dataset: images with tags; depth where the alignment loss is to act. Masks are not read.
        out: the run folder.
        config: everything else.
        resume: go on with an unfinished run; a finished one is left as it is.
        cache_dir: folder for the cached profile's features; by default `.features` beside `out`.

    Raises:
        DataError: if the data cannot be trained on, or `out` is taken.
        ConfigError: if options do not go together.
    """
    world = _World.of_environment()
    config = _decided(config, world)
    _require_trainable(dataset, config)
    facts = RunFacts(dataset.classes, str(dataset.root), dataset.depth_info.kind)
    if _claim(out, config, facts, resume) == "finished":
        return out
    size = common_size(dataset, config.data.long_side)
    model = _build_model(config, facts)
    samples = _samples(dataset, model, config, size, cache_dir or out.parent / ".features")
    loader = _loader(samples, config, world)
    steps = config.optim.epochs * -(-len(loader) // config.optim.accumulate)
    task = CamTask(model, config, dataset.depth_info.kind, steps)
    start = time.monotonic()
    _fit(task, loader, out, config, world)
    if world.rank == 0:
        write_environment(out, seconds=round(time.monotonic() - start, 1), images=len(dataset))
        save_weights(out, model)
        (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return out


def _decided(config: TrainConfig, world: _World) -> TrainConfig:
    """Fill in what `auto` and None stand for, so that the run folder says what was done."""
    gpu = config.device == "gpu" or (config.device == "auto" and torch.cuda.is_available())
    if gpu and not torch.cuda.is_available():
        raise ConfigError("device is 'gpu' but there is none; take --device cpu")
    profile = config.profile
    if profile == "auto":
        profile = "full" if gpu or world.size > 1 else "cached"
    if profile == "cached" and world.size > 1:
        raise ConfigError(
            "the cached profile is for one process; take --profile full with torchrun"
        )
    return replace(
        config,
        device="gpu" if gpu else "cpu",
        profile=profile,
        frozen_stages=_frozen_stages(config, profile),
    )


def _frozen_stages(config: TrainConfig, profile: str) -> int:
    """All but the last stage if features are cached, else none, unless the user says."""
    if config.frozen_stages is None and profile == "full":
        return 0
    total = len(stages(_untrained(config).backbone))
    if config.frozen_stages is None:
        if total == 1:
            raise ConfigError(
                f"model.backbone {config.model.backbone} is one stage to us, nothing of it can be "
                "cached; take --profile full, or an EfficientNet, ResNet, ConvNeXt or plain ViT"
            )
        return total - 1
    return config.frozen_stages


def _untrained(config: TrainConfig) -> CamModel:
    return create(
        config.method, classes=1, **{**vars(config.model), "pretrained": False, "weights": None}
    )


def _require_trainable(dataset: RgbdDataset, config: TrainConfig) -> None:
    if len(dataset) == 0:
        raise DataError(f"{dataset.root}: no images to train on")
    if not dataset.classes:
        raise DataError(f"{dataset.root}: no classes; give tags (see docs/data.md)")
    if "deal" not in config.loss_names:
        return
    looked_at = range(0, len(dataset), max(1, len(dataset) // 20))
    if all(dataset.depth(index) is None for index in looked_at):
        raise DataError(
            f"{dataset.root}: no depth found in {config.data.depth_folder!r}, which the depth edge "
            "alignment needs; give --data.depth_folder, or train with --losses none"
        )


def _claim(out: Path, config: TrainConfig, facts: RunFacts, resume: bool) -> str:
    """Make the run folder ours, or refuse; return `new`, `unfinished` or `finished`."""
    if (out / CONFIG_FILE).is_file():
        if not resume:
            raise DataError(
                f"{out}: is a run already; go on with --resume, or choose another --out"
            )
        _require_same(out, config, facts)
        return "finished" if (out / WEIGHTS_FILE).is_file() else "unfinished"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is not an empty folder; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_config(out, config, facts)
    return "new"


def _require_same(out: Path, config: TrainConfig, facts: RunFacts) -> None:
    found, found_facts = read_config(out)
    for name, now, before in (
        *((key, value, vars(found)[key]) for key, value in vars(config).items()),
        *((key, value, vars(found_facts)[key]) for key, value in vars(facts).items()),
    ):
        if now != before:
            raise CheckpointError(
                f"{out}: was started with {name} {before}, now {now}; resume with the same options"
            )


def _build_model(config: TrainConfig, facts: RunFacts) -> CamModel:
    generator = torch.Generator().manual_seed(config.seed)
    return create(
        config.method,
        classes=len(facts.classes),
        frozen_stages=config.frozen_stages or 0,
        generator=generator,
        **vars(config.model),
    )


def _samples(
    dataset: RgbdDataset,
    model: CamModel,
    config: TrainConfig,
    size: tuple[int, int],
    cache_dir: Path,
) -> Dataset[Batch]:
    count = len(dataset)
    depth_of = shuffled(count, config.seed) if config.deal.shuffle else tuple(range(count))
    if config.profile == "full":
        return ImageSamples(dataset, size, config.augment, config.seed, depth_of)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    model.set_image_size(*size)
    path = cache_file(cache_dir, dataset, config, config.frozen_stages or 0, size)
    features = build_features(path, dataset, model, size)
    tags = torch.stack([_tags(dataset, index) for index in range(count)])
    edges = build_edges(dataset, config.deal, size)
    order = torch.tensor(depth_of)
    chosen = type(edges)(edges.strength[order], edges.valid[order])
    return CachedSamples(features, tags, chosen, config.augment.flip, config.seed)


def _tags(dataset: RgbdDataset, index: int) -> torch.Tensor:
    tags = dataset.tags(index)
    if tags is None:
        raise DataError(f"{dataset.image_path(index)}: has no tags, so it cannot be trained on")
    return tags


def _loader(samples: Dataset[Batch], config: TrainConfig, world: _World) -> DataLoader[Batch]:
    count = len(samples)  # type: ignore[arg-type]
    sampler = EpochSampler(count, config.seed, world.rank, world.size)
    return DataLoader(
        samples,
        batch_size=config.optim.batch_size,
        sampler=sampler,
        num_workers=config.workers,
        drop_last=len(sampler) > config.optim.batch_size,
        persistent_workers=config.workers > 0,
    )


def _fit(
    task: CamTask, loader: DataLoader[Batch], out: Path, config: TrainConfig, world: _World
) -> None:
    checkpoint = out / CHECKPOINT_FILE
    with _quiet():
        trainer = Trainer(
            accelerator=config.device,
            devices=world.local_size if world.size > 1 else 1,
            num_nodes=max(1, world.size // world.local_size),
            precision=config.precision,
            max_epochs=config.optim.epochs,
            accumulate_grad_batches=config.optim.accumulate,
            gradient_clip_val=config.optim.clip or None,
            use_distributed_sampler=False,
            callbacks=_callbacks(out),
            logger=TensorBoardLogger(out, name="tensorboard", version=""),
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        resumed = str(checkpoint) if checkpoint.is_file() else None
        trainer.fit(task, loader, ckpt_path=resumed, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt


def _callbacks(out: Path) -> list[Callback]:
    keeper = ModelCheckpoint(
        out,
        filename=CHECKPOINT_FILE.removesuffix(".ckpt"),
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    return [MetricsFile(out), Progress(), AlignmentWatch(), keeper]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's banners and its advice for its own users from ours."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
