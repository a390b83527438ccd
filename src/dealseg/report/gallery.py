"""The examples as HTML: pictures side by side, with the legends they need."""

from collections.abc import Iterable, Sequence

from dealseg.data.base import IGNORE
from dealseg.labeling import colour_of
from dealseg.report.colours import DEPTH_MAP, SCORE_MAP
from dealseg.report.example import Example
from dealseg.report.markup import Html, element, joined
from dealseg.report.pictures import (
    STRIPES,
    Picture,
    data_uri,
    inputs,
    mask_values,
    outputs,
    ramp,
)


def gallery(examples: Sequence[Example], classes: Sequence[str]) -> Html:
    """Return all examples under one key of the colour ramps."""
    return joined([_key(examples), *(_article(example, classes) for example in examples)])


def class_legend(example: Example, classes: Sequence[str]) -> Html:
    """Return the colours of the classes in this example's masks, by name."""
    return element("ul", *_entries(mask_values(example), classes), class_="legend")


def _entries(values: Iterable[int], classes: Sequence[str]) -> Iterable[Html]:
    for value in values:
        if value == IGNORE:
            yield _entry("chip", _stripes(), "ignored")
        else:
            colour = "rgb({}, {}, {})".format(*colour_of(value))
            name = classes[value - 1] if value <= len(classes) else f"class {value}"
            yield _entry("chip", colour, name)


def _key(examples: Sequence[Example]) -> Html:
    entries = []
    views = [example.view for example in examples if example.view is not None]
    if views:
        bright = "near" if all(view.metric for view in views) else "larger (nearer)"
        entries.append(_entry("ramp", _gradient(ramp(DEPTH_MAP)), f"depth: far to {bright}"))
        entries.append(_entry("ramp", _gradient(["#000", "#fff"]), "depth edges: flat to edge"))
    if any(example.predictions for example in examples):
        entries.append(_entry("ramp", _gradient(ramp(SCORE_MAP)), "CAM score: 0 to 1"))
        entries.append(_entry("stroke", "#fff; outline: 1px solid #8888", "outline of the mask"))
    entries.append(_entry("chip", _stripes(), "not measured, not counted or ignored"))
    return element("ul", *entries, class_="legend")


def _entry(shape: str, background: str, name: str) -> Html:
    sample = element("i", class_=shape, style=f"background: {background}")
    return element("li", sample, element("span", name))


def _gradient(colours: Sequence[str]) -> str:
    return f"linear-gradient(90deg, {', '.join(colours)})"


def _stripes() -> str:
    dark, light = (f"rgb{grey}" for grey in STRIPES)
    return f"repeating-linear-gradient(135deg, {dark} 0 3px, {light} 3px 6px)"


def _article(example: Example, classes: Sequence[str]) -> Html:
    heading = [element("h3", example.name), element("span", _tag_text(example), class_="soft")]
    parts = [element("div", *heading, class_="about"), _strip(inputs(example))]
    parts += map(_strip, _in_rows(list(outputs(example))))
    parts.append(class_legend(example, classes))
    return element("article", *parts)


def _in_rows(pictures: Sequence[Picture]) -> list[Sequence[Picture]]:
    """Put CAMs and masks of up to two runs in one row, of more in a row each."""
    half = len(pictures) // 2
    rows = [pictures] if half <= 2 else [pictures[:half], pictures[half:]]
    return [row for row in rows if row]


def _tag_text(example: Example) -> str:
    if example.tags is None:
        return "no tags in the data: predicted ones are used"
    return "tags: " + (", ".join(example.tags) or "none, background only")


def _strip(pictures: Iterable[Picture]) -> Html:
    return element("div", *map(_figure, pictures), class_="strip")


def _figure(picture: Picture) -> Html:
    height, width = picture.pixels.shape[:2]
    image = element(
        "img", src=data_uri(picture), alt=picture.alt, width=width, height=height, loading="lazy"
    )
    note = element("span", f" {picture.note}") if picture.note else Html("")
    caption = element("figcaption", element("b", picture.title), note)
    return element("figure", image, caption, class_=None if picture.photo else "pixels")
