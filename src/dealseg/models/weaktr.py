"""WeakTr: class tokens, and CAMs refined by the attention of a plain ViT."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.config import ModelConfig
from dealseg.errors import CheckpointError, ConfigError
from dealseg.models import plain_vit
from dealseg.models.attention_fusion import AdaptiveAttentionFusion, mean_attention
from dealseg.models.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CamFacts,
    CamModel,
    CamOutput,
    Features,
    own_randomness,
)
from dealseg.models.weights import load_into, pretrained_state

FUSION_ONLY = CamFacts("attention fusion", signed=False)


class WeakTr(CamModel):
    """A ViT with one class token for each class, and three logits a class.

    `tokens` is the mean of a class token's channels; `coarse` the mean of a 3x3 convolution of the
    patch tokens, which is the coarse CAM; `fine` the mean of the fine CAM. With A the mean of all
    attention maps, weighted by :class:`AdaptiveAttentionFusion`, the fused CAM is A (class token
    to patch) x ReLU(coarse), and the fine CAM is A (patch to patch) applied to the fused one.
    Losses on the fused and fine CAM, and on `fine`, train the fusion's weights alone, for
    attention, branch outputs and coarse CAM enter them as constants.

    The parameters have the original's names, so its checkpoints load as they are. Sides that are no
    multiple of the patch lose the rest. The final norm is a part of the checkpoints, but never
    applied and hence not trained. Class tokens enter before the first block, so no leading stages
    are without parameters of the method: none can be frozen and cached.

    Source: Zhu et al., "WeakTr", arXiv 2304.01184, as its published code (third version, August
    2023). Departures: attention maps are not kept but made again when they are needed, by blocks
    (same values); the refinement is done in float32 under mixed precision. The original knows no
    registers (DINOv2): here they stand between class tokens and patches, and take no part in the
    CAMs or in the fusion's pooling. With LayerScale, the fusion reads the branch before it.
    """

    default_backbone = "deit_small_patch16_224"
    options = frozenset({"reduction", "pool", "drop_path"})
    cams: ClassVar = {
        "coarse": CamFacts("backbone, tokens and head"),
        "fused": FUSION_ONLY,
        "fine": FUSION_ONLY,
    }
    label_cam = "fine"
    attach: ClassVar = {"deal": "coarse", "isl": "coarse", "fsl": "coarse"}
    score_logits = ("tokens", "coarse")
    isl_mixes = ("class_coarse", 1.0)
    normalisation = "minmax"
    threshold = 0.43

    @classmethod
    def from_deit(
        cls,
        state_dict: Mapping[str, Any],
        *,
        classes: int = 20,
        config: ModelConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> "WeakTr":
        """Return a network that starts from a ViT's weights, as the original from DeiT's.

        The class token and its position are repeated for every class, the patches' positions are
        resized (bicubic) if they are of another grid, the classifier is left out.

        Args:
            state_dict: of DeiT, or of timm's network that `config.backbone` names; also as DeiT's
                files have it, under the key `model`.
            classes: number of foreground classes.
            config: backbone and options; `pretrained` and `weights` are not read.
            generator: draws what the state does not have: head and attention fusion.

        Raises:
            CheckpointError: if the weights are of another network.
        """
        config = replace(config or ModelConfig(), pretrained=False, weights=None)
        model = cls(classes, config, generator=generator)
        with own_randomness(None):
            net = model._new_backbone(config)
        _fill(net, state_dict.get("model", state_dict), "the state dict")
        model._adopt(net, plain_vit.repeated_tokens(net, classes))
        return model

    def build(self, classes: int, config: ModelConfig) -> None:
        """Make tokens, blocks, head and attention fusion."""
        net = self._new_backbone(config)
        head = nn.Conv2d(net.embed_dim, classes, 3, padding=1)
        fusion = AdaptiveAttentionFusion(
            len(net.blocks),
            net.blocks[0].attn.num_heads,
            net.embed_dim,
            config.reduction or 8,
            config.pool or "max",
        )
        if config.pretrained:
            name = config.backbone or self.default_backbone
            _fill(net, *pretrained_state(name, config.weights))
            tokens = plain_vit.repeated_tokens(net, classes)
        else:
            tokens = plain_vit.scratch_tokens(net, classes)
        self._adopt(net, tokens)
        self.head, self.adaptive_attention_fusion = head, fusion
        facts = net.pretrained_cfg
        self.set_normalisation(facts.get("mean", IMAGENET_MEAN), facts.get("std", IMAGENET_STD))

    def _new_backbone(self, config: ModelConfig) -> Any:
        drop_path = 0.1 if config.drop_path is None else config.drop_path
        return plain_vit.build_plain_vit(config.backbone or self.default_backbone, drop_path)

    def _adopt(self, net: Any, tokens: plain_vit.Tokens) -> None:
        """Take a ViT's modules, and tokens for the classes."""
        self.cls_token = nn.Parameter(tokens.classes.detach())
        self.pos_embed = nn.Parameter(tokens.positions.detach())
        registers = tokens.registers
        self.reg_token = None if registers is None else nn.Parameter(registers.detach())
        self.patch_embed, self.norm_pre = net.patch_embed, net.norm_pre
        self.blocks, self.norm = net.blocks, net.norm.requires_grad_(False)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """Return the normalised image; there are no frozen stages."""
        return {"x": self.normalised(image)}

    def decode(self, features: Features, size: tuple[int, int]) -> CamOutput:
        """Return logits and CAMs from the normalised image.

        Raises:
            ConfigError: if the image is smaller than a patch.
        """
        x, grid = self._embedded(features["x"], size)
        fusion, first = self.adaptive_attention_fusion, x.shape[1] - grid[0] * grid[1]
        pooled, queries, keys = [], [], []
        for block in self.blocks:
            x, branch, q, k = plain_vit.pass_block(block, x)
            pooled.append(fusion.pooled(self._without_registers(branch, first)))
            queries.append(q)
            keys.append(k)
        coarse = self.head(plain_vit.as_map(x[:, first:], grid))
        with torch.autocast(x.device.type, enabled=False):
            attention = mean_attention(fusion(torch.stack(pooled, 1)), queries, keys)
            fused, fine = refined(coarse, attention[..., first:])
        logits = {
            "tokens": x[:, : self.classes].mean(-1),
            "coarse": coarse.mean((-2, -1)),
            "fine": fine.mean((-2, -1)),
        }
        return CamOutput(logits, {"coarse": coarse, "fused": fused, "fine": fine})

    def _embedded(
        self, image: Float[Tensor, "b 3 h w"], size: tuple[int, int]
    ) -> tuple[Float[Tensor, "b n c"], tuple[int, int]]:
        """Return class tokens, registers and patches, and the grid of the patches."""
        (height, width), (down, across) = size, self.patch_embed.patch_size
        grid = height // down, width // across
        if min(grid) < 1:
            raise ConfigError(
                f"an image of {height}x{width} pixels is smaller than a patch ({down}x{across}); "
                "take larger images or a backbone with smaller patches"
            )
        patches = self.patch_embed(image[..., : grid[0] * down, : grid[1] * across]).flatten(1, 2)
        at_classes, at_patches = self.pos_embed.tensor_split([self.classes], dim=1)
        trained = self.patch_embed.grid_size
        patches = patches + plain_vit.resized_positions(
            at_patches, trained, grid, square=height == width
        )
        tokens = [self.cls_token + at_classes]
        if self.reg_token is not None:
            tokens.append(self.reg_token)
        tokens = [each.expand(len(patches), -1, -1) for each in tokens]
        return self.norm_pre(torch.cat([*tokens, patches], dim=1)), grid

    def _without_registers(self, tokens: Tensor, first_patch: int) -> Tensor:
        if self.reg_token is None:
            return tokens
        return torch.cat([tokens[:, : self.classes], tokens[:, first_patch:]], dim=1)

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of head and attention fusion."""
        return [*self.head.parameters(), *self.adaptive_attention_fusion.parameters()]


def refined(
    coarse: Float[Tensor, "b k h w"], attention: Float[Tensor, "b n p"]
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]]:
    """Return the fused and the fine CAM; the coarse one is a constant.

    Args:
        coarse: output of the head.
        attention: from all tokens to the p = h w patches. The first k tokens are the classes, the
            last p the patches. Rows need not add up to 1.
    """
    positive = coarse.detach().to(attention.dtype).relu().flatten(2)
    fused = attention[:, : coarse.shape[1]] * positive
    fine = fused @ attention[:, -positive.shape[-1] :].mT
    return fused.view_as(coarse), fine.view_as(coarse)


def _fill(net: Any, state: dict[str, Tensor], source: str) -> None:
    """Copy a ViT's weights, positions resized."""
    token = state.get("cls_token")
    if token is not None and token.shape[1] > 1:
        raise CheckpointError(
            f"{source} holds {token.shape[1]} class tokens, so it is a WeakTr checkpoint and no "
            "backbone: load it into the finished network (load_state_dict, or --init)"
        )
    load_into(net, plain_vit.fit_positions(net, state, source), source)
