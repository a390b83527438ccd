"""Tags of PASCAL VOC images: `cls_labels.npy`, the objects of the XML files, or the masks."""

import pickle
import pickletools
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from xml.etree import ElementTree as ET

import numpy as np
from tqdm import tqdm

from dealseg.data.files import Complain, FileError, absent, file_error, image_size, reading
from dealseg.data.masks import MaskSource
from dealseg.errors import ConfigError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The 20 classes in the order of their values in masks, 1 to 20."""

TagsFrom = Literal["auto", "cls_labels", "xml", "masks"]
CLS_LABELS = "cls_labels.npy"
ANNOTATIONS = "Annotations"
_PARTS = {"head", "hand", "foot"}
"""Parts of persons; VOC's XML files name them beside the 20 classes."""

Tags = dict[str, frozenset[str]]
T = TypeVar("T")


def tag_origin(root: Path, wanted: TagsFrom) -> TagsFrom:
    """Return where the tags of a VOC set come from: as wanted, or the first source there is.

    The order of `auto`: `cls_labels.npy`, since published figures are made with it; the XML files,
    where people wrote down what is in an image; the masks last, since they are the ground truth.

    Raises:
        ConfigError: if `wanted` is no source.
        DataError: if the wanted source is not there.
    """
    if wanted not in get_args(TagsFrom):
        known = ", ".join(get_args(TagsFrom))
        raise ConfigError(f"tags_from must be one of {known}, got {wanted!r}")
    if wanted == "auto":
        if _cls_labels(root).exists():
            return "cls_labels"
        return "xml" if (root / ANNOTATIONS).is_dir() else "masks"
    if wanted == "cls_labels" and not _cls_labels(root).exists():
        raise absent(root / CLS_LABELS, "there is no such file; take tags_from xml or masks")
    if wanted == "xml" and not (root / ANNOTATIONS).is_dir():
        raise absent(root / ANNOTATIONS, "there is no such folder; take tags_from masks")
    return wanted


def find_voc_tags(
    root: Path,
    origin: TagsFrom,
    images: Mapping[str, Path],
    masks: Mapping[str, MaskSource],
    complain: Complain,
) -> Tags:
    """Return the tags of those images that have some.

    Args:
        root: of the data set, `VOC2012`.
        origin: from `tag_origin`.
        images: the images asked for.
        masks: ground truth of images.
        complain: told of every file that cannot be read.
    """
    if origin == "cls_labels":
        return _from_cls_labels(_cls_labels(root), images)
    if origin == "xml":
        return _from_xml(root / ANNOTATIONS, images, complain)
    return _from_masks(images, masks, complain)


def _cls_labels(root: Path) -> Path:
    beside = (root / CLS_LABELS, root / "ImageSets/Segmentation" / CLS_LABELS)
    return next((file for file in beside if file.exists()), beside[0])


def _from_cls_labels(file: Path, names: Collection[str]) -> Tags:
    stored = read_cls_labels(file)
    return {name: stored[key] for name in names if (key := name.replace("_", "")) in stored}


def read_cls_labels(file: Path) -> Tags:
    """Read the field's table of tags: a NumPy file that holds a pickled dictionary.

    Keys are image ids as text, with or without `_`, or as numbers (2007_000032 is 2007000032);
    values are 20 numbers, 1 where the class is there. The pickle may make arrays and numbers only:
    anything else in it is refused, not run.

    Returns:
        Tags by image id without `_`.

    Raises:
        DataError: if the file is damaged or holds something else.
    """
    with reading(file, "table of tags"):
        table = _unpickled(file)
        if not isinstance(table, Mapping):
            raise file_error(file, f"expected a dictionary of image ids, got {type(table)}")
        return {_key(file, key): _row(file, key, row) for key, row in table.items()}


