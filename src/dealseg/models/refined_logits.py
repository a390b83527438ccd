"""What a segmenter says of a pixel, brought onto the edges of the image: pure tensors."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dealseg.models.sizing import at_long_side
from dealseg.refine import LONG_SIDES, METHODS

SOFTENING = 3.0
"""Logits are divided by this: a network is surer of its blurred outlines than it should be."""

_LEAST = 0.05
"""Classes that are less probable than this at every pixel are not refined, which takes time."""


def refined_logits(
    logits: Float[Tensor, "c h w"], image: Float[Tensor, "3 h2 w2"], method: str
) -> Float[Tensor, "c h3 w3"]:
    """Return class probabilities, background first, refined along the colours of an image.

    They have the image's size, or for larger images the one at which `method` refines, 640 pixels
    on the longer side for `crf` and 320 for `affinity`. What was improbable everywhere is 0.

    Args:
        logits: of the background and each class.
        image: RGB in [0, 1].
        method: `crf` or `affinity`; see docs/refine.md.
    """
    picture = at_long_side(image[None], min(max(image.shape[-2:]), LONG_SIDES[method]))
    enlarged = F.interpolate(logits[None], picture.shape[-2:], mode="bilinear", antialias=True)
    probabilities = (enlarged / SOFTENING).softmax(1)
    kept = probabilities[0].amax((-2, -1)) >= _LEAST
    kept[0] = True
    found = torch.zeros_like(probabilities)
    found[:, kept] = METHODS[method](probabilities[:, kept], picture)
    return found[0]
