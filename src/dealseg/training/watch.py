"""Callbacks: the metrics file, the progress bar, and the warnings that name a remedy."""

import csv
import io
import logging
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from dealseg.errors import ConfigError
from dealseg.losses import EDGE_SHARE
from dealseg.models.runs import write_text

METRICS_FILE = "metrics.csv"

FLAT_SHARE = 0.6

log = logging.getLogger("dealseg")


class MetricsFile(Callback):
    """Writes one row an epoch to `metrics.csv`; a resumed run goes on below its own rows.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS_FILE
        self.rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows of the epochs that are already done."""
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self.rows = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row and write the file anew, atomically, from one process."""
        values = {name: f"{float(v):.6g}" for name, v in sorted(trainer.callback_metrics.items())}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        facts = {"epoch": str(trainer.current_epoch), "step": str(trainer.global_step)}
        self.rows.append({**facts, **values, "lr": f"{rate:.6g}"})
        if trainer.is_global_zero:
            write_text(self.path, _as_csv(self.rows))


def _as_csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Progress(Callback):
    """One bar over all steps, silent off a terminal."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar where the training stands."""
        total = int(trainer.estimated_stepping_batches)
        hidden = None if trainer.is_global_zero else True
        self.bar = tqdm(total=total, initial=trainer.global_step, desc="train", disable=hidden)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move to the step that is done."""
        self.bar.update(trainer.global_step - self.bar.n)
        if isinstance(outputs, dict) and "loss" in outputs and not self.bar.disable:
            self.bar.set_postfix(loss=f"{float(outputs['loss'].detach()):.3f}", refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that a message begins on a line of its own."""
        if hasattr(self, "bar"):
            self.bar.close()


class FiniteWatch(Callback):
    """Stops a training whose loss is no number any more, before that becomes a checkpoint."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the epoch's mean.

        Raises:
            ConfigError: if it is infinite or NaN.
        """
        loss = float(trainer.callback_metrics["loss/total"])
        if not math.isfinite(loss):
            raise ConfigError(
                f"the loss is {loss} in epoch {trainer.current_epoch}: lower --optim.lr, limit the "
                "gradient with --optim.clip 1, or take --precision 32-true"
            )


class AlignmentWatch(Callback):
    """Warns, once each, when the alignment loss cannot help or flattens the CAMs."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the epoch's means."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name, message in alignment_warnings(metrics).items():
            if name not in self.said and trainer.is_global_zero:
                log.warning(message)
                self.said.add(name)


def alignment_warnings(metrics: dict[str, float]) -> dict[str, str]:
    """Return a warning, with its remedy, for each thing that is wrong with the alignment.

    Args:
        metrics: an epoch's means under the names of `metrics.csv`.
    """
    found = {}
    depth, flat = metrics.get("deal/depth_share"), metrics.get("deal/flat_share", 0.0)
    cam, active = metrics.get("deal/cam_share", 1.0), metrics.get("deal/lambda", 0.0) > 0
    if depth is not None and depth < EDGE_SHARE[0]:
        found["few edges"] = (
            f"only {depth:.1%} of the cells have a depth edge: the loss asks for flat CAMs. Raise "
            "--deal.gain, or check the depth (dealseg check)"
        )
    if depth is not None and depth > EDGE_SHARE[1]:
        found["many edges"] = (
            f"{depth:.0%} of the cells have a depth edge, slopes count as edges. Use --deal.space "
            "inverse, more --deal.cells, less --deal.gain, and --deal.divide false"
        )
    if active and (flat > FLAT_SHARE or cam < 0.01):
        found["collapse"] = (
            f"{flat:.0%} of the CAMs are flat and {cam:.1%} of their cells are edges: the loss "
            "outweighs the class loss. Lower --deal.weight, or start it later with --deal.start "
            "and --deal.warmup"
        )
    return found
