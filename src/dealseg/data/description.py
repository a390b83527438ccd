"""`dataset.yaml` and `depth.yaml`: class names and how depth is stored, checked key by key."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from jaxtyping import Bool, Float

from dealseg.data.base import IGNORE, DepthInfo, DepthKind
from dealseg.data.files import RawDepth, file_error, read_text, reading

FILE_NAME = "dataset.yaml"
DEPTH_FILE_NAME = "depth.yaml"
"""Beside the maps of a depth folder; takes the place of `depth:` in `dataset.yaml` for them."""

BACKGROUND = "background"
MAX_CLASSES = 254
"""Mask values are one byte, of which 0 is background and 255 is ignored."""

METRES = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "um": 1e-6}


@dataclass(frozen=True)
class DepthRule:
    """How to read the numbers of a depth file; the unit may be left to the file's type.

    Attributes:
        unit: as in `DepthInfo`; None means `mm` for integers and `m` for floats.
        scale: factor from the stored number to the unit.
        kind: as in `DepthInfo`.
    """

    unit: str | None = None
    scale: float = 1.0
    kind: DepthKind = "metric"

    @property
    def is_complete(self) -> bool:
        """Say whether the rule is the same for every number type."""
        return self.kind != "metric" or self.unit is not None

    def info(self, dtype: np.dtype) -> DepthInfo:
        """Return the rule for files of one number type."""
        if self.kind != "metric":
            return DepthInfo("1", self.scale, self.kind)
        return DepthInfo(self.unit or ("m" if dtype.kind == "f" else "mm"), self.scale, self.kind)


@dataclass(frozen=True)
class Description:
    """What `dataset.yaml` says; None where it says nothing.

    Attributes:
        file: where it was read.
        classes: foreground classes in the order of their ids.
        ids: the id of each class: 1..K for a list, the keys for a mapping.
        depth: how depth is stored.
        ignore_index: the mask value that takes no part in evaluation.
    """

    file: Path | None = None
    classes: tuple[str, ...] | None = None
    ids: tuple[int, ...] | None = None
    depth: DepthRule | None = None
    ignore_index: int = IGNORE


def depth_values(
    raw: RawDepth, info: DepthInfo
) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Return float32 depth (metres if metric, else inverse depth) and where it was measured.

    0, NaN and infinity are no measurement, nor is a negative distance. Invalid pixels hold 0.
    """
    factor = info.scale * (METRES[info.unit] if info.kind == "metric" else 1.0)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        values = (raw.astype(np.float64) * factor).astype(np.float32)
    valid = np.isfinite(values) & ((values > 0) if info.kind == "metric" else (values != 0))
    return np.where(valid, values, np.float32(0)), valid


def read_description(folder: Path) -> Description:
    """Read `dataset.yaml` of a folder; an absent file gives the defaults.

    Raises:
        DataError: if the file is not YAML, or a key or value is not as documented.
    """
    file = folder / FILE_NAME
    if not file.exists():
        if (other := folder / "dataset.yml").exists():
            raise file_error(other, f"rename this file to {FILE_NAME}")
        return Description()
    return _parse(file, _load(file))


def read_depth_rule(folder: Path) -> DepthRule | None:
    """Read `depth.yaml` of a depth folder; None where it is absent or has no `depth:`.

    Its `source:` says where the depth is from, for people and for the program that wrote it.

    Raises:
        DataError: as for `read_description`.
    """
    file = folder / DEPTH_FILE_NAME
    if not file.exists():
        return None
    data = _load(file)
    _require_keys(file, data, ("depth", "source"), "")
    return None if data.get("depth") is None else _parse_depth(file, data["depth"])


def _load(file: Path) -> Any:
    text = read_text(file)
    with reading(file, "YAML file"):
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise file_error(file, f"this is not YAML ({error})") from error
    return {} if data is None else data


