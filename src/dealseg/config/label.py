"""From CAMs to masks."""

from dataclasses import dataclass

from dealseg.config.checks import require


@dataclass(frozen=True)
class LabelConfig:
    """How `label` and `evaluate` make masks of a run, where they are not told otherwise.

    Attributes:
        threshold: background score; by default the method's own, see `dealseg methods`.
        scales: image sizes whose CAMs are summed, relative to the training's.
        flip: add the CAMs of mirrored images.
    """

    threshold: float | None = None
    scales: tuple[float, ...] = (1.0, 1.5)
    flip: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        threshold = self.threshold
        require(threshold is None or 0 <= threshold <= 1, "label.threshold", "in [0, 1]", threshold)
        positive = bool(self.scales) and all(0 < scale < float("inf") for scale in self.scales)
        require(positive, "label.scales", "positive numbers", self.scales)
