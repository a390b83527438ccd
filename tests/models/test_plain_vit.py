"""A ViT taken apart: the same numbers as timm's, with less kept; what is refused."""

from collections import Counter

import pytest
import torch
from timm.models.vision_transformer import ParallelScalingBlock
from tiny_vits import KINDS, stand_in, tiny_vit
from torch.utils._python_dispatch import TorchDispatchMode

from dealseg.errors import CheckpointError, ConfigError
from dealseg.models import plain_vit

BLOCKS = ("plain", "layer scale", "normed queries", "gated mlp")


def tokens(batch=2, count=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 16, generator=generator).requires_grad_()


def value_and_gradients(form, block):
    x = tokens()
    out = form(x)
    slope = torch.linspace(-1, 1, out.numel()).view_as(out)
    parameters = dict(block.named_parameters())
    return out.detach(), torch.autograd.grad(out, [x, *parameters.values()], slope)


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_is_timms_in_value_and_gradient(kind):
    block = tiny_vit(**KINDS[kind]).blocks[1].train()
    ours = value_and_gradients(lambda x: plain_vit.pass_block(block, x).tokens, block)
    torch.testing.assert_close(ours, value_and_gradients(block, block), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_branch_is_what_the_attention_module_gives_and_its_maps_come_from_queries_and_keys(
    kind,
):
    block = tiny_vit(**KINDS[kind]).blocks[1]
    passed, inside = plain_vit.pass_block(block, tokens()), block.norm1(tokens())
    torch.testing.assert_close(passed.branch, block.attn(inside), rtol=1e-4, atol=1e-6)
    maps = (passed.queries @ passed.keys.mT / 8**0.5).softmax(-1)
    values = block.attn.qkv(inside)[..., 32:].view(2, 9, 2, 8).transpose(1, 2)
    mixed = (maps @ values).transpose(1, 2).reshape(2, 9, 16)
    torch.testing.assert_close(passed.branch, block.attn.proj(mixed), rtol=1e-4, atol=1e-6)


class _Products(TorchDispatchMode):
    """Counts matrix products and attention kernels."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "bmm", "baddbmm") or "attention" in name:
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


def count_products(form):
    with _Products() as seen:
        form(tokens()).sum().backward()
    return seen.count


def kept_values(form):
    """Values in the tensors that the graph keeps, each storage once, parameters too."""
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t) is None or t, lambda t: t
    ):
        out = form(tokens())
    assert out.requires_grad
    return sum(t.untyped_storage().nbytes() // 4 for t in kept.values())


def test_less_is_kept_and_no_product_is_repeated():
    """Two norms' and an activation's output: 1 + 1 + 4 times the tokens."""
    block = tiny_vit().blocks[1].train()

    def ours(x):
        return plain_vit.pass_block(block, x).tokens

    assert count_products(ours) == count_products(block)
    assert kept_values(ours) <= kept_values(block) - 6 * tokens().numel()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_resnet", "timm builds it as ResNet"),
        ("deit_tiny_distilled_patch16_224", "VisionTransformerDistilled"),
        ("vit_tiny_r_s16_p8_224", "its patches come from HybridEmbed"),
    ],
)
def test_other_networks_are_refused_with_the_reason_and_the_way_out(name, reason):
    message = rf"model.backbone: '{name}' is no plain ViT \(.*{reason}\); take one, e.g. deit_small"
    with pytest.raises(ConfigError, match=message):
        plain_vit.build_plain_vit(name, 0.1)


def test_other_blocks_and_missing_positions_are_refused(monkeypatch):
    stand_in(monkeypatch, block_fn=ParallelScalingBlock)
    with pytest.raises(ConfigError, match="its blocks are ParallelScalingBlock"):
        plain_vit.build_plain_vit("other", 0.1)
    stand_in(monkeypatch, pos_embed="none")
    with pytest.raises(ConfigError, match="it has no learnt positions"):
        plain_vit.build_plain_vit("other", 0.1)
    stand_in(monkeypatch, attn_layer="diff")
    with pytest.raises(ConfigError, match="with DiffAttention"):
        plain_vit.build_plain_vit("other", 0.1)


def test_an_unknown_name_names_near_ones():
    with pytest.raises(ConfigError, match="deit_small_patch16_224"):
        plain_vit.build_plain_vit("deit_small_patch16", 0.1)


def test_the_rate_of_skipping_grows_evenly_with_depth(monkeypatch):
    stand_in(monkeypatch, depth=5)
    blocks = plain_vit.build_plain_vit("tiny", 0.2).blocks
    for part in ("drop_path1", "drop_path2"):
        rates = [getattr(block, part).drop_prob for block in blocks]
        assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def cubic(x, a=-0.75):
    """Keys' cubic, with the a that PyTorch takes."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resampling(old, new):
    """Share of each old position in each new one: (new + 0.1) / old cells to a cell."""
    table = torch.zeros(new, old)
    for i in range(new):
        centre = (i + 0.5) * old / (new + 0.1) - 0.5
        for j in range(int(centre // 1) - 1, int(centre // 1) + 3):
            table[i, min(max(j, 0), old - 1)] += cubic(centre - j)
    return table


@pytest.mark.parametrize("grid", [(14, 14), (20, 9), (3, 31)])
def test_positions_are_resampled_by_a_cubic_with_the_originals_tenth_of_a_cell(grid):
    table = torch.randn(14, 14, 3, generator=torch.Generator().manual_seed(0))
    resized = plain_vit.resized_positions(table.view(1, 196, 3), (14, 14), grid, square=False)
    down, across = resampling(14, grid[0]), resampling(14, grid[1])
    expected = torch.einsum("ij,kl,jlc->ikc", down, across, table).reshape(1, -1, 3)
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-5)


def test_positions_are_left_alone_only_for_a_square_image_on_the_trained_grid():
    positions = torch.arange(32.0).view(1, 16, 2)
    for grid, square, same in (((4, 4), True, True), ((4, 4), False, False), ((5, 5), True, False)):
        resized = plain_vit.resized_positions(positions, (4, 4), grid, square)
        assert resized.shape == (1, grid[0] * grid[1], 2)
        assert (resized.shape == positions.shape and torch.equal(resized, positions)) == same


@pytest.mark.parametrize("kind", ["plain", "placed registers", "registers"])
def test_the_class_token_and_its_position_are_repeated_and_registers_keep_theirs(kind):
    net = tiny_vit(**KINDS[kind])
    found = plain_vit.repeated_tokens(net, 5)
    prefix = net._pos_embed(torch.zeros(1, 4, 4, 16))
    for each in range(5):
        both = found.classes[:, each] + found.positions[:, each]
        torch.testing.assert_close(both, prefix[:, 0])
    torch.testing.assert_close(found.positions[:, 5:], prefix[:, net.num_prefix_tokens :])
    if found.registers is not None:
        torch.testing.assert_close(found.registers, prefix[:, 1 : net.num_prefix_tokens])


def test_without_a_class_token_new_ones_differ_and_stand_nowhere():
    found = plain_vit.repeated_tokens(tiny_vit(**KINDS["no class token"]), 3)
    assert found.classes.std(dim=1).min() > 0
    assert found.positions[:, :3].abs().max() == 0


def test_positions_of_another_square_grid_are_resized_and_of_no_grid_refused():
    large, small = tiny_vit(img_size=64), tiny_vit(img_size=32)
    state = large.state_dict()
    state["pos_embed"][:, 1:] = 7.0
    fitted = plain_vit.fit_positions(small, state, "weights")["pos_embed"]
    assert fitted.shape == small.pos_embed.shape
    assert torch.equal(fitted[:, :1], state["pos_embed"][:, :1])
    torch.testing.assert_close(fitted[:, 1:], torch.full((1, 16, 16), 7.0))
    state["pos_embed"] = torch.zeros(1, 60, 16)
    with pytest.raises(CheckpointError, match="weights: 60 positions are not 1 and a square grid"):
        plain_vit.fit_positions(small, state, "weights")
