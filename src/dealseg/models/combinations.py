"""Which options go together, as far as it can be said without building a network."""

from dealseg.config import TrainConfig
from dealseg.errors import ConfigError
from dealseg.models.base import CamModel
from dealseg.models.registry import method

NEEDS_SIGNED = frozenset({"isl"})
"""Losses that read class logits at each cell."""


def check_combination(config: TrainConfig) -> None:
    """Refuse options that do not go together, with the reason and the way out.

    Raises:
        ConfigError: if the method is unknown, a loss does not attach to the CAM that is asked for,
            stages are to be frozen where the method has none, or two options fill one network.
    """
    kind = method(config.method)
    for loss in config.loss_names:
        _check_cam(config, kind, loss)
    _check_stages(config, kind)
    if config.init and config.model.weights:
        raise ConfigError(
            f"init ({config.init}) fills the whole network and model.weights "
            f"({config.model.weights}) its backbone; give one of them"
        )


def _check_cam(config: TrainConfig, kind: type[CamModel], loss: str) -> None:
    """Refuse a CAM that the method does not make, or that the loss cannot act on."""
    if loss not in kind.attach:
        known = ", ".join(kind.attach) or "none"
        raise ConfigError(
            f"losses: {loss} does not attach to method {config.method}; those that do: {known}"
        )
    cam = getattr(config, loss).cam or kind.attach[loss]
    fit = [name for name, facts in kind.cams.items() if facts.signed or loss not in NEEDS_SIGNED]
    if cam not in kind.cams:
        raise ConfigError(
            f"{loss}.cam: method {config.method} makes no CAM {cam!r}; "
            f"{loss} can act on {', '.join(fit)}"
        )
    if cam not in fit:
        raise ConfigError(
            f"{loss}.cam: {cam!r} of method {config.method} is not signed, and {loss} reads class "
            f"logits at each cell; choose {' or '.join(fit)}"
        )


def _check_stages(config: TrainConfig, kind: type[CamModel]) -> None:
    """Refuse to freeze stages of a method that has a single one whatever its backbone."""
    if kind.stage_count is not CamModel.stage_count:
        return
    if config.profile == "cached":
        raise ConfigError(
            f"profile cached keeps the features of frozen stages, and method {config.method} has "
            "none that could be frozen; take --profile full"
        )
    if config.frozen_stages:
        raise ConfigError(
            f"frozen_stages must be 0 for method {config.method}, which has no stages that could "
            f"be frozen, got {config.frozen_stages}"
        )
