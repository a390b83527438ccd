"""A plain timm ViT taken apart, for networks that have more tokens and look into its attention."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import DropPath, Mlp, PatchEmbed
from timm.models import VisionTransformer
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dealseg.errors import CheckpointError, ConfigError
from dealseg.models.backbones import build_backbone


class Tokens(NamedTuple):
    """What is learnt beside the blocks.

    Attributes:
        classes: class tokens (1, k, c).
        registers: register tokens (1, r, c), their positions added; None where there are none.
        positions: of the class tokens, then of the patches, row by row (1, k + p, c).
    """

    classes: Tensor
    registers: Tensor | None
    positions: Tensor


def build_plain_vit(name: str, drop_path: float) -> Any:
    """Return an untrained ViT for any image size, which skips blocks with rates up to `drop_path`.

    Raises:
        ConfigError: if timm has no such network, or it is built in another way.
    """
    net: Any = build_backbone(name, output_stride=16)
    reason = _difference(net)
    if reason:
        raise ConfigError(
            f"model.backbone: {name!r} is no plain ViT ({reason}); take one, e.g. "
            "deit_small_patch16_224, vit_base_patch8_224 or vit_small_patch14_reg4_dinov2, or a "
            "method for any backbone, e.g. cam"
        )
    rates = torch.linspace(0, drop_path, len(net.blocks)).tolist()
    for block, rate in zip(net.blocks, rates, strict=True):
        block.drop_path1, block.drop_path2 = DropPath(rate), DropPath(rate)
    return net


def _difference(net: Any) -> str:
    """Return in what a network differs from a plain ViT; empty if it is one."""
    if type(net) is not VisionTransformer:
        return f"timm builds it as {type(net).__name__}"
    if type(net.patch_embed) is not PatchEmbed:
        return f"its patches come from {type(net.patch_embed).__name__}"
    if net.pos_embed is None:
        return "it has no learnt positions"
    for block in net.blocks:
        attn = getattr(block, "attn", None)
        if type(block) is not Block or type(attn) is not Attention:
            return f"its blocks are {type(block).__name__} with {type(attn).__name__}"
        if getattr(attn, "gate", None) is not None:
            return "its attention is gated"
    return ""


class Passed(NamedTuple):
    """What a block makes of its tokens.

    Attributes:
        tokens: the block's output (b, n, c).
        branch: what its attention adds to them, before layer scale and drop path (b, n, c).
        queries: of each of its a heads (b, a, n, d).
        keys: likewise.
    """

    tokens: Tensor
    branch: Tensor
    queries: Tensor
    keys: Tensor


def pass_block(block: Any, x: Float[Tensor, "b n c"]) -> Passed:
    """Return what timm's block makes of tokens, with little memory in training.

    Attention maps, softmax(queries keys^T / sqrt(d)), are never whole: PyTorch's fused kernel needs
    none. Outputs of norms and of the activation are made again in the backward pass instead of
    being kept, which is cheap, for no matrix product is repeated.
    """
    branch, q, k = _attend(block.attn, block.norm1, x)
    x = x + block.drop_path1(block.ls1(branch))
    x = x + block.drop_path2(block.ls2(_mlp(block.mlp, block.norm2, x)))
    return Passed(x, branch, q, k)


def _attend(attn: Any, norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    qkv = _sparing(lambda tokens: attn.qkv(norm(tokens)), x)
    qkv = qkv.view(*x.shape[:2], 3, attn.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    q, k = attn.q_norm(q), attn.k_norm(k)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    if hasattr(attn, "norm"):  # timm 1.0.10 and later
        mixed = attn.norm(mixed)
    return attn.proj(mixed), q, k


def _mlp(mlp: Any, norm: nn.Module, x: Tensor) -> Tensor:
    if type(mlp) is not Mlp:
        return mlp(norm(x))  # type: ignore[no-any-return]
    hidden = _sparing(lambda tokens: mlp.fc1(norm(tokens)), x)
    return _sparing(lambda values: mlp.fc2(mlp.norm(mlp.act(values))), hidden)


def _sparing(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return function(x), a layer behind cheap ones, keeping no more than x for its gradient.

    Making things again stops before the layer itself, whose output its gradient does not need.
    """
    result: Tensor = checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
    return result


def scratch_tokens(net: Any, classes: int) -> Tokens:
    """Return class tokens and positions drawn anew (truncated normal, 0.02), other tokens as is."""
    width, patches = net.embed_dim, net.patch_embed.num_patches
    drawn = (torch.empty(1, count, width) for count in (classes, classes + patches))
    tokens, positions = (nn.init.trunc_normal_(each, std=0.02) for each in drawn)
    return Tokens(tokens, net.reg_token, positions)


def repeated_tokens(net: Any, classes: int) -> Tokens:
    """Return a trained ViT's tokens, its class token and that one's position `classes` times.

    A ViT without a class token has nothing to repeat: new ones are drawn, at position 0.
    """
    own = int(net.has_class_token)
    prefix, patches = net.pos_embed.split([_positioned(net), net.patch_embed.num_patches], dim=1)
    tokens = net.cls_token if own else scratch_tokens(net, classes).classes
    at = prefix[:, :own] if own and prefix.shape[1] else torch.zeros_like(patches[:, :1])
    registers = net.reg_token
    if registers is not None and prefix.shape[1]:
        registers = registers + prefix[:, own:]
    positions = torch.cat([at.expand(-1, classes, -1), patches], dim=1)
    return Tokens(tokens.expand(-1, classes, -1).clone(), registers, positions)


def _positioned(net: Any) -> int:
    """Return how many tokens before the patches have a position."""
    return 0 if net.no_embed_class else int(net.num_prefix_tokens)


def fit_positions(net: Any, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return a ViT's state with the positions resized to the grid of `net`, bicubic as in DeiT.

    Raises:
        CheckpointError: if its positions are those of no square grid.
    """
    table, own = state.get("pos_embed"), _positioned(net)
    if table is None or table.shape == net.pos_embed.shape:
        return state
    side = round(max(table.shape[1] - own, 0) ** 0.5)
    if table.shape[1] != own + side**2 or side == 0:
        raise CheckpointError(
            f"{source}: {table.shape[1]} positions are not {own} and a square grid of patches; is "
            "it the right model.backbone?"
        )
    patches = as_map(table[:, own:], (side, side))
    patches = F.interpolate(patches, net.patch_embed.grid_size, mode="bicubic")
    return {**state, "pos_embed": torch.cat([table[:, :own], patches.flatten(2).mT], dim=1)}


def as_map(patches: Float[Tensor, "b p c"], grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Return patch tokens, row by row, as a map."""
    return patches.mT.reshape(len(patches), -1, *grid)


def resized_positions(
    positions: Float[Tensor, "1 p c"],
    trained: tuple[int, int],
    grid: tuple[int, int],
    square: bool,
) -> Float[Tensor, "1 q c"]:
    """Return the patches' positions for another grid as WeakTr (and DINO) has them.

    Bicubic, with the scale (new + 0.1) / old handed to the interpolation; the 0.1 was put there
    against rounding, and shifts every value a little. Left as they are only if the grid is the
    trained one and the image is square.
    """
    if square and grid == trained:
        return positions
    factor = tuple((new + 0.1) / old for new, old in zip(grid, trained, strict=True))
    resized = F.interpolate(as_map(positions, trained), scale_factor=factor, mode="bicubic")
    return resized.flatten(2).mT
