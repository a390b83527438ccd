"""What a training of either stage decides and does around its steps."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, Dataset

from dealseg.errors import ConfigError
from dealseg.models.runs import WEIGHTS_FILE, AnyConfig, AnyFacts
from dealseg.training.claim import RunState, run_state
from dealseg.training.environment import write_environment
from dealseg.training.running import CHECKPOINT_FILE, World, fit
from dealseg.training.samples import Batch, EpochSampler


def chosen_device(config: AnyConfig) -> str:
    """Return `gpu` or `cpu`.

    Raises:
        ConfigError: if there is no GPU but one is asked for, or its number format is.
    """
    if config.device == "gpu" and not torch.cuda.is_available():
        raise ConfigError("device is 'gpu' but there is none; take --device cpu")
    device = "gpu" if config.device != "cpu" and torch.cuda.is_available() else "cpu"
    if config.precision == "16-mixed" and device == "cpu":
        raise ConfigError("precision 16-mixed needs a GPU; take bf16-mixed or 32-true")
    return device


def chosen_profile(config: AnyConfig, device: str, world: World, stages: int) -> str:
    """Return `full` or `cached`; of a network of one stage nothing can be cached.

    Raises:
        ConfigError: if features are to be cached for several processes.
    """
    profile: str = config.profile
    if profile == "auto":
        whole = device == "gpu" or world.size > 1 or stages == 1
        profile = "full" if whole else "cached"
    if profile == "cached" and world.size > 1:
        raise ConfigError(
            "the cached profile is for one process; take --profile full with torchrun"
        )
    return profile


def state_of(
    out: Path,
    config: AnyConfig,
    facts: AnyFacts,
    resume: bool,
    world: World,
    weights: str = WEIGHTS_FILE,
) -> RunState:
    """Let the first process judge the folder; it may have claimed it before the others look."""
    if world.rank == 0:
        return run_state(out, config, facts, resume, weights)
    return "finished" if (out / weights).is_file() else "unfinished"


def batches(samples: Dataset[Batch], config: AnyConfig, world: World) -> DataLoader[Batch]:
    """Return the batches; processes are worth it for images only, not for cached features."""
    count = len(samples)  # type: ignore[arg-type]
    sampler = EpochSampler(count, config.seed, world.rank, world.size)
    workers = config.workers if config.profile == "full" else 0
    return DataLoader(
        samples,
        batch_size=config.optim.batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=len(sampler) > config.optim.batch_size,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(config.seed),
    )


def step_count(loader: DataLoader[Batch], config: AnyConfig) -> int:
    """Return the optimiser's steps of a whole training."""
    return config.optim.epochs * -(-len(loader) // config.optim.accumulate)


def carry_out(
    task: LightningModule,
    loader: DataLoader[Batch],
    out: Path,
    config: AnyConfig,
    world: World,
    *,
    begin: Callable[[], None],
    save: Callable[[], None],
    images: int,
) -> None:
    """Let `begin` claim the run folder, train, and let `save` write the weights, which ends it."""
    start = time.monotonic()
    if world.rank == 0:
        begin()
    fit(task, loader, out, config, world)
    if world.rank == 0:
        write_environment(out, seconds=round(time.monotonic() - start, 1), images=images)
        save()
        (out / CHECKPOINT_FILE).unlink(missing_ok=True)
