"""A table as Markdown for people, CSV for programs and LaTeX for papers."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dealseg.experiments.tables import FIGURES, GAINS, Row, Spread, Table

MISSING = "missing"
_DIGITS = 2
_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{MINUS SIGN}": "$-$",
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
    """Return a table as LaTeX, for the package booktabs."""
    heading = list(_heading(table))
    columns = "l" * len(table.axes) + "r" * (len(heading) - len(table.axes))
    ours = [_latex_row(table, row) for row in table.rows if not row.published]
    published = [_latex_row(table, row) for row in table.rows if row.published]
    rows = [*ours, r"\midrule", *published] if published else ours
    lines = [
        *(f"% {note}" for note in table.notes),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escaped(table.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_escaped, heading)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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
        yield _Cell(row.axes[axis])
    finished, asked = row.seeds
    yield _Cell("" if row.published else str(asked) if finished == asked else f"{finished}/{asked}")
    for name in FIGURES:
        empty = "" if row.published else MISSING
        yield _Cell(_spread(row.figures[name], empty), bold=name in row.best)
        if name in GAINS:
            yield _Cell(_spread(row.gains[name], empty, sign="+") if name in row.gains else "")


def _spread(each: Spread | None, empty: str, sign: str = "") -> str:
    if each is None:
        return empty
    digits = _DIGITS if each.count else 3
    mean = f"{each.mean:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
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


def latex_escaped(text: str) -> str:
    """Return text in which no character means anything to LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)
