"""timm backbones as a chain of stages: leading ones can be frozen and their output cached."""

from collections.abc import Callable
from difflib import get_close_matches
from itertools import product
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from timm.models import VisionTransformer
from torch import Tensor, nn

from dealseg.errors import ConfigError

Stage = Callable[[Tensor], Tensor]


def build_backbone(name: str, output_stride: int) -> nn.Module:
    """Return an untrained timm backbone without classifier, for any image size where it can.

    A CNN that cannot be dilated keeps its own stride; a ViT has its patch size.

    Raises:
        ConfigError: if timm knows no such model.
    """
    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, timm.list_models(), 4)) or "timm.list_models()"
        raise ConfigError(f"model.backbone: timm knows no {name!r}; see {near}")
    sizes: tuple[dict[str, Any], ...] = (
        {"dynamic_img_size": True, "dynamic_img_pad": True},
        {"output_stride": output_stride},
        {"strict_img_size": False},
        {},
    )
    for size, pool in product(sizes, ({"global_pool": ""}, {})):
        net = _try_build(name, {**size, **pool})
        if net is not None:
            return net
    raise ConfigError(f"model.backbone: {name!r} cannot be built without its classifier")


def _try_build(name: str, options: dict[str, Any]) -> nn.Module | None:
    """Build without classifier, or return None where this family does not know the options."""
    try:
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except (TypeError, NotImplementedError, RuntimeError, AssertionError, ValueError):
        return None
    return net


def stages(backbone: Any) -> list[Stage]:
    """Return functions whose composition is the backbone's `forward_features`.

    Known families: EfficientNet and MobileNetV2, ResNet, ConvNeXt, plain ViT, and SEAM's ResNet-38.
    Any other is a single stage: it can be trained whole, but nothing of it frozen and cached.
    """
    for family in (_efficientnet, _resnet, _convnext, _vit, _resnet38d):
        found = family(backbone)
        if found:
            return found
    return [_Whole(backbone)]


def stage_modules(backbone: nn.Module, count: int) -> list[nn.Module]:
    """Return the modules inside the first `count` stages."""
    found: list[nn.Module] = []
    for stage in stages(backbone)[:count]:
        parts = [*stage.parts, *stage.inner] if isinstance(stage, _Chain) else [stage]
        found += [part for part in parts if isinstance(part, nn.Module)]
    return found


def freeze(backbone: nn.Module, count: int) -> None:
    """Make the parameters of the first `count` stages, a ViT's own tokens among them, constant."""
    for module in stage_modules(backbone, count):
        module.requires_grad_(False)
    for stage in stages(backbone)[:count]:
        for parameter in stage.tokens if isinstance(stage, _Chain) else ():
            parameter.requires_grad_(False)


class _Chain:
    """Parts applied one after the other.

    Args:
        parts: functions, most of them modules.
        inner: modules that a part uses without being one.
        tokens: parameters that a part uses and that are in none of the modules.
    """

    def __init__(
        self,
        *parts: Stage,
        inner: tuple[nn.Module, ...] = (),
        tokens: tuple[nn.Parameter, ...] = (),
    ) -> None:
        self.parts = parts
        self.inner = inner
        self.tokens = tokens

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class _Whole:
    """A backbone of another family, in one go; tokens become the map that timm makes of them."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        try:
            return self._features(x)
        except torch.cuda.OutOfMemoryError:
            raise
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ConfigError(
                f"model.backbone: {type(self.net).__name__} cannot take images of {x.shape[-2]}x"
                f"{x.shape[-1]} pixels ({reason}); choose another image size or backbone"
            ) from error

    def _features(self, x: Tensor) -> Tensor:
        features: Tensor
        if not hasattr(self.net, "patch_embed"):
            features = self.net.forward_features(x)
            if features.ndim == 4:
                return features
        features, maps = self.net.forward_intermediates(x, indices=1, norm=True, output_fmt="NCHW")
        return features if features.ndim == 4 else maps[-1]


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
    if not isinstance(net, VisionTransformer) or type(net.patch_embed) is not PatchEmbed:
        return []
    embed = _Chain(
        *(net.patch_embed, net._pos_embed, net.patch_drop, net.norm_pre),
        inner=(net.pos_drop,),
        tokens=tuple(net.parameters(recurse=False)),
    )
    *others, last = net.blocks
    return [embed, *others, _Chain(last, net.norm)]


def _resnet38d(net: Any) -> list[Stage]:
    if not _has(net, "conv1a", "b6", "b7", "bn7"):
        return []
    groups = [[net.conv1a], [], [], []]
    for name, layer in net.named_children():
        if name[:2] in ("b2", "b3", "b4", "b5"):
            groups[int(name[1]) - 2].append(layer)
    return [*(_Chain(*group) for group in groups), net.b6, _Chain(net.b7, net.bn7)]


def feature_map(backbone: Any, features: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Return features as (b, c, h, w): patch tokens on `grid`, without the prefix tokens.

    Raises:
        ConfigError: if there are not as many patch tokens as cells.
    """
    if features.ndim == 4:
        channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if channels_last else features
    patches = features[:, backbone.num_prefix_tokens :]
    if grid is None or patches.shape[1] != grid[0] * grid[1]:
        raise ConfigError(
            f"{patches.shape[1]} patch tokens are not a grid of {grid}; "
            "give decode the size of the image they were made of"
        )
    return patches.transpose(1, 2).reshape(patches.shape[0], -1, *grid)


def token_grid(backbone: Any, height: int, width: int) -> tuple[int, int] | None:
    """Return rows and columns of a plain ViT's patches, counting padded ones; None for others."""
    embed = getattr(backbone, "patch_embed", None)
    if type(embed) is not PatchEmbed:
        return None
    down, across = embed.patch_size
    return -(-height // down), -(-width // across)


def probe(backbone: Any) -> Tensor:
    """Return the feature map of a small black image, for its channels and what it depends on.

    Raises:
        ConfigError: if the backbone makes no feature map.
    """
    chain = stages(backbone)
    height, width = (64, 64) if len(chain) > 1 else backbone.pretrained_cfg["input_size"][1:]
    was = backbone.training
    backbone.eval()
    with torch.enable_grad():
        features = _Chain(*chain)(torch.zeros(1, 3, height, width))
    backbone.train(was)
    return feature_map(backbone, features, token_grid(backbone, height, width))


def freeze_unused(backbone: nn.Module, features: Tensor) -> None:
    """Make parameters constant that features do not depend on (DDP would wait for their gradient).

    Some networks keep parts of a head, e.g. ConvNeXt its last norm.
    """
    parameters = [p for p in backbone.parameters() if p.requires_grad]
    with torch.enable_grad():
        gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
