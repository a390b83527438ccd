"""The images of a data set that have a mask to learn from."""

import logging

from jaxtyping import UInt8
from torch import Tensor

from dealseg.data.base import IGNORE, RgbdDataset
from dealseg.data.mask_set import MaskSet
from dealseg.data.review import Review
from dealseg.data.seen_through import Images
from dealseg.errors import DataError

log = logging.getLogger("dealseg")


class Labelled(Images):
    """Images of a data set, each with its mask; ground truth and tags are not read.

    Attributes:
        classes: foreground classes of the masks.
        masks: where they are.
        rejected: how many images of the data set were left out for their rejected masks.
        missing: how many were left out because they have no mask.
    """

    def __init__(self, dataset: RgbdDataset, masks: MaskSet, review: Review | None = None):
        """Pair images and masks by name.

        Images without a mask are left out with a warning, since masks may have been made of a part
        of the data; those of an interrupted `dealseg label` were refused when they were opened.

        Args:
            dataset: its images.
            masks: their masks, and the classes.
            review: masks that it rejects are left out.

        Raises:
            DataError: if the classes are not the data set's, or nothing is left to learn from.
        """
        if dataset.classes and dataset.classes != masks.classes:
            raise DataError(
                f"{masks.root}: its masks are of the classes {list(masks.classes)}, the data set "
                f"{dataset.root} has {list(dataset.classes)}; give the data the masks were made for"
            )
        away = review.rejected if review else frozenset()
        kept = [i for i, name in enumerate(dataset.names) if name not in away]
        super().__init__(dataset, [i for i in kept if dataset.names[i] in masks.files])
        self.masks, self.classes = masks, masks.classes
        self.rejected, self.missing = len(dataset) - len(kept), len(kept) - len(self._places)
        self._require_some([dataset.names[i] for i in kept])

    def _require_some(self, names: list[str]) -> None:
        if not self._places:
            shown = f", such as {names[0]}" if names else ""
            raise DataError(
                f"{self.masks.root}: no mask for any of the {len(names)} images of "
                f"{self.root}{shown}; give the data and split that the masks were made for"
            )
        if self.missing:
            first = next(name for name in names if name not in self.masks.files)
            log.warning(
                f"{self.missing} of {len(names)} images have no mask in {self.masks.root} and are "
                f"left out, first {first}"
            )
        if all(bool((self.mask(index) == IGNORE).all()) for index in range(len(self))):
            raise DataError(f"{self.masks.root}: every pixel of every mask is ignored (255)")

    def mask(self, index: int) -> UInt8[Tensor, "h w"]:
        """Return the mask: 0 background, 1 to K, 255 ignored.

        Raises:
            DataError: if it cannot be read or has other values.
        """
        return self.masks.mask(self.names[index])

    def confidence(self, index: int) -> float:
        """Return how sure the mask is, in [0, 1].

        Raises:
            DataError: if nobody said.
        """
        found = self.masks.confidence(self.names[index])
        if found is None:
            raise DataError(
                f"{self.masks.root}: says no confidence of the mask of {self.names[index]}; train "
                "with --loss.confidence 0, or label again"
            )
        return found
