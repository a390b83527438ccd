"""Whose a depth folder is: nobody's, this estimate's, or another's, which is never touched."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dealseg.data.base import DepthInfo
from dealseg.data.description import DEPTH_FILE_NAME
from dealseg.data.files import read_text, reading
from dealseg.errors import ConfigError, DataError
from dealseg.models.runs import write_text

_COMPARED = ("weights_sha256", "long_side")
_PROGRAM = "dealseg depth"


def require_plain_name(folder: str) -> None:
    """Raise ConfigError unless a depth folder is one plain folder name."""
    if folder != Path(folder).name or folder.startswith(".") or not folder:
        raise ConfigError(
            f"depth_folder must be the name of a folder in the data set, got {folder!r}"
        )


def require_ours_or_empty(folders: Iterable[Path]) -> None:
    """Check that every folder is absent, empty, or one that this program wrote.

    Raises:
        DataError: if one holds something else; a sensor's depth is never written over.
    """
    for folder in folders:
        ours = _source(folder) is not None or not folder.exists()
        if not ours and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                f"{folder}: holds something that dealseg depth did not write; "
                "choose another --depth-folder"
            )


def claim(folders: Iterable[Path], info: DepthInfo, source: Mapping[str, Any]) -> None:
    """Write `depth.yaml` into every folder, before any map: its numbers must never be misread.

    Raises:
        DataError: if a folder holds something else, or maps made otherwise; nothing is written.
    """
    folders = list(folders)
    require_ours_or_empty(folders)
    depth: dict[str, Any] = {"kind": info.kind, "scale": info.scale}
    if info.kind == "metric":
        depth["unit"] = info.unit
    for folder in folders:
        _require_same(folder, depth, source)
    content = {"depth": depth, "source": {"program": _PROGRAM, **source}}
    for folder in folders:
        if _source(folder) is None:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / DEPTH_FILE_NAME, yaml.safe_dump(content, sort_keys=False))


def _require_same(folder: Path, depth: Mapping[str, Any], source: Mapping[str, Any]) -> None:
    found = _source(folder)
    if found is None:
        return
    now = {**depth, **{key: source[key] for key in _COMPARED}}
    before = {**found["depth"], **found["source"]}
    for key, value in now.items():
        if before.get(key) != value:
            raise DataError(
                f"{folder}: holds depth made with another {key} ({before.get(key)!r}, now "
                f"{value!r}); choose another --depth-folder, or remove this one"
            )


def _source(folder: Path) -> dict[str, Any] | None:
    """Return what `depth.yaml` says if this program wrote it, else None."""
    file = folder / DEPTH_FILE_NAME
    if not file.is_file():
        return None
    text = read_text(file)
    with reading(file, "YAML file"):
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            return None
    parts = [found.get(key) for key in ("depth", "source")] if isinstance(found, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        return None
    return found if found["source"].get("program") == _PROGRAM else None
