"""The whole page: one HTML file without scripts and without anything fetched."""

from collections.abc import Sequence
from importlib.resources import files

from dealseg.report import sections
from dealseg.report.example import Example
from dealseg.report.gallery import gallery
from dealseg.report.markup import Html, element
from dealseg.report.records import RunRecord
from dealseg.report.verdict import meaning


def page(
    runs: Sequence[RunRecord],
    examples: Sequence[Example] = (),
    *,
    title: str | None = None,
    chosen: str = "",
) -> str:
    """Return the report as HTML.

    Args:
        runs: in the order in which they are to be shown.
        examples: images with what each run makes of them.
        title: of the page; by default the runs and what they were evaluated on.
        chosen: says how the examples were chosen, or why there are none.
    """
    title = title or default_title(runs)
    classes = runs[0].facts.classes
    chapters = [
        ("Results", [*sections.results(runs), *sections.notes(runs)]),
        ("Examples", [element("p", chosen, class_="soft"), *_gallery(examples, classes)]),
        ("Classes", sections.per_class(runs)),
        ("Thresholds", sections.thresholds(runs)),
        ("Training", sections.training(runs)),
        ("What the numbers mean", [element("p", text) for text in meaning(runs)]),
        ("Configuration", sections.configuration(runs)),
        ("Environment", sections.environment(runs)),
    ]
    filled = [(name, parts) for name, parts in chapters if parts]
    header = element("header", *sections.opening(runs, title), _contents([n for n, _ in filled]))
    body = element("main", header, *(_chapter(*chapter) for chapter in filled), _footer())
    whole = element("html", _head(runs, title), element("body", body), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def default_title(runs: Sequence[RunRecord]) -> str:
    """Name the runs, few of them each, and what they were evaluated on if that is one thing."""
    labels = [run.label for run in runs]
    shown = " and ".join(labels) if len(labels) <= 2 else f"{len(labels)} runs"
    subjects = {(r.evaluation.dataset, r.evaluation.split) for r in runs if r.evaluation}
    if len(subjects) != 1:
        return shown
    dataset, split = subjects.pop()
    return f"{shown} on {dataset.rstrip('/').rsplit('/', 1)[-1]}, split {split}"


def _head(runs: Sequence[RunRecord], title: str) -> Html:
    style = files("dealseg.report").joinpath("style.css").read_text(encoding="utf-8")
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(style + sections.run_colours(runs))),
    )


def _gallery(examples: Sequence[Example], classes: Sequence[str]) -> list[Html]:
    return [gallery(examples, classes)] if examples else []


def _contents(names: Sequence[str]) -> Html:
    return element("nav", *(element("a", name, href=f"#{_anchor(name)}") for name in names))


def _chapter(name: str, parts: Sequence[Html]) -> Html:
    return element("section", element("h2", name), *parts, id=_anchor(name))


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _footer() -> Html:
    return element("footer", element("p", "Everything on this page is in this one file."))
