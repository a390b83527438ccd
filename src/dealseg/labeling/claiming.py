"""A folder of masks is one call's: it is begun, gone on with, or refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dealseg.data.files import read_json
from dealseg.data.mask_set import MANIFEST, STARTED
from dealseg.errors import DataError
from dealseg.models.runs import write_text

_BEFORE = {"refine": "none", "refine_depth": None, "ignore": 0.0}
"""What masks are that were written before there were these settings."""


def claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder of masks ours, or refuse it.

    Args:
        out: new, empty, or begun with the same settings.
        settings: what `labels.json` will say of all masks.

    Raises:
        DataError: if it holds something else, or masks made with other settings.
    """
    require_ours(out, settings)
    if begun(out) is None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / STARTED, json.dumps(settings))


def require_ours(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder that :func:`claim` would refuse, without writing to it.

    Raises:
        DataError: as :func:`claim` does.
    """
    found = begun(out)
    if found is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out}: is not an empty folder; choose another --out")
        return
    found = {**_BEFORE, **found}
    changed = [key for key, value in settings.items() if found.get(key) != value]
    if changed:
        raise DataError(
            f"{out}: holds masks made with another {changed[0]} "
            f"({found.get(changed[0])!r}, now {settings[changed[0]]!r}); choose another --out"
        )


def begun(out: Path) -> dict[str, Any] | None:
    """Return the settings of the masks in a folder, finished or not; None if there are none.

    Raises:
        DataError: if they cannot be read.
    """
    for file in (out / MANIFEST, out / STARTED):
        if file.is_file():
            found = read_json(file)
            if not isinstance(found, dict):
                raise DataError(f"{file}: not written by dealseg; choose another --out")
            return found
    return None
