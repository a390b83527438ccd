"""The CAM network."""

from dataclasses import dataclass
from typing import Literal

from dealseg.config.checks import require

METHOD_OPTIONS = frozenset({"reduction", "pool", "drop_path", "view_scale"})
"""Fields of :class:`ModelConfig` that only some methods know; None is the method's own value."""


@dataclass(frozen=True)
class ModelConfig:
    """The CAM network.

    Attributes:
        backbone: any timm model name (SEAM also resnet38d, WeakTr a plain ViT); by default the
            method's own, see `dealseg methods`.
        output_stride: image pixels per CAM cell, where the backbone allows a choice (8, 16, 32).
        weights: file with backbone weights (safetensors or a state dict); by default the embedded
            ones for tf_efficientnet_lite0 and timm's download for others.
        pretrained: start from pretrained weights; false starts from scratch.
        reduction: WeakTr only, width of the attention fusion: its input is divided by this (8).
        pool: WeakTr only, how tokens are pooled for the attention fusion (max).
        drop_path: WeakTr only, largest probability of skipping a block in training (0.1).
        view_scale: SEAM only, size of the second view relative to the first (0.3 at stride 8,
            else 0.6).
    """

    backbone: str | None = None
    output_stride: int = 16
    weights: str | None = None
    pretrained: bool = True
    reduction: int | None = None
    pool: Literal["max", "avg"] | None = None
    drop_path: float | None = None
    view_scale: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        stride, scale, drop = self.output_stride, self.view_scale, self.drop_path
        require(stride in (8, 16, 32), "model.output_stride", "8, 16 or 32", stride)
        require((self.reduction or 1) >= 1, "model.reduction", ">= 1", self.reduction)
        require(self.pool in (None, "max", "avg"), "model.pool", "max or avg", self.pool)
        require(drop is None or 0 <= drop < 1, "model.drop_path", "in [0, 1)", drop)
        require(scale is None or 0 < scale <= 1, "model.view_scale", "in (0, 1]", scale)
