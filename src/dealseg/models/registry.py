"""Methods by name."""

import torch

from dealseg.config import ModelConfig
from dealseg.config.model import METHOD_OPTIONS
from dealseg.errors import ConfigError
from dealseg.models.base import CamModel
from dealseg.models.seam import Seam
from dealseg.models.timm_cam import TimmCam
from dealseg.models.weaktr import WeakTr

METHODS: dict[str, type[CamModel]] = {
    "cam": TimmCam,
    "weaktr": WeakTr,
    "seam": Seam,
}


def method(name: str) -> type[CamModel]:
    """Return a method's class.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in METHODS:
        raise ConfigError(f"method must be one of {sorted(METHODS)}, got {name!r}")
    return METHODS[name]


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
        ConfigError: for an unknown method or backbone, or an option that the method does not know.
        CheckpointError: if pretrained weights cannot be had.
    """
    kind = method(name)
    try:
        config = ModelConfig(**options)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(f"model: {error}") from error
    for option in sorted(METHOD_OPTIONS - kind.options):
        if getattr(config, option) is not None:
            raise ConfigError(f"model.{option}: method {name!r} has no such option; leave it out")
    return kind(classes, config, frozen_stages, generator)
