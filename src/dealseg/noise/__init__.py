"""Errors of depth maps, drawn from a seed: for studies of how much depth noise a loss bears."""

from dealseg.noise.models import (
    blur,
    edge_holes,
    gaussian,
    holes,
    near_edges,
    offset,
    quantise,
    scale,
    shift,
    unit_of,
)
from dealseg.noise.spec import LEVELS, MODELS, Noise, noise_generator, parse_noise

__all__ = [
    "LEVELS",
    "MODELS",
    "Noise",
    "blur",
    "edge_holes",
    "gaussian",
    "holes",
    "near_edges",
    "noise_generator",
    "offset",
    "parse_noise",
    "quantise",
    "scale",
    "shift",
    "unit_of",
]
