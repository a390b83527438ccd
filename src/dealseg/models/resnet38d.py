"""The dilated wide ResNet-38 (model A1) of SEAM, under its original parameter names.

Source: Wu, Shen, van den Hengel, "Wider or Deeper: Revisiting the ResNet Model for Visual
Recognition", arXiv 1611.10080, as dilated by Ahn and Kwak (PSA, CVPR 2018) and taken over by SEAM.
"""

import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.config import ModelConfig
from dealseg.errors import CheckpointError
from dealseg.models.mxnet_params import read_params
from dealseg.models.weights import load_into, read_state

NAME = "resnet38d"
STRIDE = 8
CHANNELS = (512, 1024, 4096)
"""Channels of what the pixel correlation module sees, `conv4` and `conv5`, and of the last map."""

_LEAVES = {
    "weight": "weight",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""MXNet's names of parameters and statistics, and torch's."""


class FrozenNormReLU(nn.BatchNorm2d):
    """ReLU of a batch norm whose statistics and affine map never change.

    It is an affine map, written as one: autograd then keeps the result alone and not the input,
    which in a pre-activation network is half of all that a batch norm would keep. Half precision is
    rounded once, in the result, as batch norm does: scales of few digits would shift channels.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenNormReLU":
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return max(scale * x + shift, 0)."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        scale, shift = (v[:, None, None] for v in (scale, shift))
        return torch.addcmul(shift, x, scale).to(x.dtype).relu_()


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


class ResBlock(nn.Module):
    """Pre-activation block of two 3x3 convolutions.

    Args:
        inputs: channels that come in.
        middle: channels between the convolutions.
        outputs: channels that go out.
        stride: of the first convolution.
        dilations: of the two convolutions.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        stride: int = 1,
        dilations: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.bn_branch2a = FrozenNormReLU(inputs)
        self.conv_branch2a = _conv(inputs, middle, 3, stride, dilations[0])
        self.bn_branch2b1 = FrozenNormReLU(middle)
        self.conv_branch2b1 = _conv(middle, outputs, 3, 1, dilations[1])
        changes = inputs != outputs or stride != 1
        self.conv_branch1 = _conv(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Return the sum of the shortcut and of what the convolutions make."""
        active = self.bn_branch2a(x)
        y: Tensor = self.conv_branch2b1(self.bn_branch2b1(self.conv_branch2a(active)))
        return y + (x if self.conv_branch1 is None else self.conv_branch1(active))


class Bottleneck(nn.Module):
    """Pre-activation block of a 1x1, a dilated 3x3 and a 1x1 convolution, with dropout between.

    Args:
        inputs: channels that come in.
        outputs: channels that go out; a quarter and a half of them are inside.
        dropout: probability that a channel is dropped.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        first, second = outputs // 4, outputs // 2
        self.bn_branch2a = FrozenNormReLU(inputs)
        self.conv_branch2a = _conv(inputs, first, 1)
        self.bn_branch2b1 = FrozenNormReLU(first)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _conv(first, second, 3, dilation=4)
        self.bn_branch2b2 = FrozenNormReLU(second)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = _conv(second, outputs, 1)
        self.conv_branch1 = _conv(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """Return the sum of the shortcut and of what the convolutions make."""
        active = self.bn_branch2a(x)
        y = self.conv_branch2a(active)
        y = self.conv_branch2b1(self.dropout_2b1(self.bn_branch2b1(y)))
        y = self.conv_branch2b2(self.dropout_2b2(self.bn_branch2b2(y)))
        return self.conv_branch1(active) + y  # type: ignore[no-any-return]


class ResNet38d(nn.Module):
    """The network without its classifier: (b, 3, h, w) to (b, 4096, h / 8, w / 8), rounded up.

    Its layers are children, in their order; every batch norm is frozen, as in the original.
    :func:`dealseg.models.backbones.stages` groups them: conv1a and b2, b3, b4, b5, b6, b7 and bn7.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1a = _conv(3, 64, 3)
        self._group("b2", 3, 64, (128, 128), 2)
        self._group("b3", 3, 128, (256, 256), 2)
        self._group("b4", 6, 256, (512, 512), 2)
        self._group("b5", 3, 512, (512, 1024), 1, (1, 2), (2, 2))
        self.b6 = Bottleneck(1024, 2048, 0.3)
        self.b7 = Bottleneck(2048, 4096, 0.5)
        self.bn7 = FrozenNormReLU(4096)

    def _group(
        self,
        name: str,
        count: int,
        inputs: int,
        widths: tuple[int, int],
        stride: int,
        first: tuple[int, int] = (1, 1),
        others: tuple[int, int] = (1, 1),
    ) -> None:
        """Add `count` blocks of (middle, outputs) `widths`; the first has stride and dilations."""
        self.add_module(name, ResBlock(inputs, *widths, stride, first))
        for number in range(1, count):
            block = ResBlock(widths[1], *widths, dilations=others)
            self.add_module(f"{name}_{number}", block)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4096 h2 w2"]:
        """Return the last feature map of normalised images."""
        for layer in self.children():
            x = layer(x)
        return x


def weights_file(config: ModelConfig) -> str | None:
    """Return the file with pretrained weights, or None to start from scratch.

    Raises:
        CheckpointError: if there is none though pretrained weights are asked for.
    """
    if not config.pretrained:
        return None
    if config.weights is None:
        raise CheckpointError(
            "there are no resnet38d weights to download: give with --model.weights the authors' "
            "ImageNet weights (ilsvrc-cls_rna-a1_cls1000_ep-0001.params) or resnet38_SEAM.pth, both"
            " linked from github.com/YudeWang/SEAM, take --model.backbone tf_efficientnet_lite0, "
            "or start from scratch with --model.pretrained false"
        )
    return config.weights


def load(net: nn.Module, file: str) -> None:
    """Fill the network from the authors' weights; heads in the file are left out.

    Args:
        net: the network, or a part of it.
        file: ImageNet weights as MXNet wrote them (`.params`), or a state dict under the network's
            names, such as those weights once converted, or SEAM's released `.pth`.

    Raises:
        CheckpointError: if the file is unreadable or of another network.
    """
    path = Path(file)
    state = converted(path) if path.suffix == ".params" else read_state(path)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    counters = {n: v for n, v in net.state_dict().items() if n.endswith("num_batches_tracked")}
    load_into(net, {**counters, **state}, file)


def converted(path: Path) -> dict[str, Tensor]:
    """Return the ImageNet weights of an MXNet file under the network's names.

    `res5b2_branch2a_weight` is `b5_2.conv_branch2a.weight`: `a` is a stage's first block and `b2`
    the second after it.

    Raises:
        CheckpointError: if the file is unreadable or has other names.
    """
    found = {_own_name(name, path): value for name, value in read_params(path).items()}
    found.pop("", None)
    return found


def _own_name(foreign: str, path: Path) -> str:
    """Return this network's name of an array in an MXNet file; nothing for its classifier's."""
    name = foreign.rpartition(":")[2]
    if name.startswith("linear1000_"):
        return ""
    if name == "conv1a_weight":
        return "conv1a.weight"
    part = re.fullmatch(r"(res|bn)(\d)(?:a|b(\d+))_(branch\w+?)_(?:moving_)?(\w+)", name)
    last = re.fullmatch(r"bn7_(?:moving_)?(\w+)", name)
    leaf = _LEAVES.get(part[5] if part else last[1] if last else "")
    if leaf is None:
        raise CheckpointError(f"{path}: {foreign!r} is in no ResNet-38 of the authors")
    if part is None:
        return f"bn7.{leaf}"
    block = f"b{part[2]}_{part[3]}" if part[3] else f"b{part[2]}"
    kind = "conv" if part[1] == "res" else "bn"
    return f"{block}.{kind}_{part[4]}.{leaf}"
