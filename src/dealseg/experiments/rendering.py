"""A table as Markdown for people, CSV for programs and LaTeX for papers."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dealseg.experiments.expanding import READ_DEPTH
from dealseg.experiments.tables import DIGITS, FIGURES, GAINS, Row, Spread, Table, shown_losses

MISSING = "missing"
_BLANK = "\N{EN DASH}"
_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


@dataclass(frozen=True)
class _Cell:
    text: str
    bold: bool = False


def markdown(table: Table) -> str:
    """Return a table as Markdown, with its title and notes."""
    heading = list(_heading(table))
    lines = [f"### {table.title}", "", _pipes(map(_escaped, heading)), "|---" * len(heading) + "|"]
    for row in table.rows:
        cells = (
            f"**{_escaped(c.text)}**" if c.bold else _escaped(c.text) for c in _cells(table, row)
        )
        lines.append(_pipes(cells))
    lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """Return a table as LaTeX, for the package booktabs, over the whole width of a page."""
    heading = list(_heading(table))
    columns = "l" * len(table.axes) + "r" * (len(heading) - len(table.axes))
    lines = [
        r"\begin{table*}",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{latex_escaped(table.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_escaped, heading)) + r" \\",
        *_latex_rows(table),
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        *map(latex_escaped, table.notes),
        r"\end{minipage}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _latex_rows(table: Table) -> Iterator[str]:
    """Yield rows, with a line before each method and before the published ones."""
    before: object = None
    for row in table.rows:
        kind = (row.published, row.axes["method"])
        if kind != before:
            yield r"\midrule"
        before = kind
        yield _published_latex(table, row) if row.published else _latex_row(table, row)


def comma_separated(table: Table) -> str:
    """Return a table as CSV: full precision, empty where missing; `origin` tells whose a row is."""
    names = [*FIGURES, *(f"{name}_gain" for name in GAINS)]
    parts = [f"{name}_{part}" for name in names for part in ("mean", "std")]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["origin", *table.axes, "seeds", "seeds_asked", *parts])
    for row in table.rows:
        spreads = [*(row.figures[name] for name in FIGURES), *(row.gains.get(n) for n in GAINS)]
        numbers = [number for each in spreads for number in _numbers(each)]
        origin = "published" if row.published else "ours"
        writer.writerow([origin, *(row.axes[axis] for axis in table.axes), *row.seeds, *numbers])
    return stream.getvalue()


def _numbers(each: Spread | None) -> tuple[str, str]:
    if each is None:
        return "", ""
    return repr(each.mean), "" if each.deviation is None else repr(each.deviation)


def _heading(table: Table) -> Iterator[str]:
    yield from table.axes.values()
    yield "seeds"
    for name, text in FIGURES.items():
        yield text
        if name in GAINS:
            yield "gain"


def _cells(table: Table, row: Row) -> Iterator[_Cell]:
    for axis in table.axes:
        yield _Cell(_shown_axis(table, row, axis))
    finished, asked = row.seeds
    yield _Cell("" if row.published else str(asked) if finished == asked else f"{finished}/{asked}")
    for name in FIGURES:
        empty = "" if row.published else MISSING
        yield _Cell(_spread(row.figures[name], empty), bold=name in row.best)
        if name in GAINS:
            yield _Cell(_spread(row.gains[name], empty, sign="+") if name in row.gains else "")


def _shown_axis(table: Table, row: Row, axis: str) -> str:
    value, losses = row.axes[axis], row.axes["losses"]
    if row.published:
        return value
    if axis == "noise" and not READ_DEPTH & set(losses.split("+")):
        return _BLANK
    shown = {"method": table.titles.get(value, value), "losses": shown_losses(losses)}
    return shown.get(axis, value)


def _spread(each: Spread | None, empty: str, sign: str = "") -> str:
    if each is None:
        return empty
    digits = DIGITS if each.count else 3
    rounded = round(each.mean, digits) + 0.0  # no minus before a zero
    mean = f"{rounded:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return mean if each.deviation is None else f"{mean} ± {each.deviation:.{digits}f}"


def _pipes(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\|*_`<" else c for c in text)


def _latex_row(table: Table, row: Row) -> str:
    texts = (
        rf"\textbf{{{latex_escaped(cell.text)}}}" if cell.bold else latex_escaped(cell.text)
        for cell in _cells(table, row)
    )
    return " & ".join(texts) + r" \\"


def _published_latex(table: Table, row: Row) -> str:
    """Return a published row; what it is needs the room of all columns before the figures."""
    before = len(table.axes) + 1
    told = latex_escaped(f"{row.axes['method']}: {row.axes['losses']}")
    figures = (latex_escaped(cell.text) for cell in list(_cells(table, row))[before:])
    return " & ".join([rf"\multicolumn{{{before}}}{{l}}{{{told}}}", *figures]) + r" \\"


def latex_escaped(text: str) -> str:
    """Return text in which no character means anything to LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)
