"""Which images, and how they are changed before training."""

from dataclasses import dataclass
from typing import Literal

from dealseg.config.checks import require


@dataclass(frozen=True)
class DataConfig:
    """Which images a command reads.

    Attributes:
        format: layout of the data set; `auto` looks.
        split: named part of the data set; all images when None. The command's `auto` is `train`
            where there is such a split, else all.
        depth_folder: folder of the depth maps, e.g. `depth_estimate` instead of the sensor's.
        tags_from: where the tags of a VOC data set come from; `auto` takes the first there is.
        long_side: images are resized to this many pixels on their longer side.
    """

    format: Literal["auto", "folder", "bop", "voc", "coco"] = "auto"
    split: str | None = None
    depth_folder: str = "depth"
    tags_from: Literal["auto", "cls_labels", "xml", "masks"] = "auto"
    long_side: int = 416

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.long_side >= 32, "data.long_side", ">= 32 pixels", self.long_side)


@dataclass(frozen=True)
class AugmentConfig:
    """Joint augmentation of image and depth in the full profile; the cached profile flips only.

    Attributes:
        crop: how a sample is cut from its image. `zoom`: all samples have the data's usual shape,
            the zoom is drawn from scale. `area`: a square window of random area and ratio, as
            torchvision's RandomResizedCrop (WeakTr). `long`: the longer side is drawn, then a
            square is cut out, padded where it overhangs (SEAM). Squares have data.long_side.
        scale: range of the random zoom, for crop `zoom`.
        area: range of the window's share of the image, for crop `area`.
        ratio: range of the window's width over height, for crop `area`.
        long: range of the longer side relative to data.long_side, for crop `long`.
        flip: probability of a horizontal flip.
        colour: strength of brightness, contrast and saturation changes.
        hue: largest shift of the hue in turns; by default a tenth of colour.
        rotation: largest rotation, degrees.
        shear: largest shear, degrees.
        randaugment: magnitude of timm's RandAugment with increasing operations (DeiT and WeakTr
            take 9); 0 is off.
        erase: probability of filling a rectangle of the image, not of the depth, with noise.
    """

    crop: Literal["zoom", "area", "long"] = "zoom"
    scale: tuple[float, float] = (0.75, 1.25)
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    long: tuple[float, float] = (1.0, 12 / 7)
    flip: float = 0.5
    colour: float = 0.2
    hue: float | None = None
    rotation: float = 0.0
    shear: float = 0.0
    randaugment: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("scale", "area", "ratio", "long"):
            low, high = getattr(self, name)
            require(0 < low <= high, f"augment.{name}", "0 < low <= high", getattr(self, name))
        require(self.area[1] <= 1, "augment.area", "at most 1, the whole image", self.area)
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            require(0 <= value <= limit, f"augment.{name}", f"in [0, {limit}]", value)
        require(0 <= (self.hue or 0) <= 0.5, "augment.hue", "in [0, 0.5]", self.hue)


_LIMITS = {"flip": 1, "colour": 1, "rotation": 180, "shear": 80, "randaugment": 10, "erase": 1}
