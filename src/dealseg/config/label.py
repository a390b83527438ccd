"""From CAMs to masks."""

from dataclasses import dataclass
from typing import Literal

from dealseg.config.checks import require

Threshold = float | Literal["auto"]
Refinement = Literal["none", "affinity", "crf"]
RefineDepth = bool | Literal["auto"]

REFINEMENTS: tuple[Refinement, ...] = ("none", "affinity", "crf")
AUTO: Literal["auto"] = "auto"

LARGEST_SCALE = 16
"""Who asks for more means pixels, and would get an image that no memory holds."""


@dataclass(frozen=True)
class LabelConfig:
    """How `label` and `evaluate` make masks of a run, where they are not told otherwise.

    Attributes:
        threshold: background score; by default the method's own, see `dealseg methods`; `auto`
            finds it from the images, without ground truth, see docs/labeling.md.
        long_side: longer side of an image at scale 1, pixels; by default that of the training.
        scales: image sizes whose CAMs are summed, relative to long_side.
        flip: add the CAMs of mirrored images.
        refine: sharpen masks along the image's edges by `affinity` or `crf`.
        refine_depth: whether refinement uses depth; `auto` uses it where the data has it.
        ignore: pixels whose class leads by less than this become 255; 0 decides all.
    """

    threshold: Threshold | None = None
    long_side: int | None = None
    scales: tuple[float, ...] = (1.0, 1.5)
    flip: bool = True
    refine: Refinement = "none"
    refine_depth: RefineDepth = AUTO
    ignore: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.threshold is not None:
            require_threshold("label.threshold", self.threshold)
        side = self.long_side
        require(side is None or side >= 32, "label.long_side", ">= 32 pixels", side)
        require_scales("label.", self.scales)
        require_mask_options("label.", self.refine, self.refine_depth, self.ignore)


def require_threshold(name: str, value: object) -> None:
    """Refuse a threshold that is neither a share nor `auto`."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    require(value == AUTO or fits, name, "in [0, 1] or auto", value)


def require_scales(within: str, scales: tuple[float, ...]) -> None:
    """Refuse image sizes that cannot be, or that are meant in pixels."""
    fit = bool(scales) and all(0 < scale <= LARGEST_SCALE for scale in scales)
    expected = f"positive, at most {LARGEST_SCALE} (times the long side, not pixels)"
    require(fit, f"{within}scales", expected, scales)


def require_mask_options(within: str, refine: object, depth: object, ignore: object) -> None:
    """Refuse options of refinement and of the band of ignored pixels that cannot work."""
    require(refine in REFINEMENTS, f"{within}refine", ", ".join(REFINEMENTS), refine)
    known = isinstance(depth, bool) or depth == AUTO
    require(known, f"{within}refine_depth", "auto, true or false", depth)
    fits = isinstance(ignore, int | float) and 0 <= ignore < 1
    require(fits, f"{within}ignore", "in [0, 1)", ignore)
