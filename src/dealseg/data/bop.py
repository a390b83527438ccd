"""The `bop` format: scenes, and `onboarding_static/obj_XXXXXX_{up,down}` with one object each.

Written from the BOP format document (docs/bop_datasets_format.md of bop_toolkit).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from dealseg.data.description import (
    FILE_NAME,
    MAX_CLASSES,
    DepthRule,
    Description,
    read_depth_rule,
    read_description,
)
from dealseg.data.files import (
    DEPTH_SUFFIXES,
    IMAGE_SUFFIXES,
    Complain,
    FileError,
    absent,
    fail,
    file_error,
    index_files,
    read_text,
)
from dealseg.data.folder import WITHOUT_DEPTH, split_file
from dealseg.data.frames import Frame, FrameDataset
from dealseg.data.held_out import FORMS, Protocol, parse_protocol
from dealseg.data.masks import InstanceMasks
from dealseg.data.scenes import (
    ONBOARDING,
    Instance,
    Scene,
    data_root,
    find_scenes,
    read_scene,
)

_IMAGE_SUFFIXES = (*IMAGE_SUFFIXES, ".tif", ".tiff")


def open_bop(
    path: Path,
    *,
    split: str | None = None,
    depth_folder: str = "depth",
    min_visible: float = 0.1,
    complain: Complain = fail,
) -> FrameDataset:
    """List a data set in `bop` format; no picture is opened.

    Args:
        path: a root, a split, a scene, or a folder some levels above them.
        split: beginning of the name of the split folders, `up` or `down` for onboarding folders,
            a protocol such as `side:val` or `frames:train` (see :mod:`dealseg.data.held_out`), or
            `NAME` of `splits/NAME.txt`; None for all.
        depth_folder: the folder of the depth files in each scene.
        min_visible: objects of which a smaller share is visible give no tag.
        complain: told of every mistake that does not stop the listing.

    Raises:
        DataError: if no scene is found, or a JSON file or the split is not as documented.
    """
    folders = find_scenes(path)
    if not folders:
        raise absent(path, "there is no scene here (a folder with scene_camera.json and rgb/)")
    scenes = [scene for folder in folders if (scene := _lenient_scene(folder, complain))]
    description = _find_description(path)
    classes = _Classes(path, scenes, description, complain)
    file = None if split is None else split_file(path, split)
    protocol = None if file else parse_protocol(split)
    chosen = scenes if split is None or file else _choose(path, scenes, split, protocol)
    frames: list[Frame] = []
    for scene in chosen:
        found = list(_frames(path, scene, classes, depth_folder, min_visible, complain))
        frames += protocol.kept(found) if protocol else found
    if file:
        frames = _listed(file, frames, complain)
    if not frames and protocol:
        raise absent(path, f"the sequences here are too short for split {split!r}")
    if not frames:
        raise file_error(path, "the scenes here list no image")
    if depth_folder != "depth" and not any(frame.depth for frame in frames):
        raise absent(path, f"no scene has a depth file in {depth_folder}/; {WITHOUT_DEPTH}")
    return FrameDataset(path, classes.names, tuple(frames), class_ids=classes.ids)


def bop_training_split(path: Path) -> str | None:
    """Return `train` where there are folders of that split, else None: all images.

    Raises:
        DataError: if onboarding sequences lie beside them, as in the whole of HOPE.
    """
    scenes = find_scenes(path)
    parts = {part for scene in scenes for part in scene.relative_to(path).parts[:-1]}
    train = sorted(part for part in parts if part.startswith("train"))
    if train and any(ONBOARDING.fullmatch(scene.name) for scene in scenes):
        problem = (
            f"holds onboarding sequences and {train[0]}/; say which to train on with "
            "--data.split: onboarding (or frames:train, side:train) or train"
        )
        raise file_error(path, problem)
    return "train" if train else None


def _lenient_scene(folder: Path, complain: Complain) -> Scene | None:
    try:
        return read_scene(folder)
    except FileError as error:
        complain(error)
        return None


def _find_description(path: Path) -> Description:
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents[:3]):
        if (folder / FILE_NAME).exists():
            return read_description(folder)
    return Description()


class _Classes:
    """Names of the classes, their `obj_id`, and the mask value of each of these."""

    def __init__(
        self, path: Path, scenes: list[Scene], description: Description, complain: Complain
    ):
        if description.classes is not None and description.ids is not None:
            self.names, ids = description.classes, description.ids
        else:
            ids = tuple(sorted(_all_ids(path, scenes, complain)))
            self.names = tuple(f"obj_{obj_id:06d}" for obj_id in ids)
        if len(ids) > MAX_CLASSES:
            raise file_error(path, f"at most {MAX_CLASSES} objects fit in a mask, got {len(ids)}")
        self.ids = ids
        self.depth = description.depth
        self.value = {obj_id: value for value, obj_id in enumerate(ids, start=1)}
        for scene in scenes:
            for unknown in sorted(_ids(scene) - set(ids)):
                problem = f"obj_id {unknown} is not in the classes of {description.file}; name it"
                complain(file_error(scene.folder, problem))

    def known(self, instances: Iterable[Instance]) -> list[Instance]:
        """Return the instances that are of a class."""
        return [instance for instance in instances if instance.obj_id in self.value]

    def names_of(self, obj_ids: Iterable[int]) -> frozenset[str]:
        """Return the names of those objects that are of a class."""
        return frozenset(self.names[self.value[i] - 1] for i in obj_ids if i in self.value)


def _ids(scene: Scene) -> set[int]:
    shown = {i.obj_id for instances in scene.instances.values() for i in instances}
    return shown if scene.onboarded is None else shown | {scene.onboarded}


def _all_ids(path: Path, scenes: list[Scene], complain: Complain) -> set[int]:
    inside = {scene.folder.resolve() for scene in scenes}
    root = data_root(path)
    beside = [] if root == path else [f for f in find_scenes(root) if f.resolve() not in inside]
    others = (_lenient_scene(folder, complain) for folder in beside)
    return {obj_id for scene in (*scenes, *others) if scene for obj_id in _ids(scene)}


def _choose(path: Path, scenes: list[Scene], split: str, protocol: Protocol | None) -> list[Scene]:
    if protocol and protocol.name == "frames":
        return [scene for scene in scenes if scene.onboarded is not None] or scenes
    side = protocol.side if protocol else split
    if chosen := [scene for scene in scenes if scene.side == side]:
        return chosen
    if protocol:
        raise absent(path, f"split {split!r} needs folders obj_XXXXXX_{side}, there are none")
    parts = {scene.folder: scene.folder.relative_to(path).parts[:-1] for scene in scenes}
    chosen = [s for s in scenes if any(p.startswith(split) for p in parts[s.folder])]
    if not chosen:
        sides = {scene.side for scene in scenes if scene.side}
        known = sorted({p[-1] for p in parts.values() if p} | sides)
        there = f"there are: {', '.join(known)}" if known else f"write splits/{split}.txt"
        there = f"protocols are {FORMS}" if ":" in split else there
        raise absent(path, f"there is no split {split!r}; {there}")
    return chosen


def _frames(
    path: Path,
    scene: Scene,
    classes: _Classes,
    depth_folder: str,
    min_visible: float,
    complain: Complain,
) -> Iterator[Frame]:
    images = _by_id(index_files(scene.image_folder, _IMAGE_SUFFIXES, complain))
    depths = _by_id(index_files(scene.folder / depth_folder, DEPTH_SUFFIXES, complain))
    rule = read_depth_rule(scene.folder / depth_folder) or classes.depth
    where = scene.folder.relative_to(path)
    for image_id in scene.image_ids or sorted(images):
        if image_id not in images:
            problem = f"there is no image {image_id:06d}, which the scene's JSON files list"
            complain(file_error(scene.image_folder, problem))
            continue
        depth = depths.get(image_id)
        if depth and not rule and image_id not in scene.depth_scales:
            problem = f"image {image_id} has no depth_scale; add it, or `depth:` to dataset.yaml"
            complain(file_error(scene.folder / "scene_camera.json", problem))
        yield Frame(
            name=(where / f"{image_id:06d}").as_posix(),
            image=images[image_id],
            tags=_tags(scene, image_id, classes, min_visible),
            depth=depth,
            depth_rule=rule or DepthRule("mm", scene.depth_scales.get(image_id, 1.0)),
            mask=_mask(scene, image_id, classes),
            home=scene.folder,
        )


def _by_id(files: dict[str, Path]) -> dict[int, Path]:
    return {int(name): file for name, file in files.items() if name.isascii() and name.isdigit()}


def _tags(
    scene: Scene, image_id: int, classes: _Classes, min_visible: float
) -> frozenset[str] | None:
    if scene.onboarded is not None:
        return classes.names_of([scene.onboarded])
    if image_id not in scene.instances:
        return None
    seen = (i.obj_id for i in scene.instances[image_id] if i.visible >= min_visible)
    return classes.names_of(seen)


def _mask(scene: Scene, image_id: int, classes: _Classes) -> InstanceMasks | None:
    default = () if scene.onboarded is None else (Instance(0, scene.onboarded, 1.0),)
    instances = scene.instances.get(image_id, default)
    folder = scene.folder / "mask_visib"
    if (image_id not in scene.instances and not default) or not folder.is_dir():
        return None
    shown = classes.known(i for i in instances if i.visible > 0)
    return InstanceMasks(folder, image_id, tuple((i.index, classes.value[i.obj_id]) for i in shown))


def _listed(file: Path, frames: list[Frame], complain: Complain) -> list[Frame]:
    lines = [line.strip().rstrip("/") for line in read_text(file).splitlines() if line.strip()]
    wanted = dict.fromkeys(lines, False)
    chosen = []
    for frame in frames:
        parts = frame.name.split("/")
        prefixes = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        if hits := [prefix for prefix in prefixes if prefix in wanted]:
            wanted.update(dict.fromkeys(hits, True))
            chosen.append(frame)
    for line, found in wanted.items():
        if not found:
            complain(file_error(file, f"there is no image or scene {line[:80]!r}"))
    return chosen
