"""Depth networks with a few thousand random parameters, saved as a model on the hub is."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers", reason="needs the extra `depth`")

_VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
_NECK = {"neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8}


def _depth_anything(**options) -> nn.Module:
    backbone = transformers.Dinov2Config(
        **_VIT, image_size=28, out_indices=[1, 2, 3, 4], reshape_hidden_states=False
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, head_hidden_size=4, **_NECK, **options
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def _dpt(**options) -> nn.Module:
    sizes = {"intermediate_size": 32, "image_size": 64, "backbone_out_indices": [0, 1, 2, 3]}
    config = transformers.DPTConfig(**_VIT, **_NECK, **sizes, **options)
    return transformers.DPTForDepthEstimation(config)


def _zoedepth() -> nn.Module:
    options = {"out_indices": [1, 2, 3, 4], "reshape_hidden_states": False}
    sizes = {"intermediate_size": 32, "image_size": 64, "use_relative_position_bias": True}
    config = transformers.ZoeDepthConfig(
        backbone_config=transformers.BeitConfig(**_VIT, **sizes, **options),
        **_NECK,
        backbone_hidden_size=16,
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[2, 2, 1, 1],
        num_patch_transformer_layers=None,
    )
    return transformers.ZoeDepthForDepthEstimation(config)


def _depth_pro() -> nn.Module:
    encoder = {
        "model_type": "dinov2",
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "patch_size": 4,
        "image_size": 32,
    }
    config = transformers.DepthProConfig(
        image_model_config=encoder,
        patch_model_config=encoder,
        fov_model_config=encoder,
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[10, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[12, 12],
        num_fov_head_layers=2,
        use_fov_model=True,
    )
    return transformers.DepthProForDepthEstimation(config)


def _glpn() -> nn.Module:
    config = transformers.GLPNConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
        sr_ratios=[4, 2, 2, 1],  # torch 2.15 on CPUs errs in bfloat16 for 8x8 strides of 8 channels
    )
    return transformers.GLPNForDepthEstimation(config)


def _dpt_processor(multiple: int, side: int, *, keep: bool):
    return transformers.DPTImageProcessor(
        size={"height": side, "width": side}, keep_aspect_ratio=keep, ensure_multiple_of=multiple
    )


NETWORKS = {
    "relative": lambda: (_depth_anything(), _dpt_processor(14, 42, keep=True)),
    "metric": lambda: (
        _depth_anything(depth_estimation_type="metric", max_depth=20),
        _dpt_processor(14, 42, keep=True),
    ),
    "dpt": lambda: (_dpt(), _dpt_processor(1, 64, keep=False)),
    "glpn": lambda: (_glpn(), transformers.GLPNImageProcessor()),
    "zoedepth": lambda: (
        _zoedepth(),
        transformers.ZoeDepthImageProcessor(size={"height": 64, "width": 64}),
    ),
    "depth_pro": lambda: (
        _depth_pro(),
        transformers.DepthProImageProcessor(size={"height": 64, "width": 64}),
    ),
}


def _last_convolution(part: nn.Module) -> nn.Conv2d:
    return [each for each in part.modules() if isinstance(each, nn.Conv2d)][-1]


def save_network(name: str, folder: Path) -> Path:
    """Write one of `NETWORKS` with the same weights each time; its maps vary over the image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network, processor = NETWORKS[name]()
        for parameter in network.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=1.4 / math.sqrt(parameter[0].numel()))
        if name in {"relative", "dpt", "depth_pro"}:  # keeps the last ReLU open
            nn.init.constant_(_last_convolution(network.head).bias, 4.0)
        if name == "depth_pro":  # a field of view of about 50 degrees
            nn.init.constant_(_last_convolution(network.fov_model).bias, 50.0)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
