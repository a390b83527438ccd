"""What a person decided about masks: `review.json`, and a data set seen through it."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from dealseg.data.base import RgbdDataset
from dealseg.data.files import file_error, reading
from dealseg.data.seen_through import SeenThrough

Verdict = Literal["accepted", "rejected"]

REVIEW_FILE = "review.json"
"""Its name in a folder of masks."""

_FORMAT, _VERSION = "dealseg-review", 1
_MEND = "mend it, or move it away to begin anew"


@dataclass(frozen=True)
class Review:
    """Verdicts on masks and corrections of tags, by the names of images.

    A verdict is on the mask alone: a rejected mask does not mean that the image's tags are wrong.

    Attributes:
        verdicts: of the masks that were judged; the others are open.
        tags: of the images whose tags were edited, all of them; none means background only.
        file: where it was read, for messages.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: Path | None = field(default=None, compare=False)

    @property
    def rejected(self) -> frozenset[str]:
        """The images whose masks were rejected."""
        return frozenset(name for name, each in self.verdicts.items() if each == "rejected")

    @property
    def tags_sha256(self) -> str:
        """A checksum of the edited tags alone, whatever their order and the verdicts."""
        told = json.dumps({name: sorted(self.tags[name]) for name in sorted(self.tags)})
        return hashlib.sha256(told.encode()).hexdigest()


def read_review(path: Path) -> Review:
    """Read a `review.json`.

    Raises:
        DataError: if it is not there, or anything in it is not as `write_review` writes it.
    """
    with reading(path, "review"):
        text = path.read_bytes().decode("utf-8-sig")
        content = json.loads(text, object_pairs_hook=lambda pairs: _unique(path, pairs))
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise file_error(path, f"not a review of dealseg (no format {_FORMAT!r}); {_MEND}")
    if content.get("version") != _VERSION:
        got = f"version {content.get('version')!r}, this dealseg reads {_VERSION}"
        raise file_error(path, f"{got}; read it with the dealseg that wrote it")
    if unknown := sorted(set(content) - {"format", "version", "verdicts", "tags"}):
        raise file_error(path, f"unknown entry {unknown[0]!r}; {_MEND}")
    verdicts, tags = (_entries(path, content, key) for key in ("verdicts", "tags"))
    return Review(
        {name: _verdict(path, name, value) for name, value in verdicts.items()},
        {name: _tags(path, name, value) for name, value in tags.items()},
        path,
    )


def write_review(path: Path, review: Review) -> None:
    """Write a review with sorted keys, so that it is either the old file or the new one."""
    tags = {name: sorted(value) for name, value in review.tags.items()}
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "verdicts": dict(review.verdicts),
        "tags": tags,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class Reviewed(SeenThrough):
    """An `RgbdDataset` like another one, with the tags as edited in a review.

    Attributes:
        edited: how many of its images have edited tags.
        edited_tags: checksum of those tags, None if there are none: whoever uses the tags records
            it, and sees a change of them, but not of verdicts or of images elsewhere.
        left_out: how many of its images were rejected and left out.
    """

    def __init__(self, dataset: RgbdDataset, review: Review, *, without_rejected: bool = False):
        """See the data set through the review.

        Args:
            dataset: not changed.
            review: may name images that are not in this part of the data.
            without_rejected: leave out images whose masks were rejected; for what uses the masks.

        Raises:
            DataError: if an edited tag of one of the images is not a class of the data set.
        """
        away = review.rejected if without_rejected else frozenset()
        super().__init__(dataset, [i for i, name in enumerate(dataset.names) if name not in away])
        self._tags = review.tags
        _require_known(dataset, review)
        edited = {name: review.tags[name] for name in self.names if name in review.tags}
        self.edited = len(edited)
        self.edited_tags = Review(tags=edited).tags_sha256 if edited else None
        self.left_out = len(dataset) - len(self._places)

    def tags(self, index: int) -> Float[Tensor, " k"] | None:
        """Return the edited tags if there are any, else the data's; None where nobody said."""
        edited = self._tags.get(self.names[index])
        if edited is None:
            return super().tags(index)
        return torch.tensor([float(name in edited) for name in self.classes])


def _require_known(dataset: RgbdDataset, review: Review) -> None:
    for name in dataset.names:
        for tag in review.tags.get(name, ()):
            if tag not in dataset.classes:
                where = f"tag {tag!r} of image {name!r} is not a class of {dataset.root}"
                known = ", ".join(dataset.classes)[:200]
                raise file_error(review.file or Path(REVIEW_FILE), f"{where}: {known}")


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice, of which JSON would silently take the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise file_error(path, f"{key!r} is there twice; {_MEND}")
        found[key] = value
    return found


def _entries(path: Path, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    entries = content.get(key, {})
    if not isinstance(entries, dict):
        raise file_error(path, f"{key}: expected entries by image, got {_shown(entries)}; {_MEND}")
    return entries


def _verdict(path: Path, name: str, value: Any) -> Verdict:
    for known in get_args(Verdict):
        if value == known:
            return known  # type: ignore[no-any-return]
    expected = " or ".join(get_args(Verdict))
    problem = f"verdict of image {name!r}: expected {expected}, got {_shown(value)}; {_MEND}"
    raise file_error(path, problem)


def _tags(path: Path, name: str, value: Any) -> tuple[str, ...]:
    texts = isinstance(value, list) and all(isinstance(tag, str) and tag for tag in value)
    if not texts or len(set(value)) < len(value):
        expected = "expected a list of different class names"
        raise file_error(path, f"tags of image {name!r}: {expected}, got {_shown(value)}; {_MEND}")
    return tuple(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
