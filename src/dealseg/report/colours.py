"""The colours of lines and of the two themes; masks have theirs from `dealseg.labeling`."""

from dataclasses import dataclass

DEPTH_MAP = "viridis"
"""Matplotlib's map for depth: even steps for the eye, near is bright."""
SCORE_MAP = "inferno"
"""Matplotlib's map for CAM scores."""


@dataclass(frozen=True)
class Theme:
    """The colours of a chart.

    Attributes:
        name: `light` or `dark`, as in CSS's prefers-color-scheme.
        ink: text and axes.
        grid: lines behind the curves, and bands.
        lines: one colour a run, told apart with all common kinds of colour blindness.
    """

    name: str
    ink: str
    grid: str
    lines: tuple[str, ...]

    def line(self, place: int) -> str:
        """Return the colour of the run in this place; after the last it starts again."""
        return self.lines[place % len(self.lines)]


# Okabe and Ito's colours (jfly.uni-koeln.de/color), yellow and black left out; those too dark or
# too pale for a background are moved towards its opposite.
LIGHT = Theme(
    "light",
    "#3d4451",
    "#e3e6eb",
    ("#0072b2", "#d55e00", "#009e73", "#b5578f", "#8a6d00", "#3a8fc4"),
)
DARK = Theme(
    "dark",
    "#c3c9d4",
    "#333a46",
    ("#56b4e9", "#ff8f3f", "#2fc79b", "#dd93bd", "#e6b93c", "#9ccbee"),
)
