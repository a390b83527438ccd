"""Segmentation networks over timm's feature pyramids; leading levels can be frozen and cached."""

import re
from difflib import get_close_matches
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.models import FeatureListNet
from torch import Tensor, nn

from dealseg.config.segmenter import SegmenterConfig
from dealseg.errors import ConfigError
from dealseg.models.base import IMAGENET_MEAN, IMAGENET_STD, Features
from dealseg.models.weights import EMBEDDED_BACKBONE, load_into, pretrained_state

Size = tuple[Any, Any]
"""Height and width; not plain numbers while PyTorch traces a network."""
LEVELS = 5
"""1/2 to 1/32 of the image's size; some encoders begin at 1/4."""
MULTIPLE = 2**LEVELS
"""Sides of the images that these networks take are multiples of this."""

_NEEDED = {"fpn": (1, 2, 3, 4), "unet": (0, 1, 2, 3, 4), "deeplabv3plus": (1, 4)}
"""The levels (0 is half the image's size) that each decoder looks at."""


class Pyramid(nn.Module):
    """An encoder with features at 1/2 to 1/32 of the image's size, and a decoder over them.

    Source: encoder and decoders are those of segmentation-models-pytorch. Departures: the decoder's
    last map is not enlarged (the caller does, once), and `SAME` convolutions of TensorFlow's
    networks have constant paddings, right for images whose sides are multiples of 32, so that
    exported networks take any such size.

    Args:
        classes: channels of the output, background included.
        config: architecture, backbone and its weights.

    Raises:
        ConfigError: if timm has no such backbone, or it has no pyramid.
        CheckpointError: if pretrained weights cannot be had.
    """

    default_backbone = EMBEDDED_BACKBONE
    multiple = MULTIPLE

    def __init__(self, classes: int, config: SegmenterConfig) -> None:
        super().__init__()
        name = config.backbone or self.default_backbone
        built = _build(name, classes, config)
        self.encoder, self.decoder, self.head = (
            built.encoder,
            built.decoder,
            built.segmentation_head[0],
        )
        _fix_padding(self.encoder)
        _fix_norms(self.decoder)
        if config.pretrained:
            state, source = pretrained_state(name, config.weights)
            load_into(self.encoder.model, _flat(state, self.encoder.model), source)
        if not self._levels():
            _probe(self.encoder, name)
        self.needed = _NEEDED[config.architecture]
        facts: Any = timm.get_pretrained_cfg(name)
        self.mean = getattr(facts, "mean", IMAGENET_MEAN)
        self.std = getattr(facts, "std", IMAGENET_STD)

    @property
    def stage_count(self) -> int:
        """Levels that can be frozen, and one more for the decoder; 1 if none can."""
        return len(self._levels()) + 1

    def stage_modules(self, count: int) -> list[nn.Module]:
        """Return the modules of the first `count` levels."""
        return [module for level in self._levels()[:count] for module in level]

    def freeze(self, count: int) -> None:
        """Make the parameters of the first `count` levels constant."""
        for module in self.stage_modules(count):
            module.requires_grad_(False)

    def encode(self, x: Tensor, count: int) -> Features:
        """Return what the rest needs of the first `count` levels; the image itself for 0."""
        if count == 0:
            return {"x": x}
        found, levels = {}, self._levels()
        for number, level in enumerate(levels[:count]):
            for module in level:
                x = module(x)
            needed = number + LEVELS - len(levels) in self.needed
            if needed or (number == count - 1 and count < len(levels)):
                found[str(number)] = x
        return found

    def decode(self, features: Features, count: int, size: Size) -> Tensor:
        """Return class logits on the decoder's own grid, for images of `size`."""
        levels = self._levels()
        if not levels:
            return self._decoded(self.encoder(features["x"]))
        some = next(iter(features.values()))
        maps = [features.get(str(number), some[:, :0]) for number in range(count)]
        x = maps[-1] if maps else features["x"]
        for level in levels[count:]:
            for module in level:
                x = module(x)
            maps.append(x)
        return self._decoded([*self._finer(some, LEVELS + 1 - len(maps), size), *maps])

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from scratch."""
        return [*self.decoder.parameters(), *self.head.parameters()]

    def _finer(self, some: Tensor, count: int, size: Size) -> list[Tensor]:
        """Return maps without channels for the sizes that the encoder has none for."""
        height, width = size
        shapes = [(height // 2**number, width // 2**number) for number in range(count)]
        return [some.new_zeros((some.shape[0], 0, *shape)) for shape in shapes]

    def _decoded(self, maps: list[Tensor]) -> Tensor:
        found: Tensor = self.head(self.decoder(maps))
        return found

    def _levels(self) -> list[list[nn.Module]]:
        """Return the modules of each level in order; none for encoders of another make."""
        if self.encoder._is_channel_last or self.encoder._is_vgg_style:
            return []
        net: Any = self.encoder.model
        if type(net) is FeatureListNet:
            return _cut([(layer, name in net.return_layers) for name, layer in net.items()])
        if getattr(net, "feature_hooks", 0) is None and hasattr(net, "_stage_out_idx"):
            taps = net._stage_out_idx
            parts = [(net.conv_stem, False), (net.bn1, 0 in taps)]
            return _cut(parts + [(b, i in taps) for i, b in enumerate(net.blocks, start=1)])
        return []


def _cut(parts: list[tuple[nn.Module, bool]]) -> list[list[nn.Module]]:
    """Return the parts cut into runs, each of which ends where features are taken."""
    levels: list[list[nn.Module]] = [[]]
    for part, tapped in parts:
        levels[-1].append(part)
        if tapped:
            levels.append([])
    return levels[:-1]


def _build(name: str, classes: int, config: SegmenterConfig) -> Any:
    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, timm.list_models(), 4)) or "timm.list_models()"
        raise ConfigError(f"model.backbone: timm knows no {name!r}; see {near}")
    width, dropout = config.width, config.dropout
    options: dict[str, dict[str, Any]] = {
        "fpn": {
            "decoder_pyramid_channels": width,
            "decoder_segmentation_channels": width,
            "decoder_dropout": dropout,
        },
        "unet": {"decoder_channels": (4 * width, 2 * width, width, width // 2, width // 4)},
        "deeplabv3plus": {"decoder_channels": width, "decoder_aspp_dropout": dropout},
    }
    try:
        return smp.create_model(
            config.architecture, f"tu-{name}", None, classes=classes, **options[config.architecture]
        )
    except (
        RuntimeError,
        AttributeError,
        IndexError,
        TypeError,
        ValueError,
        NotImplementedError,
    ) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"model.backbone: {name!r} has no feature pyramid ({reason}); "
            "take a CNN such as tf_efficientnet_lite0, resnet50 or convnext_tiny, or "
            "--model.architecture mask_transformer for a plain ViT"
        ) from error


@torch.no_grad()
def _probe(encoder: nn.Module, name: str) -> None:
    """Look whether an encoder that is taken whole has an image size of its own."""
    was = encoder.training
    try:
        encoder.eval()(torch.zeros(1, 3, MULTIPLE, 2 * MULTIPLE))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"model.backbone: {name!r} does not take images of any size ({reason}); take a CNN "
            "such as tf_efficientnet_lite0, resnet50 or convnext_tiny"
        ) from error
    encoder.train(was)


def _flat(state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Return a state under the names of timm's feature networks: `stages_0.` for `stages.0.`."""
    known = set(net.state_dict())
    names = {re.sub(r"^(\w+?)_(\d+)\.", r"\1.\2.", name): name for name in known}
    return {names.get(name, name): value for name, value in state.items()}


