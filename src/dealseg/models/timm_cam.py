"""A CAM network on any timm backbone."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.config import ModelConfig
from dealseg.models import backbones
from dealseg.models.base import IMAGENET_MEAN, IMAGENET_STD, CamFacts, CamModel, CamOutput, Features
from dealseg.models.weights import EMBEDDED_BACKBONE, load_pretrained


class TimmCam(CamModel):
    """Backbone, 1x1 classifier on its feature map, global average pool.

    The CAM is the classifier's output before pooling; the logits are its mean over the image.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, with
    the classifier as a convolution before the pooling (the same map, in one pass).
    """

    default_backbone = EMBEDDED_BACKBONE
    cams: ClassVar = {"cam": CamFacts("backbone and classifier")}
    label_cam = "cam"
    attach: ClassVar = {"deal": "cam", "isl": "cam", "fsl": "cam"}
    score_logits = ("cam",)
    isl_mixes = ("class_cam", 1.0)

    def build(self, classes: int, config: ModelConfig) -> None:
        """Make backbone and classifier."""
        name = config.backbone or self.default_backbone
        self.backbone = backbones.build_backbone(name, config.output_stride)
        if config.pretrained:
            load_pretrained(self.backbone, name, config.weights)
        features = backbones.probe(self.backbone)
        backbones.freeze_unused(self.backbone, features)
        self.classifier = _classifier(features.shape[1], classes)
        facts = getattr(self.backbone, "pretrained_cfg", {}) or {}
        self.set_normalisation(facts.get("mean", IMAGENET_MEAN), facts.get("std", IMAGENET_STD))

    @property
    def stage_count(self) -> int:
        """Stages of the backbone; all but the last may be frozen."""
        return len(backbones.stages(self.backbone))

    def freeze_stages(self, count: int) -> None:
        """Make the parameters of the first `count` stages constant."""
        backbones.freeze(self.backbone, count)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """Return the output of the frozen stages (the normalised image when none is frozen)."""
        x = self.normalised(image)
        for stage in backbones.stages(self.backbone)[: self.frozen_stages]:
            x = stage(x)
        return {"x": x}

    def decode(self, features: Features, size: tuple[int, int]) -> CamOutput:
        """Return logits and the CAM from what :meth:`encode` gave."""
        x = features["x"]
        for stage in backbones.stages(self.backbone)[self.frozen_stages :]:
            x = stage(x)
        grid = backbones.token_grid(self.backbone, *size)
        cam = self.classifier(backbones.feature_map(self.backbone, x, grid))
        return CamOutput({"cam": cam.mean(dim=(-2, -1))}, {"cam": cam})

    def train(self, mode: bool = True) -> "TimmCam":
        """Set the mode; frozen stages keep theirs, so that what was cached stays true."""
        super().train(mode)
        for module in backbones.stage_modules(self.backbone, self.frozen_stages):
            module.eval()
        return self

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the classifier's parameters."""
        return list(self.classifier.parameters())


def _classifier(channels: int, classes: int) -> nn.Conv2d:
    """Return a 1x1 convolution with small weights and no opinion (bias 0) at the start."""
    layer = nn.Conv2d(channels, classes, 1)
    with torch.no_grad():
        layer.weight.normal_(0.0, 0.01)
        layer.bias.zero_()  # type: ignore[union-attr]
    return layer