def _unpickled(file: Path) -> Any:
    with file.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if shape != () or dtype != np.dtype(object):
            raise file_error(file, f"expected a pickled dictionary, got {shape} of {dtype}")
        data = stream.read()
        for code, argument, _ in pickletools.genops(data):
            if code.name == "LONG_BINPUT" and int(argument or 0) > len(
                data
            ):  # would reserve that much
                raise file_error(file, f"cannot read this table of tags (place {argument})")
        try:
            return _Arrays(BytesIO(data)).load().item()
        except pickle.UnpicklingError as error:
            raise file_error(file, f"cannot read this table of tags ({error})") from error


class _Arrays(pickle.Unpickler):
    """Unpickles NumPy arrays and Python's own containers; refuses everything that could act."""

    _MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    _NAMES = ("ndarray", "dtype", "_reconstruct", "scalar")

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few functions that arrays are made of."""
        if (module, name) == ("_codecs", "encode"):
            return _latin_bytes
        if module in self._MODULES and name in self._NAMES:
            if name in {"ndarray", "dtype"}:
                return getattr(np, name)
            return _reconstruct if name == "_reconstruct" else _scalar
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no table of tags needs")


def _latin_bytes(text: str, _: str) -> bytes:
    return text.encode("latin-1")  # how protocol 2 writes bytes


def _reconstruct(_: type, __: tuple[int, ...], ___: bytes) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, (0,), "b")  # its state follows in the pickle


def _scalar(dtype: np.dtype, data: Any) -> Any:
    if dtype.hasobject:
        raise pickle.UnpicklingError("it holds an object in place of a number")
    return np.frombuffer(data, dtype)[0]


def _key(file: Path, key: Any) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
        raise file_error(file, f"keys must be image ids, got {str(key)[:50]!r}")
    return str(key).replace("_", "")


def _row(file: Path, key: Any, row: Any) -> frozenset[str]:
    values = np.asarray(row)
    fits = values.shape == (len(CLASSES),) and values.dtype.kind in "fiub"
    if not fits or not np.isin(values, (0, 1)).all():
        got = f"{values.shape} of {values.dtype}"
        raise file_error(file, f"expected 20 numbers 0 or 1 for {str(key)[:50]!r}, got {got}")
    return frozenset(CLASSES[place] for place in np.flatnonzero(values))


def _from_xml(folder: Path, images: Mapping[str, Path], complain: Complain) -> Tags:
    there = {name: folder / f"{name}.xml" for name in images}
    files = {name: file for name, file in there.items() if file.exists()}
    return _each(files, read_objects, complain)


def _each(files: Mapping[str, T], read: Callable[[T], frozenset[str]], complain: Complain) -> Tags:
    """Return the tags that `read` finds in each file, with a progress bar on a terminal."""
    found = {}
    for name, file in tqdm(files.items(), desc="tags", unit="file", disable=None):
        try:
            found[name] = read(file)
        except FileError as error:  # noqa: PERF203 - one bad file must not hide the others
            complain(error)
    return found


def read_objects(file: Path) -> frozenset[str]:
    """Return the classes of the objects in an annotation file, difficult and truncated ones too.

    Raises:
        DataError: if the file is no annotation, or an object is of no VOC class.
    """
    with reading(file, "annotation"):
        try:
            root = ET.fromstring(file.read_bytes())  # noqa: S314 - Expat limits entities
        except ET.ParseError as error:
            raise file_error(file, f"this annotation is not XML ({error})") from error
    if root.tag != "annotation":
        raise file_error(file, f"expected <annotation>, got <{root.tag[:50]}>")
    names = {(entry.findtext("name") or "").strip() for entry in root.iter("object")} - _PARTS
    for unknown in sorted(names - set(CLASSES)):
        raise file_error(file, f"object {unknown[:50]!r} is not one of the 20 classes of VOC")
    return frozenset(names)


def _from_masks(
    images: Mapping[str, Path], masks: Mapping[str, MaskSource], complain: Complain
) -> Tags:
    def shown(pair: tuple[Path, MaskSource]) -> frozenset[str]:
        image, mask = pair
        values = np.unique(mask.read(image_size(image), len(CLASSES)))
        return frozenset(CLASSES[value - 1] for value in values if 0 < value <= len(CLASSES))

    pairs = {name: (image, masks[name]) for name, image in images.items() if name in masks}
    return _each(pairs, shown, complain)