def _fix_padding(net: nn.Module) -> None:
    """Put constant paddings in place of those that `SAME` convolutions find for each image."""
    for name, child in net.named_children():
        if isinstance(child, Conv2dSame):
            setattr(net, name, EvenConv2d(child))
        else:
            _fix_padding(child)


def _fix_norms(net: nn.Module) -> None:
    """Let group norms take a map of one cell, which PyTorch refuses where groups are one channel.

    A group of one value is its bias then, as it is anyway for each image of a batch of two.
    """
    for name, child in net.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(net, name, AnyGroupNorm(child))
        else:
            _fix_norms(child)


class AnyGroupNorm(nn.GroupNorm):
    """A group norm for maps of any size, of one cell too.

    Args:
        norm: PyTorch's, whose parameters it takes over.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class EvenConv2d(nn.Conv2d):
    """A `SAME` convolution for maps whose sides are multiples of its stride.

    Args:
        conv: timm's, whose parameters it takes over.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            0,
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.margins: list[int] = []
        for kernel, stride, dilation in zip(
            reversed(self.kernel_size), reversed(self.stride), reversed(self.dilation), strict=True
        ):
            total = max((kernel - 1) * dilation + 1 - stride, 0)
            self.margins += [total // 2, total - total // 2]

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the padded map."""
        padded = F.pad(x, self.margins) if any(self.margins) else x
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
