"""What runs stand for in a comparison, and what the report calls them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dealseg.config import TrainConfig
from dealseg.errors import ConfigError

BASELINE = "baseline"
DEAL = "DEAL"
CONTROL = "DEAL with shuffled depth"


class Family(NamedTuple):
    """What two runs must share for their difference to be DEAL's.

    Attributes:
        method: the CAM network.
        backbone: the network inside.
        losses: those beside the method's own and DEAL.
    """

    method: str
    backbone: str | None
    losses: tuple[str, ...]


def role_of(config: TrainConfig) -> str:
    """Tell what a run stands for in a comparison."""
    if "deal" not in config.loss_names or config.deal.weight == 0:
        return BASELINE
    return CONTROL if config.deal.shuffle else DEAL


def family_of(config: TrainConfig) -> Family:
    """Return a run's family."""
    return Family(config.method, config.model.backbone, _other_losses(config))


def roles_and_losses(configs: Sequence[TrainConfig]) -> list[str]:
    """Name runs by their roles, the other losses they have, and their methods if those differ."""
    several = len({config.method for config in configs}) > 1
    return [
        (f"{config.method} " if several else "") + with_losses(role_of(config), losses)
        for config in configs
        for losses in (_other_losses(config),)
    ]


def with_losses(name: str, losses: Sequence[str]) -> str:
    """Return a name, and the losses that are not DEAL."""
    return f"{name} with {', '.join(losses)}" if losses else name


def _other_losses(config: TrainConfig) -> tuple[str, ...]:
    """Return the losses beside DEAL that act, always in the same order."""
    named = {"isl": config.isl.weight, "fsl": config.fsl.weight}
    return tuple(name for name, weight in named.items() if weight and name in config.loss_names)


def unique_labels(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Name runs by these names if they tell them apart, else by as little path as does."""
    if len(set(names)) == len(names):
        return list(names)
    whole = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, whole)) + 1):
        labels = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(labels)) == len(labels):
            return labels
    raise ConfigError("a run is given twice")
