"""Splits of recordings that come without any: by side of the object, or by stretches of frames."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

_GRAMMAR = re.compile(r"(?:(side):(train|val)|(frames):(train|val)(?::([1-9]\d{0,3}))?)")
_SIDES = {"train": "up", "val": "down"}

FORMS = "side:train, side:val, frames:train, frames:val, frames:train:N or frames:val:N"
"""What a split protocol may look like, for messages."""

PARTS = 5
"""One part in so many of a sequence is held out."""

T = TypeVar("T")


@dataclass(frozen=True)
class Protocol:
    """A rule that tells training from validation images in onboarding sequences.

    Our own: the split behind the paper's HOPE table is not known (`docs/data.md` says more).

    Attributes:
        name: `side` (up is train, down is val) or `frames`.
        part: `train` or `val`.
        stretches: for `frames`, runs of consecutive frames held out in each sequence.
    """

    name: str
    part: str
    stretches: int = 1

    @property
    def side(self) -> str | None:
        """Return the side of the object that the part is, `up` or `down`; None for `frames`."""
        return _SIDES[self.part] if self.name == "side" else None

    def kept(self, sequence: Sequence[T]) -> list[T]:
        """Return the frames of a sequence, in their order, that belong to the part.

        For `frames` the sequence is cut into PARTS * stretches equal parts; the middle one of every
        PARTS is validation. A sequence of fewer frames may have none for it.
        """
        if self.name == "side":
            return list(sequence)
        wanted = self.part == "val"
        places = range(len(sequence))
        return [sequence[i] for i in places if self._held_out(i, len(sequence)) == wanted]

    def _held_out(self, position: int, count: int) -> bool:
        return position * PARTS * self.stretches // count % PARTS == PARTS // 2


def parse_protocol(split: str | None) -> Protocol | None:
    """Return the protocol that the name of a split stands for, or None if it is another name."""
    found = _GRAMMAR.fullmatch(split or "")
    if found is None:
        return None
    side, side_part, frames, frames_part, stretches = found.groups()
    return Protocol(side or frames, side_part or frames_part, int(stretches or 1))
