"""Which timm backbone a state dict is of, by comparing names and shapes."""

from collections.abc import Mapping
from functools import cache

import timm
import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

_VIT_SIZES = {64: "test", 192: "tiny", 384: "small", 768: "base", 1024: "large"}
_FAMILIES = {
    "layer1.0.conv1.weight": (
        *("resnet18", "resnet34", "resnet26", "resnet50", "resnet101", "resnet152", "resnet26d"),
        *("resnet50d", "resnext50_32x4d", "wide_resnet50_2", "seresnet50", "test_resnet"),
    ),
    "stages.0.blocks.0.conv_dw.weight": (
        *("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano", "convnext_tiny"),
        *("convnext_small", "convnext_base", "convnextv2_atto", "convnextv2_nano"),
        *("convnextv2_tiny", "convnextv2_base", "test_convnext"),
    ),
    "conv_stem.weight": (
        *("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"),
        *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"),
        *("efficientnet_b4", "mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv3_small_100"),
        "test_efficientnet",
    ),
}


def guess_backbone(state: Mapping[str, Tensor]) -> str | None:
    """Return the first of a short list of timm names whose tensors are all in `state`, or None.

    Classifiers and class tokens do not count, nor the size of the images that positions were learnt
    for. Several networks of timm share names and shapes; the first of them is as good as any.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    for name in _candidates(shapes):
        if timm.is_model(name) and _is_of(name, shapes):
            return name
    return None


def _candidates(shapes: Shapes) -> tuple[str, ...]:
    if "patch_embed.proj.weight" in shapes and "blocks.0.attn.qkv.weight" in shapes:
        return _vit_names(shapes)
    return next((names for mark, names in _FAMILIES.items() if mark in shapes), ())


def _vit_names(shapes: Shapes) -> tuple[str, ...]:
    width, _, _, patch = shapes["patch_embed.proj.weight"]
    size = _VIT_SIZES.get(width)
    if size is None:
        return ()
    names = (
        *(f"deit_{size}_patch{patch}_224", f"deit_{size}_distilled_patch{patch}_224"),
        *(f"vit_{size}_patch{patch}_224", f"vit_{size}_patch{patch}_dinov2"),
        *(f"vit_{size}_patch{patch}_reg4_dinov2", "test_vit"),
    )
    registers = any(name in shapes for name in ("reg_token", "register_tokens"))
    distilled = "dist_token" in shapes
    return tuple(
        name
        for name in names
        if ("_reg4_" in name) == registers and ("_distilled_" in name) == distilled
    )


def _is_of(name: str, shapes: Shapes) -> bool:
    own = _shapes_of(name)
    wanted = {key: shape for key, shape in own.items() if not _may_differ(key)}
    return all(shapes.get(key) == shape for key, shape in wanted.items()) and not (
        _numbered(shapes, set(own)) - set(own)
    )


@cache
def _shapes_of(name: str) -> Shapes:
    """Return the shapes of timm's network, which is built without memory for its numbers."""
    with torch.device("meta"):
        state = timm.create_model(name, num_classes=0).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def _may_differ(key: str) -> bool:
    return key in ("pos_embed", "cls_token") or key.endswith("num_batches_tracked")


def _numbered(shapes: Shapes, own: set[str]) -> set[str]:
    """Return the tensors in numbered blocks of the network's parts: a deeper one has more."""
    parts = {key.partition(".")[0] for key in own}
    names = (key.split(".") for key in shapes)
    return {
        ".".join(name)
        for name in names
        if name[0] in parts and name[-1] != "num_batches_tracked" and any(map(str.isdigit, name))
    }