def _parse(file: Path, data: Any) -> Description:
    _require_keys(file, data, ("classes", "depth", "ignore_index"), "")
    classes, ids = _parse_classes(file, data.get("classes"))
    depth = None if data.get("depth") is None else _parse_depth(file, data["depth"])
    ignore = data.get("ignore_index", IGNORE)
    if isinstance(ignore, bool) or not isinstance(ignore, int) or not 0 <= ignore <= 255:
        raise file_error(file, f"ignore_index must be a whole number from 0 to 255, got {ignore!r}")
    return Description(file, classes, ids, depth, ignore)


def _require_keys(file: Path, data: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(data, Mapping):
        what = where.removesuffix(".") or "the file"
        raise file_error(file, f"{what} must be `key: value` pairs, got {_short(data)}")
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
            best = near[0] if near else known[0]
            keys = ", ".join(known)
            raise file_error(
                file, f"unknown key {where}{_short(key)}: did you mean {best}? (known: {keys})"
            )


def _parse_classes(
    file: Path, classes: Any
) -> tuple[tuple[str, ...] | None, tuple[int, ...] | None]:
    if classes is None:
        return None, None
    if isinstance(classes, Mapping):
        pairs = list(classes.items())
    elif isinstance(classes, list):
        pairs = list(enumerate(classes, start=1))
    else:
        raise file_error(file, f"classes must be a list of names, got {_short(classes)}")
    for key, _ in pairs:
        if isinstance(key, bool) or not isinstance(key, int) or key < 1:
            raise file_error(
                file, f"ids of classes must be whole numbers from 1, got {_short(key)}"
            )
    pairs.sort()
    require_class_names(file, [name for _, name in pairs])
    return tuple(name for _, name in pairs), tuple(key for key, _ in pairs)


def require_class_names(file: Path, names: Iterable[Any]) -> None:
    """Check a list of foreground classes.

    Raises:
        DataError: if there are more than 254, or a name is no text, empty, twice there, holds a
            `;`, or is `background`.
    """
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise file_error(file, f"class names must be text: put {_short(name)} in quotes")
        if not name or name != name.strip() or ";" in name or not name.isprintable():
            raise file_error(
                file, f"{_short(name)} is no class name: no `;`, no blanks at the ends"
            )
        if name == BACKGROUND:
            raise file_error(file, "leave `background` out of classes: it is always 0")
        if name in seen:
            raise file_error(file, f"class {_short(name)} is there twice")
        seen.add(name)
    if len(seen) > MAX_CLASSES:
        raise file_error(file, f"at most {MAX_CLASSES} classes fit in a mask, got {len(seen)}")


def _parse_depth(file: Path, depth: Any) -> DepthRule:
    _require_keys(file, depth, ("unit", "scale", "kind"), "depth.")
    kind = depth.get("kind", "metric")
    if kind not in get_args(DepthKind):
        expected = ", ".join(get_args(DepthKind))
        raise file_error(file, f"depth.kind must be one of {expected}, got {_short(kind)}")
    return DepthRule(
        _unit(file, depth.get("unit"), kind), _scale(file, depth.get("scale", 1)), kind
    )


def _unit(file: Path, unit: Any, kind: DepthKind) -> str | None:
    if unit is None:
        return None
    if kind == "metric" and not (isinstance(unit, str) and unit in METRES):
        raise file_error(file, f"depth.unit must be one of {', '.join(METRES)}, got {_short(unit)}")
    if kind != "metric" and str(unit) != "1":
        raise file_error(file, f"depth of kind {kind} has no unit: leave depth.unit out")
    return str(unit)


def _scale(file: Path, scale: Any) -> float:
    try:
        number = math.nan if isinstance(scale, bool) else float(scale)  # YAML reads 1e-3 as text
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise file_error(file, f"depth.scale must be a number above 0, got {_short(scale)}")
    return number


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float) else type(value).__name__
    return repr(text[:60])
