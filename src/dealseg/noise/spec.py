"""Depth noise as text: `gaussian:0.02,holes:0.1:4`, models in the order in which they act."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial

import numpy as np
import torch

from dealseg.depth import Kind
from dealseg.errors import ConfigError
from dealseg.noise import models
from dealseg.noise.models import Depth, Valid

LEVEL_SIDE = 640
"""Pixels of a `level` are those of a map with this longer side; other maps' are scaled."""

_STREAM = 0x6E6F697365  # "noise": apart from the other generators of (seed, index)


@dataclass(frozen=True)
class Parameter:
    """One number of a model, as a user gives it.

    Attributes:
        name: with its unit, for messages.
        low: least value.
        high: greatest value.
        default: None where it must be given.
        whole: a whole number.
        pixels: a length in pixels of the depth map.
    """

    name: str
    low: float
    high: float = math.inf
    default: float | None = None
    whole: bool = False
    pixels: bool = False


@dataclass(frozen=True)
class Model:
    """A model of :mod:`dealseg.noise.models` and its numbers.

    Attributes:
        function: takes depth, validity, the numbers, and what `needs` says.
        parameters: the strength first.
        needs: of `kind` and `generator`, those that the function takes.
    """

    function: Callable[..., tuple[Depth, Valid]]
    parameters: tuple[Parameter, ...]
    needs: tuple[str, ...] = ()


_HUGE = 4096.0  # pixels
_SHARE = Parameter("share", 0, 1)
_DRAWN = ("kind", "generator")

MODELS: dict[str, Model] = {
    "gaussian": Model(models.gaussian, (Parameter("deviation (1/m)", 0),), _DRAWN),
    "quantise": Model(models.quantise, (Parameter("step (1/m)", 0),), ("kind",)),
    "holes": Model(
        models.holes,
        (_SHARE, Parameter("patch (pixels)", 1, _HUGE, 4, pixels=True)),
        ("generator",),
    ),
    "edge-holes": Model(
        models.edge_holes,
        (_SHARE, Parameter("radius (pixels)", 0, _HUGE, 2, pixels=True)),
        _DRAWN,
    ),
    "blur": Model(models.blur, (Parameter("deviation (pixels)", 0, 100, pixels=True),)),
    "shift": Model(
        models.shift,
        (
            Parameter("right (whole pixels)", -_HUGE, _HUGE, whole=True, pixels=True),
            Parameter("down (whole pixels)", -_HUGE, _HUGE, 0, whole=True, pixels=True),
        ),
    ),
    "scale": Model(models.scale, (Parameter("error (share)", -0.99, 100),)),
    "offset": Model(models.offset, (Parameter("error (m)", -math.inf),), ("kind",)),
}
"""Every model by its name in a specification."""

LEVELS = (
    "none",
    "edge-holes:0.2:1,holes:0.025:4,blur:0.5,gaussian:0.0014,quantise:0.00285,shift:1",
    "edge-holes:0.4:2,holes:0.05:6,blur:1,gaussian:0.0057,quantise:0.0114,shift:2",
    "edge-holes:0.6:3,holes:0.1:8,blur:2,gaussian:0.023,quantise:0.0456,shift:4",
    "edge-holes:0.8:4,holes:0.2:12,blur:4,gaussian:0.091,quantise:0.182,shift:8",
)
"""What `level:0` to `level:4` stand for; `docs/noise.md` says why."""


@dataclass(frozen=True)
class Noise:
    """Models that act on a map one after the other.

    Attributes:
        steps: name of the model and its numbers.
        side: longer side of the maps whose pixels the numbers count; None counts each map's own.
        text: the specification it was read from.
    """

    steps: tuple[tuple[str, tuple[float, ...]], ...]
    side: int | None = None
    text: str = field(default="", compare=False)

    def __call__(
        self, depth: Depth, valid: Valid, *, kind: Kind, generator: torch.Generator
    ) -> tuple[Depth, Valid]:
        """Return the noisy map and where it is still valid; new tensors, 0 where invalid.

        Args:
            depth: metres if metric, else inverse depth.
            valid: where it was measured.
            kind: what the map holds.
            generator: on the CPU; the only source of chance.
        """
        given = {"kind": kind, "generator": generator}
        pixel = max(depth.shape) / self.side if self.side else 1.0
        depth = torch.where(valid, depth, 0.0)
        for name, values in self.steps:
            model = MODELS[name]
            scaled = (
                value * pixel if parameter.pixels else value
                for parameter, value in zip(model.parameters, values, strict=True)
            )
            act = partial(model.function, **{need: given[need] for need in model.needs})
            depth, valid = act(depth, valid, *scaled)
        return depth, valid


def noise_generator(seed: int, index: int) -> torch.Generator:
    """Return the generator of the noise of image `index`, the same whenever it is asked for."""
    state = np.random.SeedSequence((seed, index, _STREAM)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def parse_noise(text: str) -> Noise:
    """Read a specification: `none`, `level:N`, or models with their numbers.

    A model is `name:strength`, or `name:strength:second`; commas part models, which act in that
    order. `level:N` (0 to 4) stands alone and counts pixels of maps with a side of 640.

    Raises:
        ConfigError: for an unknown model, or a number that is missing, too many or out of range.
    """
    words = text.strip().split(",")
    if words == ["none"]:
        return Noise((), text="none")
    if words[0].strip().startswith("level:"):
        return _level(text.strip())
    return Noise(tuple(_step(word.strip(), text) for word in words), text=text.strip())


def _level(text: str) -> Noise:
    number = text.removeprefix("level:")
    if number not in map(str, range(len(LEVELS))):
        raise ConfigError(f"depth noise {text!r}: expected level:0 to level:{len(LEVELS) - 1}")
    return Noise(parse_noise(LEVELS[int(number)]).steps, LEVEL_SIDE, text)


def _step(word: str, text: str) -> tuple[str, tuple[float, ...]]:
    name, *numbers = word.split(":")
    if name not in MODELS:
        near = get_close_matches(name, MODELS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        known = ", ".join(MODELS)
        raise ConfigError(
            f"depth noise {text!r}: no model {name!r}; {hint}known: {known}, level:0 to "
            f"level:{len(LEVELS) - 1}, none"
        )
    parameters = MODELS[name].parameters
    if len(numbers) > len(parameters):
        most = ":".join([name, *(p.name for p in parameters)])
        raise ConfigError(f"depth noise {word!r}: too many numbers; expected {most}")
    padded = [*numbers, *[None] * (len(parameters) - len(numbers))]
    values = (_value(p, n, word) for p, n in zip(parameters, padded, strict=True))
    return name, tuple(values)


def _value(parameter: Parameter, number: str | None, word: str) -> float:
    if number is None:
        if parameter.default is None:
            name = word.partition(":")[0]
            raise ConfigError(f"depth noise {word!r}: give the {parameter.name}: {name}:NUMBER")
        return parameter.default
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    fits = math.isfinite(value) and parameter.low <= value <= parameter.high
    if not fits or (parameter.whole and value != round(value)):
        limits = f"from {parameter.low:g} to {parameter.high:g}"
        raise ConfigError(
            f"depth noise {word!r}: {parameter.name} must be a number {limits}, got {number!r}"
        )
    return value
