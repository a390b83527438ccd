"""Masks and the images they were made of, joined by name."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dealseg.data import RgbdDataset
from dealseg.data.files import image_size
from dealseg.data.kept import state_of
from dealseg.data.mask_set import MaskSet
from dealseg.data.review import Review, Reviewed
from dealseg.errors import DataError
from dealseg.reviewing.entries import Entry

_VERSION = 1
"""Grows whenever the same files would be drawn differently."""


@dataclass(frozen=True)
class MaskFacts:
    """What is in a mask.

    Attributes:
        height: of mask and image, pixels.
        width: of mask and image, pixels.
        shares: share of the pixels of each value that occurs, background and 255 too.
    """

    height: int
    width: int
    shares: dict[int, float]


class Album:
    """The masks under review, by id; files are read when they are asked for, by id and never path.

    Attributes:
        masks: all masks of the folder.
        classes: foreground classes in mask order.
        entries: the masks that have an image, as values; the place of one is its id.
        without_image: how many masks are left out, because the data set has no image for them.
    """

    def __init__(self, masks: MaskSet, dataset: RgbdDataset):
        """Join masks and images by name.

        Raises:
            DataError: if no mask has an image.
        """
        places = {name: place for place, name in enumerate(dataset.names)}
        names = [name for name in masks.names if name in places]
        if not names:
            raise DataError(
                f"{masks.root}: no mask here has the name of an image of {dataset.root}, such as "
                f"{next(iter(dataset.names), 'NAME')}; give the data and the split it was made for"
            )
        self.masks, self._dataset = masks, dataset
        self.classes = masks.classes
        self._places = [places[name] for name in names]
        self.entries = tuple(
            Entry(name, masks.confidence(name), self._tags(place))
            for name, place in zip(names, self._places, strict=True)
        )
        self.without_image = len(masks) - len(names)

    @property
    def has_confidence(self) -> bool:
        """Whether anybody said how sure a mask is."""
        return any(entry.confidence is not None for entry in self.entries)

    def require_fit(self, review: Review) -> None:
        """Check that the edited tags of a review are classes of these masks.

        Raises:
            DataError: naming the file, the image and the tag, if one is not.
        """
        Reviewed(self._dataset, review)

    def image(self, place: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the RGB image.

        Raises:
            DataError: if the file cannot be read.
        """
        return self._dataset.image(self._places[place]).permute(1, 2, 0).contiguous().numpy()

    def mask(self, place: int) -> UInt8[np.ndarray, "h w"]:
        """Return the mask.

        Raises:
            DataError: if the file cannot be read, or has values that are no class.
        """
        return self.masks.mask(self.entries[place].name).numpy()

    def depth(self, place: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return depth, larger is farther, and where it was measured; None without a file."""
        found = self._dataset.depth(self._places[place])
        if found is None:
            return None
        values = found[0][0].numpy()
        far = values if self._dataset.depth_info.kind == "metric" else -values
        return far, found[1][0].numpy()

    def has_depth(self, place: int) -> bool:
        """Say whether depth can be shown; a file that cannot be read is a matter for `check`."""
        try:
            return self.depth(place) is not None
        except DataError:
            return False

    def facts(self, place: int) -> MaskFacts:
        """Return what is in a mask.

        Raises:
            DataError: if mask or image cannot be read, or they differ in size.
        """
        mask = self.mask(place)
        (high, wide) = mask.shape
        image_high, image_wide = image_size(self._dataset.image_path(self._places[place]))
        if (high, wide) != (image_high, image_wide):
            raise DataError(
                f"{self.masks.path(self.entries[place].name)}: the mask is {wide}x{high}, the "
                f"image {image_wide}x{image_high} (width x height); label the image again"
            )
        values, sizes = np.unique(mask, return_counts=True)
        shares = (sizes / mask.size).tolist()
        return MaskFacts(high, wide, dict(zip(values.tolist(), shares, strict=True)))

    def in_mask(self, place: int) -> list[str]:
        """Return the classes that occur in a mask."""
        values = np.unique(self.mask(place)).tolist()
        return [self.classes[value - 1] for value in values if 0 < value <= len(self.classes)]

    def state(self, place: int) -> str:
        """Return a short name for image and mask as they are now; another once either changes."""
        files = (self._dataset.image_path(self._places[place]), self._mask_file(place))
        told = "".join(_state(file) for file in files)
        return hashlib.sha256(told.encode()).hexdigest()[:20]

    def _mask_file(self, place: int) -> Path:
        return self.masks.path(self.entries[place].name)

    def _tags(self, place: int) -> frozenset[str] | None:
        tags = self._dataset.tags(place)
        if tags is None:
            return None
        return frozenset(self._dataset.classes[k] for k in tags.nonzero().flatten().tolist())


def _state(file: Path) -> str:
    try:
        return state_of(file, _VERSION)
    except OSError:  # it will be said when the file is asked for
        return "absent"
