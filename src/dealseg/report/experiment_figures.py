"""Figures over many runs: curves with their spread, and sheets of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from dealseg.report.colours import LIGHT
from dealseg.report.drawing import drawable, png, style_axes
from dealseg.report.pictures import Pixels

_DPI = 150
_PICTURE = 1.6  # inches across
_STYLES = ("-", "-.", ":")
"""Of lines, each time the colours start again."""
_BAND = 0.15  # opacity of a standard deviation
_ASIDE = 0.06  # between bars at the same x
_LETTERS = 14  # to the inch
_LINE = 0.18  # inches of a line of a legend


@dataclass(frozen=True)
class Course:
    """A line with the spread over seeds.

    Attributes:
        label: for the legend.
        points: x, mean and standard deviation (0 for a single seed).
        place: gives the colour.
        dashed: told apart from another line of the same colour.
    """

    label: str
    points: tuple[tuple[float, float, float], ...]
    place: int
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Attributes:
        title: above it.
        across: what x is.
        courses: its lines.
        ticks: names of x = 0, 1, ...; numbers if empty.
    """

    title: str
    across: str
    courses: tuple[Course, ...]
    ticks: tuple[str, ...] = ()


def course_figure(
    panels: Sequence[Panel], up: str, columns: int = 2, note: str = ""
) -> bytes | None:
    """Draw panels with bands of a standard deviation, or error bars where x has names.

    Args:
        panels: charts; without any there is no figure.
        up: what y is.
        columns: panels side by side.
        note: below all, how lines and bands are to be read; left out if nothing spreads.
    """
    if not panels:
        return None
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    lines = max(len(panel.courses) for panel in panels)
    figure = Figure(figsize=(5.2 * columns, (3.5 + _LINE * lines) * rows), layout="constrained")
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        style_axes(axes, panel.across, LIGHT)
        for number, course in enumerate(panel.courses):
            aside = _ASIDE * (number - (len(panel.courses) - 1) / 2) if panel.ticks else None
            _draw(axes, course, aside)
        if panel.ticks:
            names = [drawable(name) for name in panel.ticks]
            axes.set_xticks(range(len(names)), names, parse_math=False)
            axes.set_xlim(-0.4, len(names) - 0.6)
        axes.set_ylabel(up, color=LIGHT.ink)
        axes.set_title(drawable(panel.title), fontsize=11, color=LIGHT.ink, parse_math=False)
        # below the axes: within, it would lie over bars
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17)}
        for text in axes.legend(frameon=False, fontsize=9, handlelength=4, **below).get_texts():
            text.set_parse_math(False)
    if any(deviation for p in panels for course in p.courses for _, _, deviation in course.points):
        figure.supxlabel(note, fontsize=8, color=LIGHT.ink)
    return png(figure, _DPI, "white")


def _draw(axes: Axes, course: Course, aside: float | None) -> None:
    """Draw a line with a band, or, so that they can be told apart, with bars that lie aside."""
    x, mean, deviation = (list(column) for column in zip(*course.points, strict=True))
    colour, turn = LIGHT.line(course.place), course.place // len(LIGHT.lines)
    look: dict[str, Any] = {
        "color": colour,
        "linestyle": "--" if course.dashed else _STYLES[turn % len(_STYLES)],
        "linewidth": 2,
        "label": drawable(course.label),
    }
    if aside is not None:
        places = [place + aside for place in x]
        axes.errorbar(places, mean, yerr=deviation, marker="o", capsize=3, elinewidth=1, **look)
        return
    axes.plot(x, mean, **look)
    low = [m - d for m, d in zip(mean, deviation, strict=True)]
    high = [m + d for m, d in zip(mean, deviation, strict=True)]
    axes.fill_between(x, low, high, color=colour, alpha=_BAND, linewidth=0)


def picture_sheet(
    pictures: Sequence[Sequence[Pixels | None]], rows: Sequence[str], columns: Sequence[str]
) -> bytes:
    """Draw rows of pictures under the names of their columns.

    Args:
        pictures: by row, then column; None leaves a place empty.
        rows: name of each row.
        columns: name of each column.
    """
    heights = [max(_height(p) for p in row if p is not None) for row in pictures]
    size = (_PICTURE * len(columns) + 0.3, sum(heights) + 0.3)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=size, layout=layout)
    grid = figure.subplots(
        len(rows), len(columns), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for line, row, name, height in zip(grid, pictures, rows, heights, strict=True):
        for axes, pixels in zip(line, row, strict=True):
            axes.set(xticks=[], yticks=[], frame_on=False, anchor="N")
            if pixels is not None:
                axes.imshow(pixels, interpolation="nearest")
        line[0].set_ylabel(_fitted(name, height), fontsize=8, parse_math=False)
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(_fitted(name, _PICTURE), fontsize=8, parse_math=False)
    return png(figure, _DPI, "white")


def _height(picture: Pixels) -> float:
    height, width = picture.shape[:2]
    return _PICTURE * int(height) / int(width)


def _fitted(name: str, inches: float) -> str:
    """Return the end of a name, which tells more than its beginning, as far as there is room."""
    room = max(4, int(_LETTERS * inches))
    return drawable(name if len(name) <= room else f"…{name[1 - room :]}")
