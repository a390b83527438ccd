"""Sharper class probabilities from the colour and depth of the image: pure tensor functions."""

from collections.abc import Callable

from torch import Tensor

from dealseg.refine.affinity import local_affinity
from dealseg.refine.crf import mean_field
from dealseg.refine.probabilities import class_probabilities

METHODS: dict[str, Callable[..., Tensor]] = {"affinity": local_affinity, "crf": mean_field}
"""Refinements by the name that commands give them."""

__all__ = ["METHODS", "class_probabilities", "local_affinity", "mean_field"]
