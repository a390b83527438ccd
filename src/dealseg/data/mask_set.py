"""A folder of finished masks, `masks/NAME.png`, with what `labels.json` says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import UInt8
from torch import Tensor

from dealseg.data.base import IGNORE
from dealseg.data.description import read_description, require_class_names
from dealseg.data.files import file_error, index_files, read_json
from dealseg.data.masks import LabelFile
from dealseg.data.opening import Format
from dealseg.errors import ConfigError

_FORMATS: tuple[Format, ...] = get_args(Format)

MANIFEST = "labels.json"
STARTED = ".labels.part.json"
"""What `dealseg label` keeps beside the masks until all are there."""


@dataclass(frozen=True)
class MaskSet:
    """Finished masks with their classes; each is read when it is asked for.

    Attributes:
        root: the folder.
        files: the PNG of each image, by the image's name.
        classes: foreground classes; class `k` has the value `k + 1` in a mask.
        class_ids: the data set's own id of each class where it has one, else None.
        data_root: the data set the masks were made for, if known.
        split: the named part of it; None for all of it, or if unknown.
        facts: all that `labels.json` says.
        ignore_index: the value in the files that is read as 255.
    """

    root: Path
    files: Mapping[str, Path]
    classes: tuple[str, ...]
    class_ids: tuple[int, ...] | None = None
    data_root: Path | None = None
    split: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    ignore_index: int = IGNORE

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the images, sorted by their paths."""
        return tuple(self.files)

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.files)

    def path(self, name: str) -> Path:
        """Return the PNG of an image.

        Raises:
            DataError: if there is none.
        """
        if name not in self.files:
            raise file_error(self.root, f"there is no mask of {name[:80]!r}")
        return self.files[name]

    def mask(self, name: str) -> UInt8[Tensor, "h w"]:
        """Return the classes of an image: 0 background, 1 to K, 255 ignored.

        Raises:
            DataError: if there is no such mask, or it is damaged or has other values.
        """
        file = LabelFile(self.path(name), self.ignore_index)
        return torch.from_numpy(file.read(None, len(self.classes)))

    def confidence(self, name: str) -> float | None:
        """Return how sure the mask is in [0, 1], as `labels.json` says, or None."""
        value = self.facts.get("masks", {}).get(name, {}).get("confidence")
        return None if value is None else float(value)


def open_masks(root: str | Path, classes: tuple[str, ...] | None = None) -> MaskSet:
    """List the masks that `dealseg label` wrote, or any folder of indexed PNG files.

    Args:
        root: holds `masks/NAME.png` or `NAME.png`; and `labels.json` or `dataset.yaml` if it has
            one.
        classes: foreground classes in the order of the mask values, for a folder that has neither
            file; of a folder that has, they must be the same.

    Raises:
        DataError: if there is no mask, labelling is not finished, or what the folder says of its
            masks is wrong.
        ConfigError: if nobody says the classes.
    """
    root = Path(root)
    files = index_masks(root)
    facts = read_manifest(root)
    if not facts and (root / STARTED).is_file():
        raise file_error(root, "labelling was interrupted; call the same dealseg label again")
    if facts:
        said = tuple(facts.get("classes", ())) or None
        return _described(root, files, facts, _agreed(root / MANIFEST, said, classes))
    description = read_description(root)
    told = _agreed(description.file or root, description.classes, classes)
    return MaskSet(root, files, told, ignore_index=description.ignore_index)


def index_masks(root: Path) -> dict[str, Path]:
    """Return the PNG files in `masks/` of a folder, else in itself, by their names.

    Raises:
        DataError: if there are none.
    """
    if not root.exists():
        raise file_error(root, "there is no such folder")
    folder = root / "masks" if (root / "masks").is_dir() else root
    files = index_files(folder, [".png"])
    if not files:
        raise file_error(folder, "there are no masks here; expected NAME.png for each image")
    return files


def read_manifest(root: Path) -> dict[str, Any]:
    """Return what `labels.json` says; nothing if it is not there.

    Raises:
        DataError: if it is not as `dealseg label` writes it.
    """
    file = root / MANIFEST
    if not file.is_file():
        return {}
    manifest = read_json(file)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("classes", []), list):
        raise file_error(file, "expected an object with a list `classes`; label again")
    if not isinstance(manifest.get("threshold", 0.0), int | float):
        raise file_error(file, f"`threshold` must be a number, got {manifest['threshold']!r}")
    _require_confidences(file, manifest.get("masks", {}))
    return manifest


def recorded_format(facts: Mapping[str, Any], data: Path) -> Format:
    """Return the layout of a data set as `labels.json` says it, else `auto`.

    Args:
        facts: what it says; older ones do not say the layout.
        data: the data set; of another one than the masks were made for nothing is known.
    """
    root = Path(str(facts.get("data")))
    if data.resolve() not in (root, *root.parents):  # the root may lie below, as that of VOC
        return "auto"
    return next((known for known in _FORMATS if known == facts.get("data_format")), "auto")


def _require_confidences(file: Path, masks: Any) -> None:
    if not isinstance(masks, dict):
        raise file_error(file, "`masks` must say something of each name; label again")
    for name, entry in masks.items():
        if not isinstance(entry, dict):
            got = f"got {str(entry)[:40]}; label again"
            raise file_error(file, f"`masks`: expected an object for {name[:60]!r}, {got}")
        value = entry.get("confidence", 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            problem = f"the confidence of {name[:60]!r} must be in [0, 1], got {str(value)[:40]}"
            raise file_error(file, problem)


def _agreed(
    file: Path, said: tuple[str, ...] | None, given: tuple[str, ...] | None
) -> tuple[str, ...]:
    if said and given and said != given:
        raise file_error(file, f"says the classes are {list(said)}, not {list(given)}")
    classes = said or given
    if not classes:
        raise ConfigError(
            f"{file}: nothing here says what the mask values mean; give the class names in their "
            "order (--class-names cup,plate)"
        )
    require_class_names(file, classes)
    return classes


def _described(
    root: Path, files: Mapping[str, Path], facts: Mapping[str, Any], classes: tuple[str, ...]
) -> MaskSet:
    data, split = facts.get("data"), facts.get("split")
    return MaskSet(
        root,
        files,
        classes,
        _class_ids(root / MANIFEST, facts.get("class_ids"), len(classes)),
        data_root=Path(data) if isinstance(data, str) else None,
        split=split if isinstance(split, str) and split != "all" else None,
        facts=facts,
    )


def _class_ids(file: Path, said: Any, classes: int) -> tuple[int, ...] | None:
    """Return the ids of the values 1 to K from `{"1": 18, ...}`."""
    if said is None:
        return None
    expected = [str(value) for value in range(1, classes + 1)]
    ids = [said.get(value) for value in expected] if isinstance(said, dict) else []
    whole = [i for i in ids if isinstance(i, int) and not isinstance(i, bool)]
    if len(whole) < classes or len(said) > classes or len(set(whole)) < classes:
        raise file_error(file, "`class_ids` must give each mask value an id of its own")
    return tuple(whole)
