"""Methods by name."""

import torch

from dealseg.config import ModelConfig
from dealseg.errors import ConfigError
from dealseg.models.base import CamModel
from dealseg.models.timm_cam import TimmCam

METHODS: dict[str, type[TimmCam]] = {"cam": TimmCam}


def create(
    name: str,
    *,
    classes: int,
    frozen_stages: int = 0,
    generator: torch.Generator | None = None,
    **options: object,
) -> CamModel:
    """Build a CAM network.

    Args:
        name: method, a key of `METHODS`.
        classes: number of foreground classes.
        frozen_stages: leading stages of the backbone that are not trained.
        generator: draws what starts at random.
        options: fields of :class:`dealseg.config.ModelConfig`, e.g. `backbone="resnet50"`.

    Raises:
        ConfigError: for an unknown method, option or backbone.
        CheckpointError: if pretrained weights cannot be had.
    """
    if name not in METHODS:
        raise ConfigError(f"method must be one of {sorted(METHODS)}, got {name!r}")
    try:
        config = ModelConfig(**options)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(f"model: {error}") from error
    return METHODS[name](classes, config, frozen_stages, generator)
