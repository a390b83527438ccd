"""ResNet-38d: original names, shapes and sizes; norms that never change; weights from a file."""

import json
import zlib

import pytest
import torch
import torch.nn.functional as F

from dealseg.errors import CheckpointError
from dealseg.models import create
from dealseg.models.backbones import stages
from dealseg.models.resnet38d import (
    CHANNELS,
    STRIDE,
    Bottleneck,
    FrozenNormReLU,
    ResBlock,
    ResNet38d,
    load,
)

CHECKSUM = 795880301
"""Of the original's names and shapes, in their order, without heads, as JSON."""


@pytest.fixture(scope="module")
def shapes_only():
    """A network without numbers: it knows sizes, and costs nothing."""
    with torch.device("meta"):
        return ResNet38d()


def randomised(module, seed=0):
    """Give norms other statistics than none, as trained ones have."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, FrozenNormReLU):
            for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                value.data = 0.5 + torch.rand(value.shape, generator=generator)
    return module


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def normed(layer, x):
    """The norm by torch's own function, then ReLU."""
    statistics = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    return F.batch_norm(x, *statistics, training=False, eps=1e-5).relu()


def test_it_has_the_parameters_of_the_original(shapes_only):
    """Count of the original network, and a checksum of the names and shapes of its state dict."""
    assert sum(p.numel() for p in shapes_only.parameters()) == 105_070_912
    shapes = {name: list(value.shape) for name, value in shapes_only.state_dict().items()}
    assert zlib.crc32(json.dumps(shapes).encode()) == CHECKSUM


def test_what_the_original_trains_is_left_when_the_first_stage_is_frozen(shapes_only):
    frozen = [shapes_only.conv1a, shapes_only.b2, shapes_only.b2_1, shapes_only.b2_2]
    without = {p for layer in frozen for p in layer.parameters()}
    trainable = [p for p in shapes_only.parameters() if p.requires_grad]
    kept = [p for p in trainable if p not in without]
    heads = 21 * 4096 + 64 * 512 + 128 * 1024 + 192 * 195
    assert (len(trainable), len(kept)) == (43, 35)
    assert round((sum(p.numel() for p in kept) + heads) / 1e6, 1) == 104.5


