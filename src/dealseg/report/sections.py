"""The sections of the page that tell figures: results, classes, curves, settings."""

from collections.abc import Sequence

from dealseg.report.charts import Chart, missing_columns, threshold_chart, training_charts
from dealseg.report.colours import DARK, LIGHT
from dealseg.report.drawing import chart_png
from dealseg.report.markup import Html, element, joined, table
from dealseg.report.pictures import uri
from dealseg.report.records import Evaluation, Level, RunRecord, differing, flat
from dealseg.report.verdict import (
    compare,
    oracle_sentence,
    percent,
    signed,
    spread_sentence,
    verdict,
)

_NARROW = (358, 250)
_WIDE = (740, 330)
DASH = "\N{EN DASH}"


def opening(runs: Sequence[RunRecord], title: str) -> list[Html]:
    """Return title, verdict and the figures it rests on."""
    parts = [
        element("p", "dealseg report", class_="eyebrow"),
        element("h1", title),
        element("p", verdict(runs), class_="verdict"),
    ]
    found = compare(runs)
    if found is not None:
        kind = "good" if found.gain > 0 else "bad" if found.gain < 0 else None
        cards = [
            _card(f"{found.baseline:.1f}", "baseline, mIoU"),
            _card(f"{found.deal:.1f}", "DEAL, mIoU"),
            _card(signed(found.gain), "points", kind),
        ]
        parts.append(element("div", *cards, class_="cards"))
    spread = spread_sentence(runs)
    if spread is not None:
        parts.append(element("p", spread, class_="soft"))
    ceiling = oracle_sentence(runs)
    if ceiling is not None:
        parts.append(element("p", element("span", "ORACLE", class_="badge"), f" {ceiling}"))
    return parts


def notes(runs: Sequence[RunRecord]) -> list[Html]:
    """Return what is missing, run by run."""
    items = [f"{run.label}: {note}." for run in runs for note in run.notes]
    items += [
        f"{run.label}: metrics.csv has no column {', '.join(missing)}."
        for run in runs
        if run.metrics and (missing := missing_columns(run))
    ]
    items += [
        f"{run.label}: evaluated on a SUBSET, {run.evaluation.missing} images with ground truth "
        "have no prediction."
        for run in runs
        if run.evaluation is not None and run.evaluation.missing
    ]
    return [element("ul", *(element("li", item) for item in items), class_="notes")] * bool(items)


def results(runs: Sequence[RunRecord]) -> list[Html]:
    """Return a row of figures a run; the ORACLE figures stand apart."""
    judged = [(run, run.evaluation) for run in runs if run.evaluation is not None]
    if not judged:
        return [element("p", "No run has been evaluated yet.")]
    header = [
        "run",
        "mIoU",
        "threshold",
        "threshold's origin",
        "boundary IoU",
        "contour F",
        "tag mAP",
    ]
    header += ["N", "split", "ORACLE mIoU", "ORACLE threshold"]
    rows = [[*_run_cells(run, found), *_oracle_cells(found)] for run, found in judged]
    caption = "Figures in per cent; N is the number of images judged."
    if {found.protocol for _, found in judged} - {None, "full"}:
        caption += (
            " In brackets: the protocol by which the ORACLE threshold was searched for, and "
            "whether it stopped before it had tried all of its thresholds."
        )
    return [table(header, rows, class_="results"), element("p", caption, class_="soft")]


def per_class(runs: Sequence[RunRecord]) -> list[Html]:
    """Return IoU by class at the fixed threshold, as numbers and bars."""
    judged = [(place, run) for place, run in enumerate(runs) if run.evaluation is not None]
    names = list(dict.fromkeys(n for _, run in judged for n in _by_class(run.evaluation)))
    if not names:
        return []
    pair = len(judged) == 2 and _differ_in_role_only(judged[0][1], judged[1][1])
    rows = []
    for name in names:
        shares = [_by_class(run.evaluation).get(name) for _, run in judged]
        cells = [
            joined([percent(share), _bar(share, place)])
            for share, (place, _) in zip(shares, judged, strict=True)
        ]
        rows.append([name, *cells, *([_difference(shares)] if pair else [])])
    header = ["class", *(run.label for _, run in judged), *(["gain"] if pair else [])]
    return [
        element("p", "IoU in per cent at the fixed threshold.", class_="soft"),
        table(header, rows),
    ]


def thresholds(runs: Sequence[RunRecord]) -> list[Html]:
    """Return mIoU over the threshold."""
    chart = threshold_chart(runs)
    if chart is None:
        return []
    figure = _chart_figure(chart, [(_WIDE, 641), (_NARROW, 0)], class_="chart wide")
    return [run_legend(runs), element("div", figure)]


def training(runs: Sequence[RunRecord]) -> list[Html]:
    """Return the training curves."""
    figures = [
        _chart_figure(chart, [(_NARROW, 0)], class_="chart") for chart in training_charts(runs)
    ]
    if not figures:
        return [element("p", "No training curves: no run has a metrics.csv with figures.")]
    return [run_legend(runs), element("div", *figures, class_="charts")]


