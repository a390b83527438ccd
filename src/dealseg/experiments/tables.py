"""Tables of results: mean and standard deviation over seeds, and the gain over the baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from dealseg.experiments.expanding import Job, PlannedTable, Variant
from dealseg.experiments.grid import NONE, Grid, Published, TableSpec
from dealseg.experiments.results import Result

FIGURES = {
    "fixed": "mIoU, fixed threshold",
    "oracle": "max mIoU (ORACLE)",
    "boundary_iou": "boundary IoU",
    "contour_f": "contour F",
}
"""What the tables show, in per cent; boundary IoU and contour F are at the fixed threshold."""
GAINS = ("fixed", "oracle")
"""The figures whose gain over the baseline is shown."""
PUBLISHED = "published"
DIGITS = 2
"""Of a figure in per cent, as it is shown."""
AXES = {"method": "method", "losses": "losses", "depth": "depth", "noise": "depth noise"}

Found = Mapping[Variant, Mapping[int, Result]]
"""The results of each variant by seed."""


@dataclass(frozen=True)
class Spread:
    """Points over seeds.

    Attributes:
        mean: in per cent.
        deviation: sample standard deviation; None for a single seed.
        count: of seeds.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        axes: what it is, by the axes that the table shows.
        figures: by name; None is missing.
        gains: over the baseline, by name; None is missing, absent names have none.
        seeds: finished, and asked for.
        best: names of the figures in which it is the best of its method.
        published: a figure of others, for reference.
    """

    axes: Mapping[str, str]
    figures: Mapping[str, Spread | None]
    gains: Mapping[str, Spread | None]
    seeds: tuple[int, int]
    best: frozenset[str] = frozenset()
    published: bool = False


@dataclass(frozen=True)
class Table:
    """A table, before it is Markdown, CSV or LaTeX.

    Attributes:
        name: of its files.
        title: what it shows.
        axes: the columns that say what a row is, name and heading.
        titles: what the methods are called.
        rows: ours, then the published ones.
        notes: how to read it.
    """

    name: str
    title: str
    axes: Mapping[str, str]
    titles: Mapping[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def found_by_variant(jobs: Sequence[tuple[str, Job]], results: Mapping[str, Result]) -> Found:
    """Sort results into the places of a grid."""
    found: dict[Variant, dict[int, Result]] = {}
    for key, job in jobs:
        if key in results:
            found.setdefault(job.variant, {})[job.seed] = results[key]
    return found


def build_table(grid: Grid, planned: PlannedTable, found: Found) -> Table:
    """Put results into a table of a grid; what is not there yet is marked as missing.

    A gain is the mean over seeds of the difference to the baseline of the same method and seed.
    """
    spec = planned.spec
    axes = _shown_axes(planned)
    rows = [_row(variant, axes, found, grid.seeds) for variant in planned.variants]
    rows = _with_best(rows)
    published = [each for each in grid.published if each.table == spec.name]
    rows += [_published_row(each, axes) for each in published]
    title = f"{grid.title}: {spec.title}"
    notes = _notes(spec, rows, published, found)
    return Table(spec.name, title, axes, planned.titles, tuple(rows), notes)


def shown_losses(losses: str) -> str:
    """Return losses beside a method's own as papers write them: `baseline`, or `+ ISL + DEAL`."""
    return "baseline" if losses == NONE else " ".join(f"+ {n.upper()}" for n in losses.split("+"))


def _shown_axes(planned: PlannedTable) -> dict[str, str]:
    """Return method and losses, and of depth and noise what is not the same in all that read it."""
    varies = {
        axis: len({getattr(v, axis) for v in planned.variants} - {NONE}) > 1
        or len(set(getattr(planned.spec, spec_axis))) > 1
        for axis, spec_axis in (("depth", "depths"), ("noise", "noise"))
    }
    return {axis: text for axis, text in AXES.items() if varies.get(axis, True)}


