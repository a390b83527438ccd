"""The masks under review as plain values: which of them are shown, and in what order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dealseg.data.review import Review
from dealseg.errors import ConfigError

STATUSES = ("all", "open", "accepted", "rejected", "edited")
ORDERS = ("uncertain", "name")


@dataclass(frozen=True)
class Entry:
    """One mask under review; its place in the list of all is its id.

    Attributes:
        name: of the image.
        confidence: how sure the mask is in [0, 1], or None if nobody said.
        tags: the data set's, empty for background only, None if it has none for this image.
    """

    name: str
    confidence: float | None = None
    tags: frozenset[str] | None = None


@dataclass(frozen=True)
class Query:
    """Which masks are shown.

    Attributes:
        status: `open` has no verdict; `edited` has edited tags.
        tag: only images with this tag, as edited; empty for all, `-` for images without any tag.
        order: `uncertain` begins with the least confident mask, those without confidence last.
    """

    status: str = "all"
    tag: str = ""
    order: str = "uncertain"

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name, known in (("status", STATUSES), ("order", ORDERS)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value[:40]!r}")


UNTAGGED = "-"
"""Stands for images without any tag in a query."""


def tags_of(entry: Entry, review: Review) -> frozenset[str] | None:
    """Return the tags as edited, else the data's; None where nobody said."""
    edited = review.tags.get(entry.name)
    return entry.tags if edited is None else frozenset(edited)


def selected(entries: Sequence[Entry], review: Review, query: Query) -> list[int]:
    """Return the ids of the masks that a query asks for, in its order."""
    found = [
        place
        for place, entry in enumerate(entries)
        if _has_status(entry, review, query.status) and _has_tag(entry, review, query.tag)
    ]
    if query.order == "uncertain":
        found.sort(key=lambda place: _doubt(entries[place]))
    return found


def _has_status(entry: Entry, review: Review, status: str) -> bool:
    if status == "all":
        return True
    if status == "edited":
        return entry.name in review.tags
    return review.verdicts.get(entry.name, "open") == status


def _has_tag(entry: Entry, review: Review, tag: str) -> bool:
    if not tag:
        return True
    tags = tags_of(entry, review)
    return not tags if tag == UNTAGGED else tag in (tags or ())


def _doubt(entry: Entry) -> float:
    return 2.0 if entry.confidence is None else entry.confidence


def find(entries: Sequence[Entry], ids: Sequence[int], text: str) -> int | None:
    """Return the first of `ids` whose name is, else begins with, else contains the text."""
    wanted = text.strip().casefold()
    names = [(place, entries[place].name.casefold()) for place in ids]
    for fits in (str.__eq__, str.startswith, str.__contains__):
        for place, name in names:
            if wanted and fits(name, wanted):
                return place
    return None


def counts(entries: Sequence[Entry], review: Review) -> dict[str, int]:
    """Return how many masks there are of each status."""
    told = [review.verdicts.get(entry.name) for entry in entries]
    accepted, rejected = told.count("accepted"), told.count("rejected")
    return {
        "all": len(entries),
        "open": len(entries) - accepted - rejected,
        "accepted": accepted,
        "rejected": rejected,
        "edited": sum(entry.name in review.tags for entry in entries),
    }


def described(place: int, entry: Entry, review: Review) -> dict[str, Any]:
    """Return what the page shows of a mask without opening it."""
    tags = tags_of(entry, review)
    return {
        "id": place,
        "name": entry.name,
        "confidence": entry.confidence,
        "verdict": review.verdicts.get(entry.name),
        "tags": None if tags is None else sorted(tags),
        "edited": entry.name in review.tags,
        "untagged": entry.tags is None,
    }
