"""How CAMs become masks: the options, and who chose them."""

from dataclasses import dataclass

from dealseg.config import TrainConfig
from dealseg.config.label import (
    AUTO,
    RefineDepth,
    Refinement,
    Threshold,
    require_mask_options,
    require_scales,
)
from dealseg.errors import ConfigError
from dealseg.models.registry import method

DEFAULT_THRESHOLD = 0.4
"""Background score between the best of the embedded synthetic set and of NYUv2; see
docs/method.md."""

AUTO_ORIGIN, AUTO_REFINED = "auto (Otsu)", "auto (Otsu and most stable)"
"""Origins of a threshold that was found from the scores, or from refined masks, of the images."""

AUTO_FAILED = "method (auto found nothing to go by)"
"""Origin of a threshold where no image has a class, or none parts the scores."""


@dataclass(frozen=True)
class LabelOptions:
    """How CAMs become masks.

    Attributes:
        threshold: a pixel is background unless its score is above this.
        scales: image sizes whose CAMs are summed, relative to the training's.
        flip: add the CAMs of the mirrored image.
        long_side: longer side of an image at scale 1, pixels; None takes the training's.
        tags: `auto` takes the data's tags and predicts them where an image has none; `data` and
            `predicted` insist.
        probability: class probability above which a class is predicted.
        auto_threshold: the threshold is to be found from the images, see
            :func:`dealseg.labeling.with_threshold`; `threshold` stands where they say nothing.
        refine: `none`, or a key of :data:`dealseg.refine.METHODS`.
        refine_depth: refine along depth too; `auto` does where an image has depth.
        ignore: pixels whose class leads by less than this become 255.
    """

    threshold: float = DEFAULT_THRESHOLD
    scales: tuple[float, ...] = (1.0, 1.5)
    flip: bool = True
    tags: str = "auto"
    probability: float = 0.5
    long_side: int | None = None
    auto_threshold: bool = False
    refine: Refinement = "none"
    refine_depth: RefineDepth = AUTO
    ignore: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold must be in [0, 1], got {self.threshold}")
        require_scales("", self.scales)
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"probability must be in [0, 1], got {self.probability}")
        if self.tags not in ("auto", "data", "predicted"):
            raise ConfigError(f"tags must be auto, data or predicted, got {self.tags!r}")
        require_mask_options("", self.refine, self.refine_depth, self.ignore)
        if self.refine == "none" and self.ignore and self.ignore >= self.threshold:
            raise ConfigError(
                f"ignore must be below the threshold {self.threshold:g}, got {self.ignore:g}: no "
                "background would be left (after refinement it is a difference of probabilities)"
            )
        if self.refine != "none" and not 0 < self.threshold < 1:
            raise ConfigError(
                f"threshold must be above 0 and below 1 for refinement, got {self.threshold}: it "
                "is the background's weight against the classes"
            )


def label_options(
    config: TrainConfig,
    *,
    threshold: Threshold | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    tags: str = "auto",
    refine: Refinement | None = None,
    refine_depth: RefineDepth | None = None,
    ignore: float | None = None,
) -> LabelOptions:
    """Return how to label with a run: as told here, else as its configuration says.

    The threshold is the method's own where neither says one.

    Raises:
        ConfigError: for values that cannot work.
    """
    own = config.label
    wanted, usual = _first(threshold, own.threshold), method(config.method).threshold
    return LabelOptions(
        threshold=usual if wanted is None or wanted == AUTO else wanted,
        auto_threshold=wanted == AUTO,
        scales=own.scales if scales is None else scales,
        flip=own.flip if flip is None else flip,
        tags=tags,
        long_side=own.long_side,
        refine=refine or own.refine,
        refine_depth=own.refine_depth if refine_depth is None else refine_depth,
        ignore=own.ignore if ignore is None else ignore,
    )


def threshold_origin(config: TrainConfig, threshold: Threshold | None) -> str:
    """Return who chose the threshold of :func:`label_options`.

    That is `user`, `run` or `method`, or :data:`AUTO`.
    """
    if _first(threshold, config.label.threshold) == AUTO:
        return AUTO
    if threshold is not None:
        return "user"
    return "method" if config.label.threshold is None else "run"


def _first(told: Threshold | None, own: Threshold | None) -> Threshold | None:
    return own if told is None else told