def _row(variant: Variant, axes: Mapping[str, str], found: Found, seeds: Sequence[int]) -> Row:
    results = found.get(variant, {})
    before = found.get(Variant(variant.method), {})
    return Row(
        axes={axis: getattr(variant, axis) for axis in axes},
        figures={name: spread(_points(results, name).values()) for name in FIGURES},
        gains={}
        if variant.is_baseline
        else {name: _gain(_points(before, name), _points(results, name)) for name in GAINS},
        seeds=(len(results), len(seeds)),
    )


def _points(results: Mapping[int, Result], name: str) -> dict[int, float]:
    """Return a figure in per cent by seed, where it was computed."""
    figures = {seed: result.figures.get(name) for seed, result in results.items()}
    return {seed: 100 * value for seed, value in sorted(figures.items()) if value is not None}


def _gain(before: Mapping[int, float], after: Mapping[int, float]) -> Spread | None:
    return spread([after[seed] - before[seed] for seed in after if seed in before])


def spread(values: Iterable[float]) -> Spread | None:
    """Return mean and standard deviation, or None of nothing."""
    points = list(values)
    if not points:
        return None
    return Spread(fmean(points), stdev(points) if len(points) > 1 else None, len(points))


def _with_best(rows: Sequence[Row]) -> list[Row]:
    """Mark the highest mean, as shown, of each figure in each method if there is more than one."""
    marked = []
    for row in rows:
        rivals = [r for r in rows if r.axes["method"] == row.axes["method"]]
        best = {name for name in FIGURES if _is_best(row, rivals, name)}
        marked.append(replace(row, best=frozenset(best)))
    return marked


def _is_best(row: Row, rivals: Sequence[Row], name: str) -> bool:
    mine = row.figures[name]
    found = [rival.figures[name] for rival in rivals]
    means = [round(other.mean, DIGITS) for other in found if other is not None]
    return mine is not None and len(means) > 1 and round(mine.mean, DIGITS) >= max(means)


def _published_row(each: Published, axes: Mapping[str, str]) -> Row:
    blank = dict.fromkeys(axes, "")
    return Row(
        axes={**blank, "method": PUBLISHED, "losses": f"{each.label} ({each.source})"},
        figures=dict.fromkeys(FIGURES, None),
        gains={"oracle": Spread(each.gain, None, 0)},
        seeds=(0, 0),
        published=True,
    )


def _notes(
    spec: TableSpec, rows: Sequence[Row], published: Sequence[Published], found: Found
) -> tuple[str, ...]:
    notes = [
        "Per cent, mean ± standard deviation over seeds; in bold the highest mean of each method. "
        "Gains are points over the same method with its own losses alone, seed by seed.",
        "The fixed threshold saw no ground truth of the judged images; boundary IoU and contour F "
        "are at it. ORACLE: the best of 101 thresholds for that very ground truth, an upper bound.",
    ]
    fixed = {"source of the depth": spec.depths, "noise of the depth": spec.noise}
    told = [f"{axis}: {values[0]}" for axis, values in fixed.items() if len(set(values)) == 1]
    if told:
        notes.append(f"Where a loss reads depth: {'; '.join(told)}.")
    if published:
        notes.append(
            "The rows “published” are the paper's own statement of its best gain in max mIoU, not "
            "results of ours; its baseline, settings and split may differ."
        )
    ours = [row for row in rows if not row.published]
    lacking = sum(row.seeds[1] - row.seeds[0] for row in ours)
    if lacking:
        total = sum(row.seeds[1] for row in ours)
        notes.append(f"INCOMPLETE: {lacking} of {total} trainings are not finished.")
    judged = {_judged(result) for by_seed in found.values() for result in by_seed.values()}
    notes += [f"Judged: {text}." for text in sorted(judged)]
    return tuple(notes)


def _judged(result: Result) -> str:
    data = result.data
    classes = len(data["class_map"])
    return f"split {data['split']}, {data['images']} images, {classes} classes with background"
