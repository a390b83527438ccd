"""An exported model against the segmenter it comes from."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from dealseg.errors import CheckpointError
from dealseg.models.segmenter import Segmenter

Exported = Callable[[Tensor], Tensor]
"""From images (b, 3, h, w) in [0, 1] to logits (b, c, h, w) or classes (b, h, w), on the CPU."""

TOLERANCE = 1e-3
"""Largest deviation of a logit that is rounding, as a share of the largest logit (at least 1)."""
EQUAL = 0.999
"""Share of pixels that must get the same class: rounding decides between equal logits."""


@dataclass(frozen=True)
class Parity:
    """How an exported model agrees with its segmenter.

    Attributes:
        batches: batches of different shapes that were compared.
        deviation: largest difference of a logit, None for a model that gives classes.
        scale: largest logit of the segmenter, at least 1.
        equal: share of the pixels with the same class.
    """

    batches: int
    deviation: float | None
    scale: float
    equal: float

    @property
    def holds(self) -> bool:
        """Whether the differences are rounding."""
        close = self.deviation is None or self.deviation <= TOLERANCE * self.scale
        return close and self.equal >= EQUAL


def trial_images(long_side: int) -> Iterator[Float[Tensor, "b 3 h w"]]:
    """Yield noise in several sizes: even and odd, high and wide, small and as trained."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 64, 64), (2, 96, 128), (1, 97, 131), (3, 33, 45), (1, 150, 40)]
    for batch, height, width in [*shapes, (1, max(1, long_side * 3 // 4), long_side)]:
        yield torch.rand(batch, 3, height, width, generator=generator)


@torch.no_grad()
def compare(model: Segmenter, exported: Exported, images: Iterable[Tensor]) -> Parity:
    """Compare classes, and logits if the exported model gives them, over batches of images.

    Raises:
        CheckpointError: if a result has another shape, or numbers that are not finite.
    """
    batches, equal, pixels, scale = 0, 0, 0, 1.0
    deviation: float | None = None
    for batch in images:
        expected = model(batch.to(model.mean.device)).float().cpu()
        found = _computed(exported, batch)
        _require_like(found, expected)
        classes = found if found.ndim == 3 else found.argmax(1)
        if found.ndim == 4:
            deviation = max(deviation or 0.0, float((found - expected).abs().max()))
        scale = max(scale, float(expected.abs().max()))
        equal += int((classes == expected.argmax(1)).sum())
        pixels += classes.numel()
        batches += 1
    return Parity(batches, deviation, scale, equal / max(1, pixels))


def require_parity(file: Path, parity: Parity) -> None:
    """Raise CheckpointError if an export is not what it was made from."""
    if not parity.holds:
        raise CheckpointError(
            f"{file}: not written: the exported model deviates from PyTorch by "
            f"{parity.deviation} where logits reach {parity.scale:.3g}, and "
            f"{100 * parity.equal:.3f} % of the pixels agree; please report this network"
        )


def _computed(exported: Exported, batch: Tensor) -> Tensor:
    try:
        return exported(batch)
    except Exception as error:  # both runtimes raise kinds of their own
        height, width = batch.shape[-2:]
        raise CheckpointError(
            f"the exported model fails on {len(batch)} images of {width}x{height} "
            f"({str(error).strip().splitlines()[-1][:200]}); please report this network"
        ) from error


def _require_like(found: Tensor, expected: Tensor) -> None:
    shape = expected.shape if found.ndim == 4 else expected[:, 0].shape
    if found.shape != shape:
        raise CheckpointError(
            f"the exported model gives {tuple(found.shape)} where PyTorch gives {tuple(shape)}; "
            "please report this network"
        )
    if not torch.isfinite(found.float()).all():
        raise CheckpointError("the exported model gives numbers that are not finite")
