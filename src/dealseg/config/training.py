"""The whole of a training."""

from dataclasses import dataclass, field
from typing import Literal

from dealseg.config.checks import require
from dealseg.config.data import AugmentConfig, DataConfig
from dealseg.config.label import LabelConfig
from dealseg.config.losses import DealConfig, FslConfig, IslConfig
from dealseg.config.model import ModelConfig
from dealseg.config.optim import OptimConfig

LOSSES = ("deal", "isl", "fsl")
"""The losses that can be added to any method's own."""


@dataclass(frozen=True)
class TrainConfig:
    """A whole training; written to `config.yaml` in the run folder.

    Attributes:
        method: the CAM network's name.
        losses: losses beside the method's own: `none`, or any of `deal`, `isl`, `fsl` with commas.
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
        init: checkpoint (official or own weights, or a run folder) that the whole network starts
            from; what does not fit it, such as a head for other classes, starts from scratch.
        depth_noise: noise added to depth before augmentation, such as `gaussian:0.02,holes:0.1` or
            `level:2`, drawn from seed and image; see `docs/noise.md`. None adds none.
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
    init: str | None = None
    depth_noise: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    deal: DealConfig = field(default_factory=DealConfig)
    isl: IslConfig = field(default_factory=IslConfig)
    fsl: FslConfig = field(default_factory=FslConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    label: LabelConfig = field(default_factory=LabelConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        known = set(self.loss_names) <= set(LOSSES) and len(set(self.loss_names)) == len(
            self.loss_names
        )
        require(known, "losses", f"'none', or some of {','.join(LOSSES)}", self.losses)
        require(0 <= self.seed < 2**63, "seed", "in [0, 2^63)", self.seed)
        require(self.workers >= 0, "workers", ">= 0", self.workers)
        stages = 0 if self.frozen_stages is None else self.frozen_stages
        require(stages >= 0, "frozen_stages", ">= 0", stages)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The losses beside the method's own."""
        names = (name.strip() for name in self.losses.split(","))
        return tuple(name for name in names if name and name != "none")
