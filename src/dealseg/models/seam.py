"""SEAM: a CAM network whose CAMs follow the image when it is resized, refined by look-alikes."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.config import ModelConfig
from dealseg.depth import at_least_float32
from dealseg.errors import ConfigError
from dealseg.losses import multilabel_soft_margin, siamese_losses
from dealseg.losses.bilinear import at_size, mean_at_size
from dealseg.losses.siamese import View
from dealseg.models import backbones, resnet38d
from dealseg.models.base import IMAGENET_MEAN, IMAGENET_STD, CamFacts, CamModel, CamOutput, Features
from dealseg.models.lazy import LazyMaps
from dealseg.models.pcm import refine
from dealseg.models.weights import EMBEDDED_BACKBONE, load_pretrained

VIEW_SCALE, COARSE_VIEW_SCALE = 0.3, 0.6
"""Size of the second view at the original's stride of 8, and at coarser strides: the same number of
cells at 16. With 0.3 there NYUv2 lost five points of mIoU (docs/results.md)."""
DROPOUT = 0.5
LEAST_CELLS = 2
"""Cells that the smaller view has at least on each side."""

Size = tuple[int, int]

_CAM = CamFacts("backbone and fc8", background=True)
_PCM = CamFacts("f8_3, f8_4 and f9 only", signed=False, background=True)


class Seam(CamModel):
    """Backbone, 1x1 classifier (`fc8`) with a background class, and pixel correlation (PCM).

    Cams `cam` and `pcm` are at image resolution, `cam_stride` and `pcm_stride` on the backbone's
    cells; they are computed when they are read. PCM averages the CAM over cells with similar
    features: of the image and of two earlier stages through `f8_3`, `f8_4` and `f9`. CAM and stages
    enter it as constants, so that a loss on `pcm` trains those three layers only.

    With backbone `resnet38d` the parameters have the original names, and official checkpoints load.
    With a CNN of timm the earlier stages are the last two before the final one, brought to the
    cells of the CAM.

    Source: Wang et al., "Self-supervised Equivariant Attention Mechanism for Weakly Supervised
    Semantic Segmentation", CVPR 2020 (arXiv 2004.04581), and the authors' code.
    """

    default_backbone = EMBEDDED_BACKBONE
    options = frozenset({"view_scale"})
    cams: ClassVar = {"cam": _CAM, "pcm": _PCM, "cam_stride": _CAM, "pcm_stride": _PCM}
    label_cam = "pcm"
    attach: ClassVar = {"deal": "cam_stride", "isl": "cam_stride", "fsl": "cam_stride"}
    score_logits = ("cam",)
    isl_mixes = ("class_view1", 0.5)
    normalisation = "minmax"
    threshold = 0.26

    def build(self, classes: int, config: ModelConfig) -> None:
        """Make backbone and heads."""
        name = config.backbone or self.default_backbone
        if name == resnet38d.NAME:
            low, high, last = self._build_original(config)
        else:
            low, high, last = self._build_timm(name, config)
        own = VIEW_SCALE if self.stride <= resnet38d.STRIDE else COARSE_VIEW_SCALE
        self.view_scale = own if config.view_scale is None else config.view_scale
        self.dropout = nn.Dropout2d(DROPOUT)
        self.fc8 = nn.Conv2d(last, 1 + classes, 1, bias=False)
        self.f8_3 = nn.Conv2d(low, 64, 1, bias=False)
        self.f8_4 = nn.Conv2d(high, 128, 1, bias=False)
        self.f9 = nn.Conv2d(3 + 64 + 128, 192, 1, bias=False)
        nn.init.xavier_uniform_(self.fc8.weight)
        nn.init.kaiming_normal_(self.f8_3.weight)
        nn.init.kaiming_normal_(self.f8_4.weight)
        nn.init.xavier_uniform_(self.f9.weight, gain=4)

    def _build_original(self, config: ModelConfig) -> tuple[int, int, int]:
        """Make ResNet-38's layers children of this module, as their original names ask."""
        file = resnet38d.weights_file(config)
        net = resnet38d.ResNet38d()
        if file is not None:
            resnet38d.load(net, file)
        for name, layer in net.named_children():
            self.add_module(name, layer)
        self.stride = resnet38d.STRIDE
        return resnet38d.CHANNELS

    def _build_timm(self, name: str, config: ModelConfig) -> tuple[int, int, int]:
        """Make a timm backbone; return the channels of the two stages PCM sees and of the last."""
        self.backbone = backbones.build_backbone(name, config.output_stride)
        _refuse_unless_staged_cnn(self.backbone, name)
        if config.pretrained:
            load_pretrained(self.backbone, name, config.weights)
        facts = getattr(self.backbone, "pretrained_cfg", {}) or {}
        self.set_normalisation(facts.get("mean", IMAGENET_MEAN), facts.get("std", IMAGENET_STD))
        last = backbones.probe(self.backbone)
        backbones.freeze_unused(self.backbone, last)
        self.stride = 64 // last.shape[-1]
        self.backbone.eval()
        with torch.no_grad():
            _, seen = self._run(torch.zeros(1, 3, 64, 64), 0, self.stage_count)
        self.backbone.train()
        low, high = (tap.shape[1] for tap in seen.values())
        return low, high, last.shape[1]

    @property
    def trunk(self) -> nn.Module:
        """The module that has the backbone's layers: itself with the original backbone."""
        return getattr(self, "backbone", self)

    @property
    def stage_count(self) -> int:
        """Stages of the backbone; all but the last may be frozen."""
        return len(backbones.stages(self.trunk))

    def freeze_stages(self, count: int) -> None:
        """Make the parameters of the first `count` stages constant."""
        backbones.freeze(self.trunk, count)

    def train(self, mode: bool = True) -> "Seam":
        """Set the mode; frozen stages keep theirs, so that what was cached stays true."""
        super().train(mode)
        for module in backbones.stage_modules(self.trunk, self.frozen_stages):
            module.eval()
        return self

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the weights of classifier and PCM."""
        heads = nn.ModuleList((self.fc8, self.f8_3, self.f8_4, self.f9))
        return list(heads.parameters())

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """Return `x`, the output of the frozen stages, and what PCM needs of image and stages.

        `image` is the normalised image on the cells; `tap3` or the like is there where what PCM
        sees lies inside the frozen stages.
        """
        image = self.normalised(image)
        x, seen = self._run(image, 0, self.frozen_stages)
        grid = (-(-image.shape[-2] // self.stride), -(-image.shape[-1] // self.stride))
        return {"x": x, "image": at_size(image, grid), **seen}

    def decode(self, features: Features, size: Size) -> CamOutput:
        """Return logits and CAMs from what :meth:`encode` made of images of `size` (h, w).

        The logits are means over the image resolution, of the foreground.
        """
        x, seen = self._run(features["x"], self.frozen_stages, self.stage_count)
        cam = at_least_float32(self.fc8(self.dropout(x)))
        similar = self._similar({**features, **seen}, (cam.shape[-2], cam.shape[-1]))
        maps = LazyMaps(
            {
                "cam_stride": lambda _: cam,
                "pcm_stride": lambda _: refine(cam, similar),
                "cam": lambda _: at_size(cam, size),
                "pcm": lambda made: at_size(made["pcm_stride"], size),
            }
        )
        return CamOutput({"cam": mean_at_size(cam[:, 1:], size)}, maps)

    def view_sizes(self, size: Size) -> tuple[Size, Size]:
        """Return the image's own size, and `view_scale` of it but at least two cells a side."""
        least = LEAST_CELLS * self.stride
        height, width = (min(side, max(least, int(side * self.view_scale))) for side in size)
        return size, (height, width)

    def losses(
        self, outputs: Sequence[CamOutput], tags: Float[Tensor, "b k"], size: Size
    ) -> dict[str, Tensor]:
        """Return half the class loss of each view, min pooling, equivariance (ER) and cross (ECR).

        Source: the authors' code, whose total is the sum of these with no other weights.
        """
        terms = {
            f"class_view{number}": multilabel_soft_margin(output.logits["cam"], tags) / 2
            for number, output in enumerate(outputs, 1)
        }
        first, second = (
            View(output.cams["cam_stride"], output.cams["pcm_stride"], each)
            for output, each in zip(outputs, self.view_sizes(size), strict=True)
        )
        shared = siamese_losses(first, second, tags)
        terms["min_pool"] = (shared.min_pool1 + shared.min_pool2) / 2
        terms |= {"er": shared.er, "ecr": shared.ecr}
        return {name: term.mean() for name, term in terms.items()}

    def _run(self, x: Tensor, start: int, stop: int) -> tuple[Tensor, Features]:
        """Apply stages `start` to `stop`; return also what PCM sees of what enters them."""
        seen: Features = {}
        taps = _taps(self.trunk)
        for index, stage in enumerate(backbones.stages(self.trunk)[start:stop], start):
            if index in taps:
                seen[f"tap{index}"] = taps[index](x.detach())
            x = stage(x)
        return x, seen

    def _similar(self, features: Features, grid: Size) -> Float[Tensor, "b 192 h w"]:
        """Return the features by which cells are compared."""
        low, high = (at_size(features[f"tap{index}"], grid) for index in _taps(self.trunk))
        parts = [at_size(features["image"], grid), self.f8_3(low).relu(), self.f8_4(high).relu()]
        similar: Tensor = self.f9(torch.cat([part.to(parts[1].dtype) for part in parts], dim=1))
        return similar


def _taps(trunk: Any) -> dict[int, backbones.Stage]:
    """Return what PCM sees: functions of what enters a stage, by the stage's number.

    In ResNet-38 that is what the first norm of b5 and of b6 makes of it.
    """
    if hasattr(trunk, "bn7"):
        return {3: trunk.b5.bn_branch2a, 4: trunk.b6.bn_branch2a}
    count = len(backbones.stages(trunk))
    return {count - 2: nn.Identity(), count - 1: nn.Identity()}


def _refuse_unless_staged_cnn(backbone: nn.Module, name: str) -> None:
    """Refuse a backbone of which the pixel correlation module cannot have two earlier maps."""
    count = len(backbones.stages(backbone))
    if hasattr(backbone, "patch_embed"):
        reason = "a transformer, whose blocks make tokens"
    elif count < 3:
        reason = f"known as {count} stage(s) only"
    else:
        return
    raise ConfigError(
        f"model.backbone: method 'seam' compares cells by the feature maps of two earlier stages, "
        f"but {name!r} is {reason}; take resnet38d, {EMBEDDED_BACKBONE}, a ResNet or a ConvNeXt, "
        "or a method that takes any backbone"
    )
