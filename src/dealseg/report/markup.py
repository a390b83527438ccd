"""HTML built from elements: every element is closed, and text is escaped unless it is `Html`."""

from collections.abc import Iterable
from html import escape

_VOID = {"img", "meta", "source"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: object) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: HTML, or plain text that is escaped here.
        attributes: `class_` and `for_` lose the underscore at the end, others become hyphens; an
            attribute that is None is left out.
    """
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{opening}>")
    return Html(f"<{name}{opening}>{joined(children)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Html:
    """Return parts in a row; those that are not HTML are escaped."""
    return Html(between.join(p if isinstance(p, Html) else escape(p) for p in parts))


def table(header: Iterable[str], rows: Iterable[Iterable[str]], **attributes: object) -> Html:
    """Return a table in a box that scrolls sideways; the first cell of a row is its heading."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    inside = element("table", element("thead", head), element("tbody", *body), **attributes)
    return element("div", inside, class_="scroll", tabindex=0)
