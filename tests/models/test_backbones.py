"""Stages of timm backbones: they compose to the whole, and freezing is exact."""

import pytest
import timm
import torch

from dealseg.errors import ConfigError
from dealseg.models import backbones

STAGED = {
    "tf_efficientnet_lite0": 7,
    "resnet18": 5,
    "convnext_atto": 5,
    "vit_tiny_patch16_224": 13,
    "test_vit": 7,
    "test_vit2": 9,  # a register token, no class token
}
DINO = "vit_small_patch14_reg4_dinov2"


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def composed(net, x):
    for stage in backbones.stages(net):
        x = stage(x)
    return x


def shaken(net):
    """Give every parameter and statistic another value, so that no part is the identity."""
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand_like(value)
            value.add_(noise if "running_var" in name else 0.1 * noise)
    return net


def map_of(net, x):
    grid = backbones.token_grid(net, x.shape[-2], x.shape[-1])
    return backbones.feature_map(net, composed(net, x), grid)


@pytest.mark.parametrize(("name", "count"), [*STAGED.items(), (DINO, 13)])
def test_stages_compose_to_forward_features(name, count):
    net = shaken(backbones.build_backbone(name, 16)).eval()
    x = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        assert len(backbones.stages(net)) == count
        assert torch.equal(composed(net, x), net.forward_features(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_vit", {"pos_drop_rate": 0.5, "patch_drop_rate": 0.5, "pre_norm": True}),
        ("test_convnext", {"head_norm_first": True}),
    ],
)
def test_stages_keep_the_parts_that_are_identities_by_default(name, options):
    net = shaken(timm.create_model(name, num_classes=0, **options)).train()
    x, found = torch.randn(2, 3, 160, 160), []
    for function in (net.forward_features, lambda x: composed(net, x)):
        torch.manual_seed(1)
        found.append(function(x))
    assert torch.equal(*found)


def test_the_modules_of_a_vits_first_stage_include_its_dropout():
    net = backbones.build_backbone("test_vit", 16)
    modules = backbones.stage_modules(net, 1)
    assert any(module is net.pos_drop for module in modules)
    assert any(module is net.patch_drop for module in modules)
    assert not any(module is net.blocks[0] for module in modules)


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "test_resnet", "test_convnext", "test_vit"]
)
def test_freezing_is_exact_for_every_number_of_stages(name):
    """Slow oracle: a parameter is in the first n stages if their output has a gradient to it."""
    net = shaken(backbones.build_backbone(name, 16)).eval()
    everything = dict(net.named_parameters())
    x, reached = torch.randn(1, 3, 64, 64), []
    for stage in backbones.stages(net):
        x = stage(x)
        found = torch.autograd.grad(
            x.square().sum(), list(everything.values()), allow_unused=True, retain_graph=True
        )
        reached.append({k for k, g in zip(everything, found, strict=True) if g is not None})
    for count in range(len(reached)):
        net = backbones.build_backbone(name, 16)
        backbones.freeze(net, count)
        frozen = {k for k, p in net.named_parameters() if not p.requires_grad}
        assert frozen == (reached[count - 1] if count else set()), count


def test_freezing_a_vit_covers_its_positions_and_registers():
    net = backbones.build_backbone("test_vit2", 16)
    backbones.freeze(net, 1)
    frozen = {k for k, p in net.named_parameters() if not p.requires_grad}
    assert {"pos_embed", "reg_token", "patch_embed.proj.weight"} <= frozen
    assert not any(name.startswith("blocks") for name in frozen)


def test_parts_of_a_head_that_no_feature_depends_on_are_not_trained():
    net = backbones.build_backbone("convnext_atto", 16)
    backbones.freeze_unused(net, backbones.probe(net))
    assert {k for k, p in net.named_parameters() if not p.requires_grad} == {
        "head.norm.weight",
        "head.norm.bias",
    }


def test_probe_leaves_mode_and_statistics():
    net = backbones.build_backbone("resnet18", 16).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        assert backbones.probe(net).requires_grad
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "convnext_atto"])
def test_output_stride_is_honoured(name, stride):
    net = backbones.build_backbone(name, stride).eval()
    with torch.no_grad():
        assert map_of(net, torch.zeros(1, 3, 64, 96)).shape[-2:] == (64 // stride, 96 // stride)


def test_tokens_are_laid_out_in_rows_without_the_prefix():
    """A patch token before the blocks sees its own patch only, so its place can be read off."""
    net = backbones.build_backbone(DINO, 16).eval()
    x = torch.randn(1, 3, 40, 64)  # 3 x 5 patches of 14 with padding
    bright = x.clone()
    bright[..., 14:28, 42:56] += 1  # the patch in row 1, column 3
    grid = backbones.token_grid(net, 40, 64)
    assert grid == (3, 5)
    with torch.no_grad():
        embed = backbones.stages(net)[0]
        change = backbones.feature_map(net, embed(bright) - embed(x), grid).abs().sum(dim=(0, 1))
    assert change.nonzero().tolist() == [[1, 3]]


def test_tokens_that_do_not_fill_the_grid_are_refused():
    net = backbones.build_backbone("test_vit", 16)
    for grid in ((3, 5), None):
        with pytest.raises(ConfigError, match="size of the image"):
            backbones.feature_map(net, torch.zeros(1, 1 + 16, 64), grid)


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("swin_s3_tiny_224", (64, 96), (2, 3)),  # NHWC
        ("vit_small_patch16_dinov3", (64, 96), (4, 6)),  # rotary positions, 5 prefix tokens
        ("twins_svt_small", (64, 96), (2, 3)),  # tokens without prefix
        ("vit_tiny_r_s16_p8_224", (64, 96), (2, 3)),  # tokens of a CNN's map
        ("mobilenetv3_small_050", (64, 96), (2, 3)),
        ("efficientvit_b0", (64, 96), (2, 3)),  # takes no pooling option
    ],
)
def test_another_family_is_one_stage_with_a_map(name, size, cells):
    net = backbones.build_backbone(name, 32).eval()
    with torch.no_grad():
        assert len(backbones.stages(net)) == 1
        assert map_of(net, torch.zeros(1, 3, *size)).shape[-2:] == cells


def test_a_whole_backbone_gives_the_tokens_of_forward_features():
    net = shaken(backbones.build_backbone("vit_small_patch16_dinov3", 16)).eval()
    x = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        tokens = net.forward_features(x)[:, net.num_prefix_tokens :]
        assert torch.equal(map_of(net, x).flatten(2).transpose(1, 2), tokens)


def test_an_image_size_that_a_backbone_cannot_take_is_a_config_error():
    net = backbones.build_backbone("swin_s3_tiny_224", 32)
    with pytest.raises(ConfigError, match=r"SwinTransformer cannot take images of 50x62 pixels"):
        backbones.stages(net)[0](torch.zeros(1, 3, 50, 62))


def test_a_backbone_without_a_single_map_is_a_config_error():
    net = backbones.build_backbone("crossvit_tiny_240", 16)
    with pytest.raises(ConfigError, match="CrossVit cannot"):
        backbones.probe(net)


def test_an_unknown_backbone_names_near_ones():
    with pytest.raises(ConfigError, match=r"no 'resnet_50'; see .*\bresnet50\b"):
        backbones.build_backbone("resnet_50", 16)


def test_a_backbone_that_never_builds_is_a_config_error(monkeypatch):
    def refuse(*_args, **_options):
        raise TypeError

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ConfigError, match="'resnet18' cannot be built"):
        backbones.build_backbone("resnet18", 16)
