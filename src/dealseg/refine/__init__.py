"""Sharper class probabilities from the colour and depth of the image: pure tensor functions."""

from collections.abc import Callable

from torch import Tensor

from dealseg.refine.affinity import local_affinity
from dealseg.refine.crf import mean_field
from dealseg.refine.probabilities import class_probabilities

METHODS: dict[str, Callable[..., Tensor]] = {"affinity": local_affinity, "crf": mean_field}
"""Refinements by the name that commands give them."""

LONG_SIDES = {"affinity": 320, "crf": 640}
"""Larger images are refined at this longer side, and the result is brought to their size.

Distances in the refinements are pixels, chosen on images of 416x308; see docs/labeling.md."""

__all__ = ["LONG_SIDES", "METHODS", "class_probabilities", "local_affinity", "mean_field"]
