"""Optimiser and schedule."""

from dataclasses import dataclass
from typing import Literal

from dealseg.config.checks import require


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule; `docs/recipes.md` says which the original trainings took.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step on each device.
        optimiser: adamw, or sgd with momentum.
        lr: peak learning rate of the backbone.
        head_lr_factor: the learning rate of what starts from scratch is this many times higher.
        momentum: of sgd; adamw has moments of its own.
        weight_decay: of either optimiser.
        decay_all: decay every parameter; false spares biases, norms, tokens and positions.
        schedule: one-cycle; cosine decay from the peak; poly, the share of steps to come to the
            power; or cosine-epochs, timm's cosine, constant within an epoch, after a warm-up.
        power: of the schedule poly.
        warmup_epochs: epochs of rising rate, for cosine-epochs.
        warmup_lr: rate of the backbone at the start, for cosine-epochs.
        min_lr: rate of the backbone towards which cosine-epochs falls.
        late: for cosine-epochs, change the rate an epoch too late, as WeakTr does.
        accumulate: batches summed before a step of the optimiser.
        clip: largest norm of the gradient; 0 is off.
    """

    epochs: int = 8
    batch_size: int = 16
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = 5e-4
    head_lr_factor: float = 5.0
    momentum: float = 0.9
    weight_decay: float = 0.01
    decay_all: bool = True
    schedule: Literal["one-cycle", "cosine", "poly", "cosine-epochs"] = "one-cycle"
    power: float = 0.9
    warmup_epochs: int = 5
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    late: bool = False
    accumulate: int = 1
    clip: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("epochs", "batch_size", "accumulate"):
            require(getattr(self, name) >= 1, f"optim.{name}", ">= 1", getattr(self, name))
        for name in ("lr", "head_lr_factor", "power"):
            require(getattr(self, name) > 0, f"optim.{name}", "> 0", getattr(self, name))
        for name in ("weight_decay", "clip", "warmup_epochs"):
            require(getattr(self, name) >= 0, f"optim.{name}", ">= 0", getattr(self, name))
        require(0 <= self.momentum < 1, "optim.momentum", "in [0, 1)", self.momentum)
        if self.schedule == "cosine-epochs":
            self._require_rise_and_fall()

    def _require_rise_and_fall(self) -> None:
        """A warm-up as long as the training would never leave the lowest rates."""
        for name in ("warmup_lr", "min_lr"):
            value, most = getattr(self, name), f"in [0, optim.lr = {self.lr:g}]"
            require(0 <= value <= self.lr, f"optim.{name}", most, value)
        shorter = f"less than the {self.epochs} optim.epochs"
        fits = self.warmup_epochs < self.epochs
        require(fits, "optim.warmup_epochs", shorter, self.warmup_epochs)
