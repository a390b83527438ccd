"""timm backbones as a chain of stages: leading ones can be frozen and their output cached."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn

from dealseg.errors import ConfigError

Stage = Callable[[Tensor], Tensor]


def build_backbone(name: str, output_stride: int) -> nn.Module:
    """Return an untrained timm backbone without classifier, for any image size.

    A CNN that cannot be dilated keeps its own stride; a ViT has its patch size.

    Raises:
        ConfigError: if timm knows no such model.
    """
    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, timm.list_models(), 4)) or "timm.list_models()"
        raise ConfigError(f"model.backbone: timm knows no {name!r}; see {near}")
    for options in (
        {"dynamic_img_size": True, "dynamic_img_pad": True},
        {"output_stride": output_stride},
        {"strict_img_size": False},
        {},
    ):
        net = _try_build(name, options)
        if net is not None:
            return net
    raise ConfigError(f"model.backbone: {name!r} cannot be built without its classifier")


def _try_build(name: str, options: dict[str, Any]) -> nn.Module | None:
    """Build without classifier, or return None where this family does not know the options."""
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=0, global_pool="", **options
        )
    except (TypeError, NotImplementedError, RuntimeError, AssertionError, ValueError):
        return None
    return net


def stages(backbone: Any) -> list[Stage]:
    """Return functions whose composition is the backbone's `forward_features`.

    Known families: EfficientNet and MobileNet, ResNet, ConvNeXt, plain ViT. Any other backbone is a
    single stage: it can be trained whole, but nothing of it can be frozen and cached.
    """
    for family in (_efficientnet, _resnet, _convnext, _vit):
        found = family(backbone)
        if found:
            return found
    return [backbone.forward_features]


def stage_modules(backbone: nn.Module, count: int) -> list[nn.Module]:
    """Return the modules inside the first `count` stages, for freezing."""
    found: list[nn.Module] = []
    for stage in stages(backbone)[:count]:
        found += [part for part in getattr(stage, "parts", [stage]) if isinstance(part, nn.Module)]
    return found


class _Chain:
    """Parts applied one after the other."""

    def __init__(self, *parts: Stage) -> None:
        self.parts = parts

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


def _has(backbone: nn.Module, *names: str) -> bool:
    return all(hasattr(backbone, name) for name in names)


def _efficientnet(net: Any) -> list[Stage]:
    if not _has(net, "conv_stem", "bn1", "blocks", "conv_head", "bn2"):
        return []
    first, *others = net.blocks
    last = _Chain(net.conv_head, net.bn2)
    return [_Chain(net.conv_stem, net.bn1, first), *others[:-1], _Chain(others[-1], *last.parts)]


def _resnet(net: Any) -> list[Stage]:
    if not _has(net, "conv1", "bn1", "act1", "maxpool", "layer1", "layer4"):
        return []
    stem = _Chain(net.conv1, net.bn1, net.act1, net.maxpool)
    return [stem, net.layer1, net.layer2, net.layer3, net.layer4]


def _convnext(net: Any) -> list[Stage]:
    if not _has(net, "stem", "stages", "norm_pre"):
        return []
    *others, last = net.stages
    return [net.stem, *others, _Chain(last, net.norm_pre)]


def _vit(net: Any) -> list[Stage]:
    if not _has(net, "patch_embed", "_pos_embed", "norm_pre", "blocks", "norm"):
        return []
    embed = _Chain(net.patch_embed, net._pos_embed, net.patch_drop, net.norm_pre)
    *others, last = net.blocks
    return [embed, *others, _Chain(last, net.norm)]


def feature_map(backbone: Any, features: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Return features as (b, c, h, w): patch tokens on `grid`, without the prefix tokens."""
    if features.ndim == 4:
        channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if channels_last else features
    patches = features[:, getattr(backbone, "num_prefix_tokens", 1) :]
    rows, columns = grid or _square(patches.shape[1])
    return patches.transpose(1, 2).reshape(len(patches), -1, rows, columns)


def token_grid(backbone: Any, height: int, width: int) -> tuple[int, int] | None:
    """Return rows and columns of a ViT's patches, counting padded ones; None for a CNN."""
    embed = getattr(backbone, "patch_embed", None)
    if embed is None or not hasattr(embed, "patch_size"):
        return None
    down, across = embed.patch_size
    return -(-height // down), -(-width // across)


def _square(count: int) -> tuple[int, int]:
    side = round(count**0.5)
    return side, count // side


def channels(backbone: Any) -> int:
    """Return the number of feature channels (some networks widen after `num_features`)."""
    with torch.no_grad():
        was = backbone.training
        features = backbone.eval().forward_features(torch.zeros(1, 3, 224, 224))
        backbone.train(was)
    return feature_map(backbone, features, token_grid(backbone, 224, 224)).shape[1]
