"""The figures of a grid: CAMs on frames, masks of the variants, and mIoU over what was varied."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dealseg.data import RgbdDataset
from dealseg.experiments.expanding import READ_DEPTH, PlannedTable, Variant, loss_names
from dealseg.experiments.grid import NONE
from dealseg.experiments.results import Result
from dealseg.experiments.tables import Found, shown_losses, spread
from dealseg.models.runs import WEIGHTS_FILE
from dealseg.report import read_runs
from dealseg.report.assembling import assemble
from dealseg.report.example import Example, evenly_spaced
from dealseg.report.experiment_figures import Course, Panel, course_figure, picture_sheet
from dealseg.report.pictures import Pixels, inputs, outputs

FRAMES = 6
"""Consecutive frames shown of a sequence."""
EXAMPLES = 5
"""Images whose masks are shown."""
POINTS = "mIoU, %"
_MEANS = "Lines: mean"
_DEVIATIONS = "standard deviation, over seeds"

log = logging.getLogger("dealseg")

Point = tuple[float, float, float]
"""Place, mean and standard deviation."""
Kind = tuple[tuple[str, ...], str, str]
"""Losses beside DEAL, depth source and noise."""
RunOf = Callable[[Result], Path]
"""Where the run folder of a result is."""


def threshold_figure(table: PlannedTable, found: Found) -> bytes | None:
    """Draw mIoU against the threshold, a panel for each method; None without results."""
    panels, names = [], labels(table.variants)
    for method in table.spec.methods:
        mine = [v for v in table.variants if v.method == method]
        courses = (_curve(v, mine, names[v], found) for v in mine)
        drawn = tuple(each for each in courses if each is not None)
        if drawn:
            panels.append(Panel(table.titles[method], "threshold", drawn))
    return course_figure(panels, POINTS, note=f"{_MEANS}, bands: {_DEVIATIONS}")


def _curve(
    variant: Variant, variants: Sequence[Variant], label: str, found: Found
) -> Course | None:
    results = [result for result in found.get(variant, {}).values() if result.curve]
    if not results:
        return None
    columns = zip(*(result.curve for result in results), strict=True)
    points = (
        (threshold, *_mean_and_deviation(100 * value for value in column if value is not None))
        for threshold, column in zip(results[0].thresholds, columns, strict=True)
        if any(value is not None for value in column)
    )
    return _course(variant, variants, label, points)


def labels(variants: Sequence[Variant]) -> dict[Variant, str]:
    """Name variants by their losses, and by depth source and noise where there are several."""
    varied = [
        axis
        for axis in ("depth", "noise")
        if len({getattr(v, axis) for v in variants} - {NONE}) > 1
    ]
    found = {}
    for variant in variants:
        words = [getattr(variant, axis) for axis in varied]
        words = [word for word in words if word != NONE]
        found[variant] = ", ".join([shown_losses(variant.losses), *words])
    return found


def _course(
    variant: Variant, variants: Sequence[Variant], label: str, points: Iterable[Point]
) -> Course:
    """Return a line: dashed without DEAL, in the colour of the first with DEAL that differs by it.

    Args:
        variant: what the line is of.
        variants: all of the panel.
        label: for the legend.
        points: of the line.
    """
    kinds = list(dict.fromkeys(map(_kind, sorted(variants, key=lambda v: v.depth == NONE))))
    mine = _kind(variant)
    place = next(place for place, kind in enumerate(kinds) if kind == mine or _alike(kind, mine))
    return Course(label, tuple(points), place, dashed=variant.depth == NONE)


def _kind(variant: Variant) -> Kind:
    """Return what a variant is beside DEAL: its other losses, and the depth that it reads."""
    others = tuple(name for name in loss_names(variant.losses) if name not in READ_DEPTH)
    return others, variant.depth, variant.noise


def _alike(kind: Kind, other: Kind) -> bool:
    """Return whether the second is the first without DEAL."""
    return other[1] == NONE and kind[0] == other[0]


def _mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    found = spread(values)
    return (0.0, 0.0) if found is None else (found.mean, found.deviation or 0.0)


def noise_figure(table: PlannedTable, found: Found) -> bytes | None:
    """Draw mIoU against the noise of the depth, a panel for each method and kind of threshold.

    What reads no depth is drawn as a level line. None without results.
    """
    figures = {"fixed": "fixed threshold", "oracle": "ORACLE threshold"}
    panels = []
    for method in table.spec.methods:
        for name, kind in figures.items():
            courses = tuple(_noise_courses(table, found, method, name))
            if courses:
                title = f"{table.titles[method]}, {kind}"
                panels.append(Panel(title, "depth noise", courses, table.spec.noise))
    return course_figure(panels, POINTS, note=f"{_MEANS}, bars: {_DEVIATIONS}")


def _noise_courses(table: PlannedTable, found: Found, method: str, figure: str) -> Iterable[Course]:
    variants = [v for v in table.variants if v.method == method]
    lines = list(dict.fromkeys(replace(v, noise=NONE) for v in variants))
    for line, label in labels(lines).items():
        points = []
        for place, noise in enumerate(table.spec.noise):
            variant = replace(line, noise=noise if line.depth != NONE else NONE)
            values = [r.figures.get(figure) for r in found.get(variant, {}).values()]
            known = [100 * value for value in values if value is not None]
            if known:
                points.append((float(place), *_mean_and_deviation(known)))
        if points:
            yield _course(line, lines, label, points)


def cam_figure(
    table: PlannedTable, found: Found, method: str, images: RgbdDataset, run_of: RunOf
) -> bytes | None:
    """Draw the CAMs of baseline and DEAL on consecutive frames (the paper's Fig. 3).

    Frames are from the middle sequence of the split; nobody picked them. Of images that are no
    sequence they are spread evenly over those with tags. None if one of the two is not trained.
    """
    chosen = [Variant(method), _deal_of(table, method)]
    runs = _runs([v for v in chosen if v is not None], found, run_of)
    if len(runs) < 2:
        return None
    tagged = _tagged(images)
    frames = consecutive([images.names[index] for index in tagged], FRAMES)
    examples = _examples(runs, images, [tagged[place] for place in frames])
    titles = ["Image", *(f"CAM, {label}" for label in runs)]
    rows = [[pictures.get(title) for _, pictures in examples] for title in titles]
    return picture_sheet(rows, titles, [name for name, _ in examples])


def _deal_of(table: PlannedTable, method: str) -> Variant | None:
    """Return the variant that adds least to DEAL."""
    with_deal = [v for v in table.variants if v.method == method and v.depth != NONE]
    return min(with_deal, key=lambda v: len(loss_names(v.losses)), default=None)


def mask_figure(
    table: PlannedTable, found: Found, method: str, images: RgbdDataset, run_of: RunOf
) -> bytes | None:
    """Draw the thresholded masks of all variants, without post-processing (the paper's Fig. 4).

    None if nothing is trained.
    """
    runs = _runs([v for v in table.variants if v.method == method], found, run_of)
    if not runs:
        return None
    tagged = _tagged(images)
    chosen = [tagged[place] for place in evenly_spaced(EXAMPLES, len(tagged))]
    examples = _examples(runs, images, chosen)
    titles = ["Image", "Ground truth", *(f"Mask, {label}" for label in runs)]
    rows = [[pictures.get(title) for title in titles] for _, pictures in examples]
    columns = [title.removeprefix("Mask, ") for title in titles]
    return picture_sheet(rows, [name for name, _ in examples], columns)


def _tagged(images: RgbdDataset) -> list[int]:
    """Return the indices of images in which there is something to see; all if none has tags."""
    tags = ((index, images.tags(index)) for index in range(len(images)))
    return [i for i, found in tags if found is not None and found.any()] or [*range(len(images))]


def _runs(variants: Sequence[Variant], found: Found, run_of: RunOf) -> dict[str, Path]:
    """Return the run of the first seed of each variant, by its label."""
    runs = {}
    for variant, label in labels(variants).items():
        by_seed = found.get(variant, {})
        if not by_seed:
            continue
        run = run_of(by_seed[min(by_seed)])
        if (run / WEIGHTS_FILE).is_file():
            runs[label] = run
        else:
            log.warning(f"{run}: its weights are not here, so the figures leave it out")
    return runs


def _examples(
    runs: Mapping[str, Path], images: RgbdDataset, indices: Sequence[int]
) -> list[tuple[str, dict[str, Pixels]]]:
    """Return name and pictures by title of each image."""
    records = read_runs(list(runs.values()))
    labelled = [replace(r, label=label) for r, label in zip(records, runs, strict=True)]
    return [
        (_short(example.name), _pictures(example))
        for example in assemble(labelled, images, indices)
    ]


def _pictures(example: Example) -> dict[str, Pixels]:
    return {picture.title: picture.pixels for picture in (*inputs(example), *outputs(example))}


def _short(name: str) -> str:
    return "/".join(name.split("/")[-2:])


def consecutive(names: Sequence[str], count: int) -> list[int]:
    """Return the indices of consecutive frames, from the middle of the middle sequence.

    A sequence is what lies in one folder; of names without a folder, `count` are spread evenly.
    """
    sequences: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        sequences.setdefault(name.rpartition("/")[0], []).append(index)
    if set(sequences) <= {""}:
        return evenly_spaced(count, len(names))
    most = max(map(len, sequences.values()))
    long_enough = [each for each in sequences.values() if len(each) >= min(count, most)]
    sequence = long_enough[len(long_enough) // 2]
    start = max(0, (len(sequence) - count) // 2)
    return sequence[start : start + count]
