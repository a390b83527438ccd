"""From CAMs to masks."""

from dataclasses import dataclass

from dealseg.config.checks import require


@dataclass(frozen=True)
class LabelConfig:
    """How `label` and `evaluate` make masks of a run, where they are not told otherwise.

    Attributes:
        threshold: background score; by default the method's own, see `dealseg methods`.
        long_side: longer side of an image at scale 1, pixels; by default that of the training.
        scales: image sizes whose CAMs are summed, relative to long_side.
        flip: add the CAMs of mirrored images.
    """

    threshold: float | None = None
    long_side: int | None = None
    scales: tuple[float, ...] = (1.0, 1.5)
    flip: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        threshold = self.threshold
        require(threshold is None or 0 <= threshold <= 1, "label.threshold", "in [0, 1]", threshold)
        side = self.long_side
        require(side is None or side >= 32, "label.long_side", ">= 32 pixels", side)
        positive = bool(self.scales) and all(0 < scale < float("inf") for scale in self.scales)
        require(positive, "label.scales", "positive numbers", self.scales)
