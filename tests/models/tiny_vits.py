"""Plain ViTs of timm's own class, small and of every kind, in place of those it has by name."""

import torch
from timm.layers import SwiGLUPacked
from timm.models import VisionTransformer

from dealseg.models import plain_vit

KINDS = {
    "plain": {},
    "patch 14": {"patch_size": 14, "img_size": 56},
    "patch 16": {"patch_size": 16, "img_size": 48},
    "layer scale": {"init_values": 0.3},
    "normed queries": {"qk_norm": True},
    "registers": {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.5},
    "placed registers": {"reg_tokens": 2},
    "no class token": {"class_token": False, "reg_tokens": 1, "global_pool": "avg"},
    "norm before": {"pre_norm": True},
    "gated mlp": {"mlp_layer": SwiGLUPacked},
}
"""Options of :func:`tiny_vit` by name."""


def tiny_vit(seed=0, **options):
    """A ViT of three blocks with two heads of 8 channels, all parameters drawn at random."""
    defaults = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_heads": 2, "depth": 3,
                "num_classes": 0, "global_pool": "", "dynamic_img_size": True}  # fmt: skip
    net = VisionTransformer(**{**defaults, **options})
    net.pretrained_cfg = {"classifier": "head"}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.3 * noise)
    return net


def stand_in(monkeypatch, seed=0, **options):
    """Let every backbone's name mean this ViT."""

    def build(name, output_stride):
        return tiny_vit(seed, **options)

    monkeypatch.setattr(plain_vit, "build_backbone", build)