@pytest.mark.parametrize(
    ("pixels", "cells"), [((448, 448), (56, 56)), ((134, 134), (17, 17)), ((97, 130), (13, 17))]
)
def test_cells_are_eight_pixels_apart_rounded_up(shapes_only, pixels, cells):
    """448 and 134 as in the original network."""
    output = shapes_only(torch.empty(1, 3, *pixels, device="meta"))
    assert output.shape == (1, CHANNELS[-1], *cells)
    assert cells == tuple(-(-side // STRIDE) for side in pixels)


def test_its_stages_end_at_their_strides(shapes_only):
    x, found = torch.empty(1, 3, 64, 64, device="meta"), []
    for stage in stages(shapes_only):
        x = stage(x)
        found.append((x.shape[1], 64 // x.shape[-1]))
    assert found == [(128, 2), (256, 4), (512, 8), (1024, 8), (2048, 8), (4096, 8)]


@pytest.mark.parametrize("training", [False, True])
def test_the_norm_is_a_batch_norm_with_fixed_statistics_and_a_relu(training):
    layer = randomised(FrozenNormReLU(5)).train(training)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = noise(2, 5, 3, 4).requires_grad_()
    y = noise(2, 5, 3, 4).requires_grad_()
    y.data.copy_(x.data)
    result, expected = layer(x), normed(layer, y)
    torch.testing.assert_close(result, expected)
    result.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not layer.training
    assert not any(p.requires_grad for p in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once_and_shifts_no_channel(dtype):
    layer, x = randomised(FrozenNormReLU(5)), noise(2, 5, 9, 9).to(dtype).requires_grad_()
    layer.running_mean.mul_(9)
    result = layer(x)
    assert result.dtype == dtype
    assert torch.equal(result, layer(x.detach().float()).to(dtype))
    (slope,) = torch.autograd.grad(result.sum(), x)
    assert slope.dtype == dtype
    exact = x.detach().float().requires_grad_()
    (expected,) = torch.autograd.grad(layer(exact).sum(), exact)
    assert torch.equal(slope, expected.to(dtype))


def test_the_norm_keeps_its_result_alone_for_the_backward_pass():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        FrozenNormReLU(5)(noise(2, 5, 30, 40).requires_grad_())
    assert sum(kept) <= 2 * 5 * 30 * 40 + 5


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "dilations"),
    [(6, 6, 1, (1, 1)), (6, 8, 1, (1, 2)), (6, 6, 2, (1, 1)), (6, 6, 1, (2, 2))],
)
def test_a_block_is_the_sum_of_shortcut_and_two_convolutions(inputs, outputs, stride, dilations):
    block = randomised(ResBlock(inputs, 4, outputs, stride, dilations))
    x = noise(1, inputs, 9, 7)
    active = normed(block.bn_branch2a, x)
    first, second = dilations
    y = F.conv2d(active, block.conv_branch2a.weight, None, stride, first, first)
    y = normed(block.bn_branch2b1, y)
    y = F.conv2d(y, block.conv_branch2b1.weight, None, 1, second, second)
    if inputs == outputs and stride == 1:
        assert block.conv_branch1 is None
        expected = y + x
    else:
        expected = y + F.conv2d(active, block.conv_branch1.weight, None, stride)
    torch.testing.assert_close(block.train()(x), expected)


def test_a_bottleneck_is_the_sum_of_shortcut_and_three_convolutions():
    block = randomised(Bottleneck(6, 16, 0.5)).eval()
    x = noise(1, 6, 9, 7)
    active = normed(block.bn_branch2a, x)
    y = normed(block.bn_branch2b1, F.conv2d(active, block.conv_branch2a.weight))
    y = F.conv2d(y, block.conv_branch2b1.weight, None, 1, 4, 4)
    y = F.conv2d(normed(block.bn_branch2b2, y), block.conv_branch2b2.weight)
    expected = y + F.conv2d(active, block.conv_branch1.weight)
    torch.testing.assert_close(block(x), expected)
    assert not torch.equal(block.train()(x), block(x))  # dropout


def small_net(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomised(torch.nn.ModuleDict({"b2": ResBlock(3, 4, 4), "bn7": FrozenNormReLU(4)}))


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_load_without_counters_and_with_heads(tmp_path, prefix):
    """As converted from MXNet, as released by SEAM, and as saved by torch's DataParallel."""
    source, net = small_net(1), small_net(2)
    state = {
        prefix + name: value
        for name, value in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    heads = {"fc8.weight": torch.zeros(21, 4, 1, 1), "f9.weight": torch.zeros(2)}
    file = tmp_path / "seam.pth"
    torch.save({**state, **heads}, file)
    assert not same(source, net)
    load(net, str(file))
    assert same(source, net)


@pytest.mark.parametrize("change", ["missing", "shape", "unknown"])
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, change):
    net, state = small_net(2), small_net(1).state_dict()
    if change == "missing":
        del state["bn7.bias"]
    elif change == "shape":
        state["bn7.bias"] = torch.zeros(9)
    else:
        state["b2.conv_branch2b2.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth do not fit the backbone"):
        load(net, str(tmp_path / "w.pth"))
    assert same(net, small_net(2))


def test_without_a_file_the_user_learns_where_weights_come_from():
    with pytest.raises(CheckpointError) as caught:
        create("seam", classes=2, backbone="resnet38d")
    message = str(caught.value)
    for part in ("resnet38_SEAM.pth", "ilsvrc-cls_rna-a1_cls1000_ep-0001.params", "YudeWang/SEAM"):
        assert part in message
    assert "--model.weights" in message
    assert "--model.pretrained false" in message