def run_legend(runs: Sequence[RunRecord]) -> Html:
    """Return the colour of each run's line."""
    entries = [
        element("li", element("i", class_=f"stroke run{place}"), element("span", run.label))
        for place, run in enumerate(runs)
    ]
    return element("ul", *entries, class_="legend")


def run_colours(runs: Sequence[RunRecord]) -> str:
    """Return the CSS that gives runs their colours in both themes."""

    def rules(theme_line: Sequence[str]) -> str:
        return " ".join(
            f".run{place} {{ background: {theme_line[place % len(theme_line)]}; }}"
            for place in range(len(runs))
        )

    return f"{rules(LIGHT.lines)}\n@media (prefers-color-scheme: dark) {{ {rules(DARK.lines)} }}\n"


def configuration(runs: Sequence[RunRecord]) -> list[Html]:
    """Return the options in which runs differ, and all options folded away."""
    parts = []
    labels = [run.label for run in runs]
    if len(runs) > 1:
        rows = [[name, *values] for name, values in differing(runs).items()]
        text = "The runs differ in:" if rows else "The runs have the same options."
        parts.append(element("p", text))
        if rows:
            parts.append(table(["option", *labels], rows, class_="text"))
    for run in runs:
        lines = "\n".join(f"{name}: {value}" for name, value in run.settings().items())
        place = element("span", f" {run.path}", class_="soft")
        summary = element("summary", f"All options of {run.label}", place)
        parts.append(element("details", summary, element("pre", lines)))
    return parts


def environment(runs: Sequence[RunRecord]) -> list[Html]:
    """Return machine, versions and command of each run, folded away."""
    parts = []
    for run in runs:
        if run.environment:
            rows = [[name, value] for name, value in flat(run.environment).items()]
            body = table(["", run.label], rows, class_="text")
            parts.append(element("details", element("summary", f"Made by: {run.label}"), body))
    return parts or [element("p", "Not recorded: no run has an environment.json.")]


def _card(figure: str, name: str, kind: str | None = None) -> Html:
    classes = "card" if kind is None else f"card {kind}"
    return element("div", element("b", figure), element("span", name), class_=classes)


def _run_cells(run: RunRecord, found: Evaluation) -> list[str]:
    level = found.fixed
    return [
        run.label,
        element("span", percent(level.mean_iou), class_="strong"),
        _threshold(level),
        level.origin,
        percent(level.boundary_iou),
        percent(level.contour_f),
        percent(found.tag_map),
        str(found.images) + (" (SUBSET)" if found.missing else ""),
        found.split,
    ]


def _oracle_cells(found: Evaluation) -> list[str]:
    """Return ORACLE figure and threshold, and by which protocol if not by our own."""
    level = found.oracle
    if level is None:
        return [DASH, DASH]
    early = ", stopped" if found.stopped_early else ""
    by = "" if found.protocol == "full" else f" ({found.protocol}{early})"
    return [percent(level.mean_iou), _threshold(level) + by]


def _threshold(level: Level) -> str:
    return DASH if level.threshold is None else f"{level.threshold:.2f}"


def _differ_in_role_only(one: RunRecord, other: RunRecord) -> bool:
    return one.role != other.role and one.family == other.family


def _by_class(evaluation: Evaluation | None) -> dict[str, float | None]:
    if evaluation is None:
        return {}
    return dict(zip(evaluation.class_names, evaluation.fixed.iou, strict=False))


def _bar(share: float | None, place: int) -> Html:
    width = 0.0 if share is None else 100 * min(max(share, 0.0), 1.0)
    filling = element("i", class_=f"run{place}", style=f"width: {width:.1f}%")
    return element("span", filling, class_="bar", aria_hidden="true")


def _difference(shares: Sequence[float | None]) -> Html:
    before, after = shares
    if before is None or after is None:
        return element("span", DASH)
    points = round(100 * after, 1) - round(100 * before, 1)
    kind = "up" if points > 0.05 else "down" if points < -0.05 else None
    return element("span", signed(points), class_=kind)


def _chart_figure(
    chart: Chart, sizes: Sequence[tuple[tuple[int, int], int]], **attributes: object
) -> Html:
    """Return a chart in both themes, and in each size from its screen width on."""
    sources = []
    for size, least in sizes:
        for theme in (DARK, LIGHT):
            query = f"(prefers-color-scheme: {theme.name}) and (min-width: {least}px)"
            address = uri(chart_png(chart, theme, size), "png")
            sources.append(element("source", media=query, srcset=address))
            width, height, last = *size, address
    labels = ", ".join(dict.fromkeys(line.label for line in chart.lines))
    alt = f"{chart.title} over {chart.across}: {labels}"
    image = element("img", src=last, alt=alt, width=width, height=height)
    caption = element("figcaption", element("b", chart.title), element("span", chart.note))
    return element("figure", caption, element("picture", *sources, image), **attributes)
