"""The network of the second stage."""

from dataclasses import dataclass
from typing import Literal

from dealseg.config.checks import require

ARCHITECTURES = ("fpn", "unet", "deeplabv3plus", "mask_transformer")


@dataclass(frozen=True)
class SegmenterConfig:
    """The segmentation network; `docs/segmenter.md` has the measurements behind the defaults.

    Attributes:
        architecture: fpn, unet or deeplabv3plus over any timm network with a feature pyramid, or
            mask_transformer (WeakTr's second stage) over a plain ViT.
        backbone: any timm model name; by default tf_efficientnet_lite0, and deit_small_patch16_224
            for mask_transformer.
        weights: file with backbone weights (safetensors or a state dict); by default the embedded
            ones for tf_efficientnet_lite0 and timm's download for others.
        pretrained: start the backbone from pretrained weights; false starts from scratch.
        width: channels of the decoder, a multiple of 32 (not of mask_transformer's, which is as
            wide as its ViT).
        dropout: share of the decoder's channels that are left out in training.
    """

    architecture: Literal["fpn", "unet", "deeplabv3plus", "mask_transformer"] = "fpn"
    backbone: str | None = None
    weights: str | None = None
    pretrained: bool = True
    width: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        known = f"one of {', '.join(ARCHITECTURES)}"
        require(self.architecture in ARCHITECTURES, "model.architecture", known, self.architecture)
        wide = self.width >= 32 and self.width % 32 == 0
        require(wide, "model.width", "a multiple of 32", self.width)
        require(0 <= self.dropout < 1, "model.dropout", "in [0, 1)", self.dropout)
