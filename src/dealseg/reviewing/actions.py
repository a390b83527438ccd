"""What a person can do to a mask, as plain values, and what becomes of the review."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from dealseg.data.review import Review, Verdict
from dealseg.errors import ConfigError
from dealseg.reviewing.entries import Entry, tags_of


@dataclass(frozen=True)
class Judge:
    """Accept or reject the mask, or open it again (None)."""

    verdict: Verdict | None


@dataclass(frozen=True)
class Toggle:
    """Say that a class is in the image, or that it is not; other tags stay as they are."""

    tag: str
    present: bool


@dataclass(frozen=True)
class SetTags:
    """Say all tags of the image, or go back to the data's (None)."""

    tags: tuple[str, ...] | None


Action = Judge | Toggle | SetTags


def applied(
    review: Review, entry: Entry, action: Action, in_mask: Callable[[], Iterable[str]]
) -> Review:
    """Return the review after an action on one mask; entries of other images are not touched.

    Tags that end as the data set has them are no edit.

    Args:
        review: before.
        entry: the mask.
        action: what was done.
        in_mask: gives the classes in the mask, from which the first tag of an image goes out that
            has none; called only then.
    """
    if isinstance(action, Judge):
        return replace(review, verdicts=_with(review.verdicts, entry.name, action.verdict))
    if isinstance(action, SetTags):
        tags = None if action.tags is None else frozenset(action.tags)
    else:
        known = tags_of(entry, review)
        before = frozenset(in_mask()) if known is None else known
        tags = before | {action.tag} if action.present else before - {action.tag}
    edited = None if tags is None or tags == entry.tags else tuple(sorted(tags))
    return replace(review, tags=_with(review.tags, entry.name, edited))


def parse_action(content: Any, classes: Sequence[str]) -> Action:
    """Read an action from what the page sends.

    Raises:
        ConfigError: if it is not one.
    """
    if isinstance(content, dict):
        if set(content) == {"verdict"} and content["verdict"] in (*get_args(Verdict), None):
            return Judge(content["verdict"])
        if set(content) == {"tag", "present"} and isinstance(content["present"], bool):
            return Toggle(_class(content["tag"], classes), content["present"])
        if set(content) == {"tags"} and isinstance(content["tags"], list | None):
            tags = content["tags"]
            return SetTags(None if tags is None else tuple(_class(t, classes) for t in tags))
    raise ConfigError("expected a verdict, a tag with present, or tags")


def _class(tag: Any, classes: Sequence[str]) -> str:
    if not isinstance(tag, str) or tag not in classes:
        raise ConfigError(
            f"{str(tag)[:40]!r} is not one of the classes: {', '.join(classes)[:200]}"
        )
    return tag


def _with(entries: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    rest = {each: held for each, held in entries.items() if each != name}
    return rest if value is None else {**rest, name: value}
