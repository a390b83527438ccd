"""The whole of a training of the second stage."""

from dataclasses import dataclass, field
from typing import Literal

from dealseg.config.checks import require
from dealseg.config.data import AugmentConfig
from dealseg.config.optim import OptimConfig
from dealseg.config.segmenter import SegmenterConfig

Loss = Literal["cross-entropy", "generalised", "symmetric", "gradient-clipping"]
LOSSES = ("cross-entropy", "generalised", "symmetric", "gradient-clipping")
READ_BY: dict[str, Loss] = {
    "q": "generalised",
    "reverse": "symmetric",
    "clip_start": "gradient-clipping",
    "clip_patches": "gradient-clipping",
    "smoothing": "cross-entropy",
}
"""Options that only one loss reads: with another one they would be passed over in silence."""


@dataclass(frozen=True)
class SegmenterDataConfig:
    """Which images a segmenter learns from.

    Attributes:
        format: layout of the data set; `auto` takes what `labels.json` says, else looks.
        split: named part of the data set; all images when None. The command's `auto` is the part
            that the masks were made for, else `train` where there is such a split, else all.
        long_side: images are resized to this many pixels on their longer side, in training and
            when the segmenter is used.
    """

    format: Literal["auto", "folder", "bop", "voc", "coco"] = "auto"
    split: str | None = None
    long_side: int = 416

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.long_side >= 32, "data.long_side", ">= 32 pixels", self.long_side)


@dataclass(frozen=True)
class SegmenterLossConfig:
    """What is minimised; `docs/segmenter.md` has the measurements behind the defaults.

    Attributes:
        name: symmetric or generalised cross-entropy, which wrong labels mislead less; cross-entropy
            itself; or gradient-clipping, WeakTr's.
        q: of generalised, from 0 (cross-entropy) to 1 (mean absolute error).
        reverse: of symmetric, the weight of the reverse cross-entropy.
        clip_start: of gradient-clipping, the mean loss below which it starts.
        clip_patches: of gradient-clipping, patches along each side of an image.
        smoothing: of cross-entropy, the share of the target spread over all classes.
        balance: weight classes by their pixel frequency to the power of minus this; 0 is off, 1
            lets all classes count alike.
        confidence: weight images by the confidence of their masks in `labels.json` to this power;
            0 is off.
    """

    name: Loss = "symmetric"
    q: float = 0.7
    reverse: float = 1.0
    clip_start: float = 1.2
    clip_patches: int = 4
    smoothing: float = 0.0
    balance: float = 0.5
    confidence: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.name in LOSSES, "loss.name", f"one of {', '.join(LOSSES)}", self.name)
        require(0 < self.q <= 1, "loss.q", "in (0, 1]", self.q)
        require(self.clip_patches >= 1, "loss.clip_patches", ">= 1", self.clip_patches)
        require(0 <= self.smoothing < 1, "loss.smoothing", "in [0, 1)", self.smoothing)
        require(0 <= self.balance <= 1, "loss.balance", "in [0, 1]", self.balance)
        for name in ("reverse", "clip_start", "confidence"):
            require(getattr(self, name) >= 0, f"loss.{name}", ">= 0", getattr(self, name))
        for name, loss in READ_BY.items():
            value, usual = getattr(self, name), type(self).__dataclass_fields__[name].default
            expected = f"{usual} unless loss.name is {loss}"
            require(value == usual or self.name == loss, f"loss.{name}", expected, value)


@dataclass(frozen=True)
class SegmenterTrainConfig:
    """A whole training of a segmenter; written to `config.yaml` in the run folder.

    Attributes:
        profile: `cached` computes the features of the frozen levels once (for CPUs), `full`
            augments and trains through the network each step; `auto` is `full` on a GPU.
        frozen_stages: leading levels of the encoder (1/2, 1/4, 1/8, 1/16, 1/32 of the image's
            size; for a ViT patches, then blocks) that are not trained; None is all but the last in
            the cached profile and 0 in the full one.
        freeze_batch_norm: keep the batch-norm statistics of the pretrained weights.
        average: decay of the moving average of the weights that the run ends with; 0 is off.
        seed: of every random choice.
        device: `auto`, `cpu` or `gpu`.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        channels_last: memory layout that suits CNNs.
        workers: processes that read images in the full profile.
    """

    profile: Literal["auto", "cached", "full"] = "auto"
    frozen_stages: int | None = None
    freeze_batch_norm: bool = True
    average: float = 0.0
    seed: int = 0
    device: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = True
    workers: int = 0
    data: SegmenterDataConfig = field(default_factory=SegmenterDataConfig)
    model: SegmenterConfig = field(default_factory=SegmenterConfig)
    loss: SegmenterLossConfig = field(default_factory=SegmenterLossConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(epochs=6, batch_size=8))
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(0 <= self.seed < 2**63, "seed", "in [0, 2^63)", self.seed)
        require(self.workers >= 0, "workers", ">= 0", self.workers)
        require(0 <= self.average < 1, "average", "in [0, 1)", self.average)
        stages = 0 if self.frozen_stages is None else self.frozen_stages
        require(stages >= 0, "frozen_stages", ">= 0", stages)
