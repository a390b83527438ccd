"""Finding the scenes of a BOP data set and reading their JSON files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dealseg.data.files import file_error, read_json, reading

SEARCH_DEPTH = 5
"""Folders between the path given and a scene: onboarding archives unpack to nested roots."""

SIDES = ("up", "down")
"""Of the object, in the names of onboarding folders."""

ONBOARDING = re.compile(rf"obj_(\d{{6}})_({'|'.join(SIDES)})")
_SENSORS = "pbr|real|synt|primesense|kinect|canon|realsense|vicon|photoneo|render_reconst"
_SPLIT = re.compile(rf"(train|val|test)(_({_SENSORS}|all|bop\d+))?|onboarding_static")
_IMAGE_FOLDERS = ("rgb", "gray")
_PRUNED = {"rgb", "gray", "depth", "depth_estimate", "mask", "mask_visib", "models", "models_eval"}


@dataclass(frozen=True)
class Instance:
    """An object in an image: its index in `scene_gt.json`, `obj_id` and visible share."""

    index: int
    obj_id: int
    visible: float


@dataclass(frozen=True)
class Scene:
    """One scene folder.

    Attributes:
        folder: holds `rgb/` or `gray/` and the JSON files.
        image_ids: keys of `scene_camera.json`, else of `scene_gt.json`, ascending; they may have
            gaps. Empty if there is neither.
        depth_scales: factor to millimetres of each image that has one.
        instances: of each image that `scene_gt.json` has.
    """

    folder: Path
    image_ids: tuple[int, ...]
    depth_scales: dict[int, float]
    instances: dict[int, tuple[Instance, ...]]

    @property
    def onboarded(self) -> int | None:
        """Return the `obj_id` of an onboarding folder, else None."""
        found = ONBOARDING.fullmatch(self.folder.name)
        return int(found[1]) if found else None

    @property
    def side(self) -> str | None:
        """Return `up` or `down` for an onboarding folder, else None."""
        found = ONBOARDING.fullmatch(self.folder.name)
        return found[2] if found else None

    @property
    def image_folder(self) -> Path:
        """Return `rgb/`, or `gray/` where there is no `rgb/`."""
        folders = [self.folder / name for name in _IMAGE_FOLDERS]
        return next((folder for folder in folders if folder.is_dir()), folders[0])


def find_scenes(path: Path) -> list[Path]:
    """Return the scene folders at or below a path, sorted.

    Raises:
        DataError: if a folder cannot be listed.
    """
    level, seen, found = [path], set[Path](), list[Path]()
    with reading(path, "folder"):
        for _ in range(SEARCH_DEPTH + 1):
            new = {folder.resolve(): folder for folder in reversed(level)}  # links may lead back
            fresh = [folder for real, folder in new.items() if real not in seen]
            seen |= new.keys()
            found += filter(_is_scene, fresh)
            level = sorted(below for folder in fresh for below in _below(folder))
    return sorted(found)


def _below(folder: Path) -> Iterator[Path]:
    if not _is_scene(folder):
        for path in folder.iterdir():
            if path.name not in _PRUNED and not path.name.startswith(".") and path.is_dir():
                yield path


def _is_scene(folder: Path) -> bool:
    has_images = any((folder / name).is_dir() for name in _IMAGE_FOLDERS)
    has_json = any(_json_file(folder, name) for name in ("scene_camera", "scene_gt"))
    return has_json or (has_images and ONBOARDING.fullmatch(folder.name) is not None)


def data_root(path: Path) -> Path:
    """Return the root of the data set that a path lies in, told by BOP's names of splits."""
    resolved = path.resolve()
    if _SPLIT.fullmatch(resolved.name):
        return resolved.parent
    if _is_scene(path) and _SPLIT.fullmatch(resolved.parent.name):
        return resolved.parent.parent
    return path


def read_scene(folder: Path) -> Scene:
    """Read the JSON files of a scene, each once.

    Raises:
        DataError: if one cannot be read or is not as the BOP format says.
    """
    cameras = _by_image(folder, "scene_camera", dict)
    instances = _instances(folder)
    file = folder / "scene_camera.json"
    with reading(file, "BOP file"):
        scales = {key: _scale(c["depth_scale"]) for key, c in cameras.items() if "depth_scale" in c}
    return Scene(folder, tuple(sorted(cameras or instances)), scales, instances)


def _instances(folder: Path) -> dict[int, tuple[Instance, ...]]:
    truth = _by_image(folder, "scene_gt", list)
    info = _by_image(folder, "scene_gt_info", list)
    found = {}
    with reading(_json_file(folder, "scene_gt") or folder, "BOP file"):
        for key, entries in truth.items():
            details = info.get(key, [{}] * len(entries))
            if len(details) != len(entries):
                problem = f"image {key} has {len(entries)} objects, in scene_gt_info {len(details)}"
                raise file_error(folder / "scene_gt.json", problem)
            found[key] = tuple(
                Instance(index, _obj_id(entry["obj_id"]), float(more.get("visib_fract", 1.0)))
                for index, (entry, more) in enumerate(zip(entries, details, strict=True))
            )
    return found


def _by_image(folder: Path, name: str, kind: type) -> dict[int, Any]:
    file = _json_file(folder, name)
    if file is None:
        return {}
    data = read_json(file)
    with reading(file, "BOP file"):
        if not isinstance(data, dict) or not all(isinstance(v, kind) for v in data.values()):
            raise file_error(file, f"expected one {kind.__name__} for each image id")
        by_image = {int(key): value for key, value in data.items()}
    if by_image and min(by_image) < 0:
        raise file_error(file, f"image ids must not be negative, got {min(by_image)}")
    return by_image


def _json_file(folder: Path, name: str) -> Path | None:
    files = (folder / f"{name}.json", folder / f"{name}.json.gz")
    return next((file for file in files if file.exists()), None)


def _obj_id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"obj_id must be a whole number, got {str(value)[:50]!r}")
    return value


def _scale(value: Any) -> float:
    scale = float(value)
    if not 0 < scale < float("inf"):
        raise ValueError(f"depth_scale must be above 0, got {str(value)[:50]!r}")
    return scale
