"""Every option of a training, one frozen dataclass a component. No torch in here.

The docstrings of the attributes are the command's help texts.
"""

from dataclasses import dataclass, field
from typing import Literal

from dealseg.errors import ConfigError


def _require(condition: bool, name: str, expected: str, got: object) -> None:
    if not condition:
        raise ConfigError(f"{name} must be {expected}, got {got!r}")


@dataclass(frozen=True)
class DataConfig:
    """Which images a command reads.

    Attributes:
        format: layout of the data set; `auto` looks.
        split: named part of the data set; all images when None. The command's `auto` is `train`
            where there is such a split, else all.
        depth_folder: folder of the depth maps, e.g. `depth_estimate` instead of the sensor's.
        long_side: images are resized to this many pixels on their longer side.
    """

    format: Literal["auto", "folder", "bop"] = "auto"
    split: str | None = None
    depth_folder: str = "depth"
    long_side: int = 416

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(self.long_side >= 32, "data.long_side", ">= 32 pixels", self.long_side)


@dataclass(frozen=True)
class ModelConfig:
    """The CAM network.

    Attributes:
        backbone: any timm model name.
        output_stride: image pixels per CAM cell, where the backbone allows a choice (8, 16, 32).
        weights: file with backbone weights (safetensors or a state dict); by default the embedded
            ones for tf_efficientnet_lite0 and timm's download for others.
        pretrained: start from pretrained weights; false starts from scratch.
    """

    backbone: str = "tf_efficientnet_lite0"
    output_stride: int = 16
    weights: str | None = None
    pretrained: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(
            self.output_stride in (8, 16, 32),
            "model.output_stride",
            "8, 16 or 32",
            self.output_stride,
        )


@dataclass(frozen=True)
class DealConfig:
    """The Depth Edge Alignment Loss; `docs/method.md` has the measurements behind the defaults.

    Attributes:
        weight: lambda, the factor of the loss in the sum.
        start: share of the training before which the loss is off.
        warmup: share of the training over which lambda then rises linearly.
        mu: shift of the gate (2.5 in the paper).
        cells: grid cells on the longer side.
        space: take edges of depth, of its logarithm, or of inverse depth.
        cam_scale: how a CAM reaches [0, 1]: max (ReLU over its maximum), minmax or sigmoid.
        gain: factor on Sobel's change per cell.
        divide: divide edge maps by their maximum instead of applying gain.
        localised: count only cells near the CAM's own support.
        trust: weight each class's term by the network's own probability of the class, so that
            a class that is not learnt yet is not flattened; false is the paper's form.
        shuffle: give each image the depth of another one: a control that must not help.
    """

    weight: float = 0.3
    start: float = 0.0
    warmup: float = 0.2
    mu: float = 2.5
    cells: int = 64
    space: Literal["depth", "log", "inverse"] = "inverse"
    cam_scale: Literal["max", "minmax", "sigmoid"] = "max"
    gain: float = 2.0
    divide: bool = False
    localised: bool = False
    trust: bool = True
    shuffle: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(self.weight >= 0, "deal.weight", ">= 0", self.weight)
        _require(0 <= self.start < 1, "deal.start", "a share in [0, 1)", self.start)
        _require(0 <= self.warmup <= 1, "deal.warmup", "a share in [0, 1]", self.warmup)
        _require(self.cells >= 3, "deal.cells", ">= 3", self.cells)
        _require(self.gain > 0, "deal.gain", "> 0", self.gain)

    def lambda_at(self, progress: float) -> float:
        """Return the factor of the loss when a share `progress` of the training is done."""
        if progress < self.start:
            return 0.0
        if self.warmup == 0:
            return self.weight
        return self.weight * min(1.0, (progress - self.start) / self.warmup)


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step on each device.
        lr: peak learning rate of the backbone.
        head_lr_factor: the classifier's learning rate is this many times higher.
        weight_decay: of AdamW.
        schedule: one-cycle, or cosine decay from the peak.
        accumulate: batches summed before a step of the optimiser.
        clip: largest norm of the gradient; 0 is off.
    """

    epochs: int = 8
    batch_size: int = 16
    lr: float = 5e-4
    head_lr_factor: float = 5.0
    weight_decay: float = 0.01
    schedule: Literal["one-cycle", "cosine"] = "one-cycle"
    accumulate: int = 1
    clip: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("epochs", "batch_size", "accumulate"):
            _require(getattr(self, name) >= 1, f"optim.{name}", ">= 1", getattr(self, name))
        for name in ("lr", "head_lr_factor"):
            _require(getattr(self, name) > 0, f"optim.{name}", "> 0", getattr(self, name))
        for name in ("weight_decay", "clip"):
            _require(getattr(self, name) >= 0, f"optim.{name}", ">= 0", getattr(self, name))


@dataclass(frozen=True)
class AugmentConfig:
    """Joint augmentation of image and depth in the full profile; the cached profile flips only.

    Attributes:
        scale: range of the random zoom before the crop.
        flip: probability of a horizontal flip.
        colour: strength of brightness, contrast and saturation changes.
        rotation: largest rotation, degrees.
        shear: largest shear, degrees.
    """

    scale: tuple[float, float] = (0.75, 1.25)
    flip: float = 0.5
    colour: float = 0.2
    rotation: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(0 < self.scale[0] <= self.scale[1], "augment.scale", "0 < low <= high", self.scale)
        _require(0 <= self.flip <= 1, "augment.flip", "a probability", self.flip)
        _require(0 <= self.colour <= 1, "augment.colour", "in [0, 1]", self.colour)
        _require(0 <= self.rotation <= 180, "augment.rotation", "in [0, 180]", self.rotation)
        _require(0 <= self.shear <= 80, "augment.shear", "in [0, 80]", self.shear)


@dataclass(frozen=True)
class TrainConfig:
    """A whole training; written to `config.yaml` in the run folder.

    Attributes:
        method: the CAM network's name.
        losses: losses beside the class loss: `deal` or `none`.
        profile: `cached` computes the features of the frozen stages once (for CPUs), `full`
            augments and trains through the network each step; `auto` is `full` on a GPU.
        frozen_stages: leading stages of the backbone that are not trained; None is 6 in the cached
            profile (all but the last of the default backbone) and 0 in the full one.
        freeze_batch_norm: keep the batch-norm statistics of the pretrained weights.
        seed: of every random choice.
        device: `auto`, `cpu` or `gpu`.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        channels_last: memory layout that suits CNNs.
        workers: processes that read images in the full profile.
    """

    method: str = "cam"
    losses: str = "deal"
    profile: Literal["auto", "cached", "full"] = "auto"
    frozen_stages: int | None = None
    freeze_batch_norm: bool = True
    seed: int = 0
    device: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = True
    workers: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    deal: DealConfig = field(default_factory=DealConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        unknown = sorted(set(self.loss_names) - {"deal"})
        _require(not unknown, "losses", "'none' or 'deal'", self.losses)
        _require(0 <= self.seed < 2**63, "seed", "in [0, 2^63)", self.seed)
        _require(self.workers >= 0, "workers", ">= 0", self.workers)
        stages = 0 if self.frozen_stages is None else self.frozen_stages
        _require(stages >= 0, "frozen_stages", ">= 0", stages)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The losses beside the class loss."""
        return tuple(name for name in self.losses.split(",") if name and name != "none")
