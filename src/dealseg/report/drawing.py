"""Charts and the sheet of examples as PNG, drawn with Matplotlib's objects and no global state."""

import io
from collections.abc import Sequence
from functools import cache

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dealseg.report.charts import Chart
from dealseg.report.colours import LIGHT, Theme
from dealseg.report.example import Example
from dealseg.report.pictures import Picture, inputs, outputs

CSS_PIXELS = 100
"""CSS pixels to Matplotlib's inch; charts are drawn at twice as many."""
_TEXT = 10.8  # points: 15 CSS pixels
_MARGINS = (56, 10, 50, 10)  # CSS pixels: left, right, bottom, top; Matplotlib's search is slow
_DASHES = ("-", "-", (0, (6, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1)))


def chart_png(chart: Chart, theme: Theme, size: tuple[int, int]) -> bytes:
    """Draw one chart on a transparent ground, without title and legend: the page has them.

    Args:
        chart: what to draw.
        theme: colours.
        size: width and height in CSS pixels.
    """
    width, height = size
    left, right, bottom, top = _MARGINS
    place = (left / width, bottom / height)
    extent = (1 - (left + right) / width, 1 - (bottom + top) / height)
    figure = Figure(figsize=(width / CSS_PIXELS, height / CSS_PIXELS))
    draw(figure.add_axes((*place, *extent)), chart, theme)
    return png(figure, 2 * CSS_PIXELS, "none")


def chart_sheet(charts: Sequence[Chart], columns: int = 3) -> bytes:
    """Draw charts with titles and legends on one white sheet."""
    columns = min(columns, len(charts))
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    for place, chart in enumerate(charts):
        axes = figure.add_subplot(rows, columns, place + 1)
        draw(axes, chart, LIGHT)
        axes.set_title(chart.title, fontsize=12, color=LIGHT.ink)
        _legend(axes, chart)
    return png(figure, 150, "white")


def example_sheet(examples: Sequence[Example]) -> bytes:
    """Draw all pictures of the examples, one example a row."""
    rows = [{p.title: p for p in _pictures(example)} for example in examples]
    titles = list(dict.fromkeys(title for row in rows for title in row))
    shapes = [row["Image"].pixels.shape for row in rows]
    height = sum(2.0 * shape[0] / shape[1] + 0.35 for shape in shapes)
    figure = Figure(figsize=(2.1 * len(titles), height + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for example, row, line in zip(examples, rows, grid, strict=True):
        for title, axes in zip(titles, line, strict=True):
            axes.set_axis_off()
            if title in row:
                axes.imshow(row[title].pixels, interpolation="nearest")
        line[0].set_title(drawable(example.name), fontsize=8, loc="left", parse_math=False)
    for title, axes in zip(titles[1:], grid[0][1:], strict=True):
        axes.set_title(drawable(title), fontsize=10, parse_math=False)
    return png(figure, 150, "white")


def draw(axes: Axes, chart: Chart, theme: Theme) -> None:
    """Draw lines, band and marks of a chart."""
    if chart.band is not None:
        axes.axhspan(*chart.band, color=theme.grid, alpha=0.6, linewidth=0)
    for line in chart.lines:
        style = "--" if line.dashed else _DASHES[line.place % len(_DASHES)]
        single = "o" if len(line.points) == 1 else None
        axes.plot(
            [x for x, _ in line.points],
            [y for _, y in line.points],
            color=theme.line(line.place),
            linestyle=style,
            linewidth=2,
            marker=single,
            label=line.label.lstrip("_") or "run",  # Matplotlib leaves out labels with "_" first
        )
    for mark in chart.marks:
        axes.plot(
            mark.x,
            mark.y,
            marker="D" if mark.oracle else "o",
            markersize=9,
            markeredgewidth=2,
            clip_on=False,
            color=theme.line(mark.place),
            markerfacecolor="none" if mark.oracle else theme.line(mark.place),
        )
    style_axes(axes, chart.across, theme)


def drawable(text: str) -> str:
    """Return the text with a white square for each character that the font lacks."""
    known = _characters()
    return "".join(c if ord(c) in known else "\N{WHITE SQUARE}" for c in text)


@cache
def _characters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _pictures(example: Example) -> list[Picture]:
    return [*inputs(example), *outputs(example)]


def style_axes(axes: Axes, across: str, theme: Theme) -> None:
    """Dress the axes of a chart in a theme; `across` is what the x axis is."""
    axes.set_facecolor("none")
    axes.set_xlabel(across, fontsize=_TEXT, color=theme.ink)
    axes.tick_params(labelsize=_TEXT, colors=theme.ink, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=across == "epoch"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _legend(axes: Axes, chart: Chart) -> None:
    legend = axes.legend(frameon=False, fontsize=9)
    two = any(line.dashed for line in chart.lines)
    for text, line in zip(legend.get_texts(), chart.lines, strict=True):
        text.set_parse_math(False)
        kind = (", depth" if line.dashed else ", CAM") if two else ""
        text.set_text(drawable(line.label) + kind)


def png(figure: Figure, dpi: int, ground: str) -> bytes:
    """Return a figure as PNG, the same bytes for the same figure."""
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor=ground, metadata={"Software": None})
    return stream.getvalue()
