"""A CAM network on any timm backbone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.config import ModelConfig
from dealseg.errors import ConfigError
from dealseg.models import backbones
from dealseg.models.base import CamModel, CamOutput
from dealseg.models.weights import load_pretrained


class TimmCam(CamModel):
    """Backbone, 1x1 classifier on its feature map, global average pool.

    The CAM is the classifier's output before pooling; the logits are its mean over the image.
    Its gradient reaches the whole backbone (but for frozen stages).

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, with
    the classifier as a convolution before the pooling (the same map, in one pass).

    Args:
        classes: number of foreground classes.
        config: backbone and its weights.
        frozen_stages: leading stages that are not trained and whose output may be cached.
        generator: draws the first weights of the classifier, and of the backbone unless pretrained;
            seed 0 without one. The global random state is neither read nor changed.
    """

    mean: Tensor
    std: Tensor

    label_cam = "cam"
    deal_cam = "cam"

    def __init__(
        self,
        classes: int,
        config: ModelConfig,
        frozen_stages: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ConfigError(f"classes must be >= 1, got {classes}")
        with _own_randomness(generator):
            self._build(classes, config)
        total = len(backbones.stages(self.backbone))
        if not 0 <= frozen_stages < total:
            raise ConfigError(
                f"frozen_stages must be in 0..{total - 1} for {config.backbone}, "
                f"got {frozen_stages}"
            )
        self.frozen_stages = frozen_stages
        backbones.freeze(self.backbone, frozen_stages)
        self._set_normalisation()
        self._grid: tuple[int, int] | None = None

    def _build(self, classes: int, config: ModelConfig) -> None:
        self.backbone = backbones.build_backbone(config.backbone, config.output_stride)
        if config.pretrained:
            load_pretrained(self.backbone, config.backbone, config.weights)
        features = backbones.probe(self.backbone)
        backbones.freeze_unused(self.backbone, features)
        self.classifier = _classifier(features.shape[1], classes)

    def _set_normalisation(self) -> None:
        facts = getattr(self.backbone, "pretrained_cfg", {}) or {}
        for name, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            value = torch.tensor(facts.get(name, default)).view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def set_image_size(self, height: int, width: int) -> None:
        """Say for which image size cached tokens were made; :meth:`encode` does it itself."""
        self._grid = backbones.token_grid(self.backbone, height, width)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Tensor:
        """Return the output of the frozen stages (the normalised image when none is frozen)."""
        self.set_image_size(image.shape[-2], image.shape[-1])
        x = (image - self.mean) / self.std
        for stage in backbones.stages(self.backbone)[: self.frozen_stages]:
            x = stage(x)
        return x

    def decode(self, features: Tensor) -> CamOutput:
        """Return logits and the CAM from what :meth:`encode` gave."""
        x = features
        for stage in backbones.stages(self.backbone)[self.frozen_stages :]:
            x = stage(x)
        cam = self.classifier(backbones.feature_map(self.backbone, x, self._grid))
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


@contextmanager
def _own_randomness(generator: torch.Generator | None) -> Iterator[None]:
    """Let timm draw from a seed of `generator` (0 without one); the global state is restored."""
    seed = 0 if generator is None else int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _classifier(channels: int, classes: int) -> nn.Conv2d:
    """Return a 1x1 convolution with small weights and no opinion (bias 0) at the start."""
    layer = nn.Conv2d(channels, classes, 1)
    with torch.no_grad():
        layer.weight.normal_(0.0, 0.01)
        layer.bias.zero_()  # type: ignore[union-attr]
    return layer
