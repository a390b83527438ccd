"""The network of WeakTr's second stage: a plain ViT whose decoder has a token for each class."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from dealseg.config.segmenter import SegmenterConfig
from dealseg.models import backbones
from dealseg.models.base import IMAGENET_MEAN, IMAGENET_STD, Features
from dealseg.models.plain_vit import build_plain_vit
from dealseg.models.pyramids import Size
from dealseg.models.weights import load_pretrained

HEAD_WIDTH = 64
"""Channels of an attention head of the decoder, as in DeiT."""


class MaskTransformer(nn.Module):
    """Patch tokens and class tokens through two blocks; a logit is their cosine similarity.

    Source: Strudel et al., "Segmenter: Transformer for Semantic Segmentation" (arXiv 2105.05633),
    as WeakTr (arXiv 2304.01184) retrains it: the decoder is two blocks of the encoder's width,
    both kinds of tokens are projected and normalised, and a layer norm over the classes scales
    their products. The encoder skips blocks at rates up to 0.1 in training.

    Args:
        classes: channels of the output, background included.
        config: backbone and its weights; `dropout` is that of the decoder's blocks.

    Raises:
        ConfigError: if the backbone is no plain ViT.
        CheckpointError: if pretrained weights cannot be had.
    """

    default_backbone = "deit_small_patch16_224"

    def __init__(self, classes: int, config: SegmenterConfig) -> None:
        super().__init__()
        name = config.backbone or self.default_backbone
        self.encoder: Any = build_plain_vit(name, drop_path=0.1)
        if config.pretrained:
            load_pretrained(self.encoder, name, config.weights)
        backbones.freeze_unused(self.encoder, backbones.probe(self.encoder))
        self.multiple: int = max(self.encoder.patch_embed.patch_size)
        self.decoder = ClassTokenDecoder(self.encoder.embed_dim, classes, config.dropout)
        facts = self.encoder.pretrained_cfg
        self.mean, self.std = facts.get("mean", IMAGENET_MEAN), facts.get("std", IMAGENET_STD)

    @property
    def stage_count(self) -> int:
        """Stages of the ViT, any number of which may be frozen, and the decoder."""
        return len(backbones.stages(self.encoder)) + 1

    def stage_modules(self, count: int) -> list[nn.Module]:
        """Return the modules of the first `count` stages."""
        return backbones.stage_modules(self.encoder, count)

    def freeze(self, count: int) -> None:
        """Make the first `count` stages constant, with the tokens that are in none of them."""
        backbones.freeze(self.encoder, count)

    def encode(self, x: Tensor, count: int) -> Features:
        """Return what the first `count` stages make of normalised images."""
        for stage in backbones.stages(self.encoder)[:count]:
            x = stage(x)
        return {"x": x}

    def decode(self, features: Features, count: int, size: Size) -> Tensor:
        """Return class logits of the patches of images of `size`."""
        x = features["x"]
        for stage in backbones.stages(self.encoder)[count:]:
            x = stage(x)
        grid = backbones.token_grid(self.encoder, *size)
        found: Tensor = self.decoder(backbones.feature_map(self.encoder, x, grid))
        return found

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from scratch."""
        return list(self.decoder.parameters())


class ClassTokenDecoder(nn.Module):
    """Two transformer blocks over patches and class tokens, then their normalised products."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(width, width)
        self.tokens = nn.Parameter(torch.empty(1, classes, width))
        heads = max(1, width // HEAD_WIDTH)
        options: dict[str, Any] = {"qkv_bias": True, "proj_drop": dropout, "attn_drop": dropout}
        self.blocks = nn.Sequential(*(Block(width, heads, **options) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.patch_map = nn.Linear(width, width, bias=False)
        self.class_map = nn.Linear(width, width, bias=False)
        self.scale = nn.LayerNorm(classes)
        self.apply(_initialise)
        nn.init.trunc_normal_(self.tokens, std=0.02)
        for projection in (self.patch_map, self.class_map):
            nn.init.normal_(projection.weight, std=width**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Return (b, c, h, w) logits from (b, width, h, w) patch features."""
        patches = self.enter(features.flatten(2).mT)
        count = patches.shape[1]
        tokens = torch.cat([patches, self.tokens.expand(patches.shape[0], -1, -1)], dim=1)
        tokens = self.norm(self.blocks(tokens))
        patches = F.normalize(self.patch_map(tokens[:, :count]), dim=-1)
        classes = F.normalize(self.class_map(tokens[:, count:]), dim=-1)
        logits: Tensor = self.scale(patches @ classes.mT)
        return logits.mT.reshape(patches.shape[0], -1, *features.shape[-2:])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
