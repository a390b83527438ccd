"""The mean over all attention maps, and the weights it takes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dealseg.models import attention_fusion
from dealseg.models.attention_fusion import AdaptiveAttentionFusion, mean_attention

LAYERS, HEADS = 3, 2


def inputs(batch=2, count=7, width=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2 * LAYERS, batch, HEADS, count, width)
    tokens = [2 * each for each in torch.randn(shape, generator=generator, dtype=dtype)]
    weights = torch.rand(batch, LAYERS, HEADS, generator=generator, dtype=dtype)
    return weights, tokens[:LAYERS], tokens[LAYERS:]


def loop(weights, queries, keys):
    """Every map by itself, in a loop."""
    batch, _, count, width = queries[0].shape
    total = [torch.zeros(count, count, dtype=weights.dtype) for _ in range(batch)]
    for image in range(batch):
        for layer in range(LAYERS):
            for head in range(HEADS):
                q, k = queries[layer][image, head], keys[layer][image, head]
                attention = torch.softmax(q @ k.T / width**0.5, dim=1)
                total[image] = total[image] + weights[image, layer, head] * attention
    return torch.stack(total) / (LAYERS * HEADS)


@pytest.mark.parametrize("block", [1, 60, 2**22])
def test_mean_and_slopes_are_those_of_a_loop_over_maps_for_any_block(monkeypatch, block):
    monkeypatch.setattr(attention_fusion, "BLOCK", block)
    weights, queries, keys = inputs()
    slope = torch.randn(2, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for form in (mean_attention, loop):
        free = weights.clone().requires_grad_()
        mean = form(free, queries, keys)
        results.append((mean.detach(), *torch.autograd.grad(mean, free, slope)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def test_its_gradient_is_the_slope_of_its_value():
    weights, queries, keys = inputs(count=4)
    assert torch.autograd.gradcheck(
        lambda free: mean_attention(free, queries, keys), weights.requires_grad_()
    )


def test_weights_of_one_give_rows_that_add_up_to_one():
    weights, queries, keys = inputs()
    rows = mean_attention(torch.ones_like(weights), queries, keys).sum(-1)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_queries_and_keys_get_no_gradient():
    weights, queries, keys = inputs()
    tokens = [each.requires_grad_() for each in (*queries, *keys)]
    mean = mean_attention(weights.requires_grad_(), queries, keys)
    slopes = torch.autograd.grad(mean.sum(), [weights, *tokens], allow_unused=True)
    assert slopes[0] is not None
    assert all(each is None for each in slopes[1:])


class _Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, tuple | list) else (out,)
        sizes = [each.numel() for each in made if isinstance(each, torch.Tensor)]
        self.values = max(self.values, *sizes, 0)
        return out


def test_no_tensor_is_larger_than_a_block_or_the_result(monkeypatch):
    monkeypatch.setattr(attention_fusion, "BLOCK", 2000)
    weights, queries, keys = inputs(count=40)
    with _Largest() as seen:
        mean_attention(weights.requires_grad_(), queries, keys).sum().backward()
    assert seen.values == 2 * 40 * 40
    assert seen.values < 2 * HEADS * 40 * 40


def test_half_precision_inputs_give_a_float32_mean():
    weights, queries, keys = inputs(dtype=torch.float32)
    halves = [[each.bfloat16() for each in group] for group in (queries, keys)]
    with torch.autocast("cpu", torch.bfloat16):
        mean = mean_attention(weights, *halves)
    assert mean.dtype == torch.float32
    wide = mean_attention(weights, *([each.float() for each in group] for group in halves))
    torch.testing.assert_close(mean, wide, rtol=0, atol=0.01)


def test_mixed_precision_does_not_change_how_maps_are_added():
    """In bfloat16 a sum of 1/6 and 1e-4 would lose the latter."""
    weights, queries, keys = inputs(dtype=torch.float32)
    expected = mean_attention(weights, queries, keys)
    free = weights.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        mean = mean_attention(free, queries, keys)
        (slope,) = torch.autograd.grad(mean.square().sum(), free)
    assert torch.equal(mean, expected)
    (wide,) = torch.autograd.grad(mean_attention(free, queries, keys).square().sum(), free)
    torch.testing.assert_close(slope, wide)


@pytest.mark.parametrize(("reduction", "inner"), [(8, 4), (4, 9), (100, 1)])
def test_the_reduction_narrows_the_weights_layer(reduction, inner):
    fusion = AdaptiveAttentionFusion(12, 3, 192, reduction)
    shapes = {name: tuple(value.shape) for name, value in fusion.named_parameters()}
    assert shapes == {
        "attn_head_ffn.0.weight": (inner, 36),
        "attn_head_ffn.2.weight": (36, inner),
        "attn_feat_ffn.0.weight": (8, 64),
        "attn_feat_ffn.0.bias": (8,),
        "attn_feat_ffn.1.weight": (1, 8),
        "attn_feat_ffn.1.bias": (1,),
    }


def test_pooling_is_the_largest_or_the_mean_value_of_a_channel_over_tokens():
    branch = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [2.0, -3.0]]], requires_grad=True)
    for pool, expected in (("max", [[3.0, -1.0]]), ("avg", [[2.0, -3.0]])):
        pooled = AdaptiveAttentionFusion(1, 1, 2, pool=pool).pooled(branch)
        assert pooled.tolist() == expected
        assert not pooled.requires_grad


def test_a_head_is_weighed_by_every_second_channel_of_its_own_layer():
    """Two heads; with all other weights known, head 1 of layer 0 sees channels 1, 3, ... there."""
    fusion = AdaptiveAttentionFusion(2, 2, 16, reduction=1)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.fill_(0.0)
        for layer in (fusion.attn_feat_ffn[0], fusion.attn_feat_ffn[1]):
            layer.weight.fill_(1.0)
        for layer in (fusion.attn_head_ffn[0], fusion.attn_head_ffn[2]):
            layer.weight.copy_(torch.eye(4))
    pooled = torch.zeros(1, 2, 16)
    pooled[0, 0, 5] = 2.0
    expected = torch.full((1, 2, 2), 0.5)
    expected[0, 0, 1] = torch.tensor(2.0).sigmoid()
    torch.testing.assert_close(fusion(pooled), expected)
