"""Names of exported files: one folder, no blanks, no two alike on any file system."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_LONGEST = 200
"""Bytes of a name that leave room for a suffix in the 255 that file systems allow."""


def flat_names(names: Sequence[str]) -> dict[str, str]:
    """Return a file name without folders, blanks or suffix for each name, all different.

    Folders are joined with `__`; blanks, and bytes that are no text, become `_`. Names that would
    then be the same, be it only on a file system that ignores case or the composition of letters,
    and names too long, get eight digits of the whole name's checksum, so that no name depends on
    the order of the others.
    """
    plain = {name: _plain(name) for name in names}
    count = Counter(_folded(flat) for flat in plain.values())
    found = {
        name: flat if count[_folded(flat)] == 1 and len(flat.encode()) <= _LONGEST else _own(name)
        for name, flat in plain.items()
    }
    again = Counter(_folded(flat) for flat in found.values())
    return {name: flat if again[_folded(flat)] == 1 else _own(name) for name, flat in found.items()}


def split_label(split: str | None, otherwise: str) -> str:
    """Return the name of a split as letters, digits and `_`."""
    return re.sub(r"\W+", "_", split).strip("_") or otherwise if split else otherwise


def _plain(name: str) -> str:
    joined = name.replace("\\", "__").replace("/", "__")
    return re.sub(r"[\s\x00-\x1f\x7f\"<>:|?*\ud800-\udfff]", "_", joined).lstrip(".-") or "_"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _own(name: str) -> str:
    digits = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    short = _plain(name).encode()[: _LONGEST - 9].decode(errors="ignore")
    return f"{short}-{digits}"
