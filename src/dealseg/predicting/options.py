"""How a network looks at images."""

from dataclasses import dataclass

from dealseg.config.label import Refinement
from dealseg.errors import ConfigError
from dealseg.models.placing import Device, Precision


@dataclass(frozen=True)
class PredictOptions:
    """How a network looks at images.

    Attributes:
        device: `auto` takes a GPU where there is one.
        precision: `auto` is float16 on a GPU, else float32.
        long_side: longer side, in pixels, at which images are seen; None takes the training's, or
            with `window` the image's own.
        window: side, in pixels, of the windows through which larger images are seen; None sees
            them whole.
        overlap: share of a window that the next one covers again.
        refine: bring masks onto the edges of the image's colours by `affinity` or `crf`; None is
            what a first-stage run was told, and `none` for others.
    """

    device: Device = "auto"
    precision: Precision = "auto"
    long_side: int | None = None
    window: int | None = None
    overlap: float = 0.25
    refine: Refinement | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.long_side is not None and self.long_side < 1:
            raise ConfigError(f"long_side must be at least 1, got {self.long_side}")
        if self.window is not None and self.window < 32:
            raise ConfigError(f"window must be at least 32 pixels, got {self.window}")
        if not 0 <= self.overlap <= 0.9:
            raise ConfigError(f"overlap must be from 0 to 0.9, got {self.overlap}")
        if self.window is not None and self.refine not in (None, "none"):
            raise ConfigError(
                "refine sees images whole, at 640 pixels at most, which spoils what windows find; "
                "leave out --window or --refine"
            )
