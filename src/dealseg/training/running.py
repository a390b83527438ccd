"""How Lightning is run: quietly, with checkpoints that are whole, and leaving nothing behind."""

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from dealseg.errors import CheckpointError
from dealseg.models.runs import AnyConfig
from dealseg.training.samples import Batch
from dealseg.training.watch import AlignmentWatch, FiniteWatch, MetricsFile, Progress

CHECKPOINT_FILE = "last.ckpt"


@dataclass(frozen=True)
class World:
    """The processes of a training; `torchrun` says it in the environment."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    @classmethod
    def of_environment(cls) -> "World":
        """Return what `torchrun` says, or the one process that there is."""
        names = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
        return cls(*(int(os.environ.get(name, default)) for name, default in names))


def fit(
    task: LightningModule, loader: DataLoader[Batch], out: Path, config: AnyConfig, world: World
) -> None:
    """Train to the last epoch, from the checkpoint in `out` if there is one.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        CheckpointError: if the checkpoint cannot be read or written.
    """
    checkpoint = out / CHECKPOINT_FILE
    ctrl_c = CtrlC()
    with _quiet(), ctrl_c.listening():
        trainer = Trainer(
            accelerator=config.device,
            devices=world.local_size if world.size > 1 else 1,
            num_nodes=max(1, world.size // world.local_size),
            precision=config.precision,
            max_epochs=config.optim.epochs,
            accumulate_grad_batches=config.optim.accumulate,
            gradient_clip_val=config.optim.clip or None,
            use_distributed_sampler=False,
            callbacks=[ctrl_c, *_callbacks(out)],
            plugins=[WholeCheckpoints()],
            logger=TensorBoardLogger(out, name="tensorboard", version=""),
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        trainer.fit(task, loader, ckpt_path=str(checkpoint) if checkpoint.is_file() else None)


def _callbacks(out: Path) -> list[Callback]:
    keeper = ModelCheckpoint(
        out,
        filename=CHECKPOINT_FILE.removesuffix(".ckpt"),
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    return [FiniteWatch(), MetricsFile(out), Progress(), AlignmentWatch(), keeper]


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, and of which nothing is ever run.

    Lightning's own pass through the system's temporary folder: that may be small, and from another
    disk they are copied into place, not moved.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside `path`, then rename."""
        partial = Path(path).with_name(f".{Path(path).name}.part")
        try:
            torch.save(checkpoint, partial)
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path}: cannot be written ({_first_line(error)}); make room, then go on with "
                "--resume"
            ) from error

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read tensors and plain values, whatever Lightning of this version asks for."""
        try:
            found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{path}: not readable ({_first_line(error)}); delete it to begin anew with "
                "--resume"
            ) from error
        return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


@contextlib.contextmanager
def own_randomness(seed: int, device: str, world: World) -> Iterator[None]:
    """Let what knows torch's global generator only (dropout) draw from `seed`; put it back after.

    Python's and numpy's global generators are not used in training.
    """
    with torch.random.fork_rng([world.local_rank] if device == "gpu" else []):
        torch.manual_seed(seed)
        yield


class CtrlC(Callback):
    """Lets Ctrl-C take effect before the next step; pressed again, at once.

    An interrupt amid the event writer's queue would make its closing wait for two minutes, and
    Lightning turns KeyboardInterrupt into exit code 1 and stops listening to Ctrl-C.
    """

    def __init__(self) -> None:
        self.pressed = False

    def _press(self, *_: object) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop if asked to.

        Raises:
            KeyboardInterrupt: if asked to.
        """
        if self.pressed:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to Ctrl-C in the block, raise KeyboardInterrupt after it, then listen as before.

        Raises:
            KeyboardInterrupt: if Ctrl-C was pressed, whatever else came of it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may listen, and only it is interrupted
            return
        before = signal.signal(signal.SIGINT, self._press)
        try:
            yield
        except BaseException as error:
            if self.pressed:
                raise KeyboardInterrupt from error
            raise
        finally:
            signal.signal(signal.SIGINT, before)
        if self.pressed:
            raise KeyboardInterrupt


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
