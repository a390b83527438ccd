"""What is exported: masks with the images they belong to, and the ids of their classes."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from dealseg.data.base import IGNORE, RgbdDataset
from dealseg.data.files import file_error, image_size, read_json
from dealseg.data.mask_set import MaskSet
from dealseg.data.masks import require_size
from dealseg.exporting.options import ExportOptions


@dataclass(frozen=True)
class Item:
    """An image with its mask.

    Attributes:
        name: of the image in the data set; may have folders in it.
        image: its file.
        mask: classes, 0 background, 255 ignored.
        confidence: of the mask, in [0, 1], if known.
    """

    name: str
    image: Path
    mask: UInt8[np.ndarray, "h w"]
    confidence: float | None

    @property
    def classes(self) -> list[int]:
        """Return the mask values of the classes in it."""
        values = np.flatnonzero(np.bincount(self.mask.reshape(-1), minlength=IGNORE + 1))
        return [value for value in values.tolist() if value not in (0, IGNORE)]


@dataclass(frozen=True)
class Source:
    """Masks and their images.

    Attributes:
        masks: all of them, exported or not.
        dataset: the images.
        places: index in the data set of each image to export.
        category_ids: the id of each class where a format has ids of its own.
        ids_from: who says these ids.
        split: name of the part of the data, or None.
    """

    masks: MaskSet
    dataset: RgbdDataset
    places: tuple[int, ...]
    category_ids: tuple[int, ...]
    ids_from: str
    split: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the foreground classes in the order of their mask values."""
        return self.masks.classes

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the images to export, in the data set's order."""
        return tuple(self.dataset.names[place] for place in self.places)

    def relative(self, image: Path) -> str:
        """Return the path of an image below the data set, with `/`.

        Raises:
            DataError: if it is not below it.
        """
        root = self.dataset.root
        for path, above in ((image, root), (image.resolve(), root.resolve())):
            if path.is_relative_to(above):
                return path.relative_to(above).as_posix()
        raise file_error(image, f"is not below the data set {root}, so it cannot be named there")

    def items(self, places: Sequence[int] | None = None) -> Iterator[Item]:
        """Read the masks one after the other, with a progress bar.

        Args:
            places: the images in another order.

        Raises:
            DataError: if a mask cannot be read or has another size than its image.
        """
        order = self.places if places is None else places
        for place in tqdm(order, desc="export", unit="mask", disable=None):
            name, image = self.dataset.names[place], self.dataset.image_path(place)
            mask = self.masks.mask(name).numpy()
            require_size(self.masks.path(name), mask.shape, image_size(image))
            yield Item(name, image, mask, self.masks.confidence(name))


Writer = Callable[[Source, Path, ExportOptions], list[str]]
"""Fills an empty folder and returns what the user should know of it."""


def category_ids(
    masks: MaskSet, dataset: RgbdDataset, file: Path | None
) -> tuple[tuple[int, ...], str]:
    """Return the id of each class, and who says so: a file, the data set, or nobody.

    Args:
        masks: their `labels.json` may say the data set's ids.
        dataset: may have ids of its own.
        file: JSON, an object of class names and ids; goes before the others.

    Raises:
        DataError: if the file does not give each class an id of its own.
    """
    if file is not None:
        return _read_ids(file, masks.classes), "the file given"
    own: tuple[int, ...] | None = getattr(dataset, "class_ids", None)
    if masks.class_ids is None and own is not None and dataset.classes == masks.classes:
        return own, "the data set"
    if masks.class_ids is not None:
        return masks.class_ids, "the data set"
    return tuple(range(1, len(masks.classes) + 1)), "the mask values"


def _read_ids(file: Path, classes: tuple[str, ...]) -> tuple[int, ...]:
    told = read_json(file)
    if not isinstance(told, dict) or set(told) != set(classes):
        raise file_error(file, f'expected {{"NAME": ID, ...}} for the classes {list(classes)}')
    ids = [told[name] for name in classes]
    whole = all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids)
    if not whole or len(set(ids)) < len(ids):
        problem = f"ids must be different whole numbers, got {json.dumps(ids)[:80]}"
        raise file_error(file, problem)
    return tuple(ids)
