"""WeakTr's adaptive attention fusion: all heads of all layers as one weighted mean."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK = 2**22
"""Attention values (all images and heads of a layer) that are held at once."""


class AdaptiveAttentionFusion(nn.Module):
    """A weight in (0, 1) for each attention head, from what the layers add to their tokens.

    The names of its parameters are those of the original. Source: WeakTr (arXiv 2304.01184),
    section 3.2, as its published code (August 2023) has it: a head's feature is every a-th channel
    of the branch's output, and no nonlinearity stands between the two layers of `attn_feat_ffn`.

    Args:
        layers: blocks of the ViT.
        heads: attention heads of each.
        width: channels of a token.
        reduction: the weights of all heads pass a layer this many times narrower.
        pool: how a branch's output is pooled over tokens.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        width: int,
        reduction: int = 8,
        pool: Literal["max", "avg"] = "max",
    ) -> None:
        super().__init__()
        self.heads, self.pool = heads, pool
        each, maps = width // heads, layers * heads
        inner, narrow = max(1, each // 8), max(1, maps // reduction)
        self.attn_head_ffn = nn.Sequential(
            nn.Linear(maps, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, maps, bias=False)
        )
        self.attn_feat_ffn = nn.Sequential(nn.Linear(each, inner), nn.Linear(inner, 1))

    def pooled(self, branch: Float[Tensor, "b n c"]) -> Float[Tensor, "b c"]:
        """Return a branch's output pooled over tokens, without gradient."""
        branch = branch.detach()
        return branch.amax(1) if self.pool == "max" else branch.mean(1, dtype=_wide(branch))

    def forward(self, pooled: Float[Tensor, "b l c"]) -> Float[Tensor, "b l a"]:
        """Return the weight of each head of each layer from the pooled branches."""
        batch, layers, _ = pooled.shape
        features = pooled.reshape(batch, layers, -1, self.heads).permute(0, 3, 1, 2)
        scores = self.attn_feat_ffn(features.to(next(self.parameters()).dtype))
        weights: Tensor = self.attn_head_ffn(scores.flatten(1)).sigmoid()
        return weights.view(batch, self.heads, layers).mT


def mean_attention(
    weights: Float[Tensor, "b l a"],
    queries: Sequence[Float[Tensor, "b a n d"]],
    keys: Sequence[Float[Tensor, "b a n d"]],
) -> Float[Tensor, "b n n"]:
    r"""Return the mean over layers and heads of weight x attention.

    $$ \frac{1}{LA} \sum_{l,a} w_{la} \, softmax(q_{la} k_{la}^T / \sqrt d) $$

    No more than `BLOCK` values of the L x A maps exist at a time: they are made again, from
    queries and keys, in the backward pass. That reaches the weights alone, as WeakTr has it.

    Args:
        weights: of each layer's heads.
        queries: of each layer; constants.
        keys: of each layer; constants.
    """
    tokens = [each.detach() for each in (*queries, *keys)]
    total: Tensor = _MeanAttention.apply(weights, *tokens)
    return total


class _MeanAttention(torch.autograd.Function):
    """:func:`mean_attention`, by blocks of rows; arguments are weights, queries and keys."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *tokens: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *tokens)
        (batch, _, count, _), share = tokens[0].shape, 1 / weights[0].numel()
        total = weights.new_empty(batch, count, count)
        with torch.autocast(weights.device.type, enabled=False):
            for rows in _row_blocks(tokens[0]):
                part = torch.zeros_like(total[:, rows]).flatten(1)[:, None]
                for layer, maps in enumerate(_maps(tokens, rows)):
                    part.baddbmm_(weights[:, layer, None], maps.to(weights.dtype), alpha=share)
                total[:, rows] = part.view(batch, -1, count)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        weights, *tokens = ctx.saved_tensors
        slopes = torch.zeros_like(weights)
        with torch.autocast(weights.device.type, enabled=False):
            for rows in _row_blocks(tokens[0]):
                part = slope[:, rows].flatten(1)[..., None] / weights[0].numel()
                for layer, maps in enumerate(_maps(tokens, rows)):
                    slopes[:, layer] += (maps.to(part.dtype) @ part)[..., 0]
        return slopes, *(None for _ in tokens)


def _row_blocks(queries: Tensor) -> Iterator[slice]:
    batch, heads, count, _ = queries.shape
    step = max(1, BLOCK // (batch * heads * count))
    return (slice(start, start + step) for start in range(0, count, step))


def _maps(tokens: Sequence[Tensor], rows: slice) -> Iterator[Tensor]:
    """Yield for each layer these rows of its attention, flattened: (b, a, rows x n)."""
    layers = len(tokens) // 2
    for q, k in zip(tokens[:layers], tokens[layers:], strict=True):
        scores = (q[:, :, rows] * q.shape[-1] ** -0.5) @ k.mT
        yield scores.softmax(-1, dtype=_wide(scores)).flatten(2)


def _wide(x: Tensor) -> torch.dtype:
    """Return float32, or a wider type if the tensor has it."""
    return torch.promote_types(x.dtype, torch.float32)
