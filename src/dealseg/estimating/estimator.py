"""A pretrained depth network: from pictures to maps of numbers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dealseg.estimating.kinds import Output

Size = tuple[int, int]

_HEADS = ("head", "metric_head", "relative_head")


@dataclass(frozen=True)
class Estimator:
    """A transformers network for depth estimation with its image processor.

    Attributes:
        name: the model as the user gave it.
        digest: SHA-256 of the weights.
        output: what its numbers mean.
        network: it, in evaluation mode, on its device.
        processor: brings images to it, and its maps to the size wanted.
        half: the half precision it computes in, None for float32.
    """

    name: str
    digest: str
    output: Output
    network: nn.Module
    processor: Any
    half: torch.dtype | None = None

    def prepared(self, image: UInt8[Tensor, "3 h w"]) -> Float[Tensor, "3 p q"]:
        """Return an image resized and normalised for the network."""
        made = self.processor(images=image, return_tensors="pt", input_data_format="channels_first")
        pixels: Tensor = made["pixel_values"][0]
        return pixels

    @torch.inference_mode()
    def estimates(
        self, images: Float[Tensor, "b 3 p q"], sources: list[Size], targets: list[Size]
    ) -> list[Float[Tensor, "_ _"]]:
        """Return a float32 map for each image, on the CPU.

        Maps are resized bilinearly, where transformers takes bicubic: that overshoots at depth
        edges, in metres even below 0. ZoeDepth's padding and Depth Pro's focal length need
        transformers' own way; ZoeDepth's maps are then held to the range that the network gave.

        Args:
            images: prepared ones.
            sources: height and width they had before.
            targets: height and width of each map wanted.
        """
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, self.half, enabled=self.half is not None):
            output = self.network(pixel_values=images.to(device))
        output.predicted_depth = raw = output.predicted_depth.float()
        config: Any = self.network.config
        kind = config.model_type
        finish = self.processor.post_process_depth_estimation
        if kind == "zoedepth":
            found = finish(output, source_sizes=sources, target_sizes=targets)
            maps = [
                f["predicted_depth"].clamp(r.min(), r.max())
                for f, r in zip(found, raw, strict=True)
            ]
        elif kind == "depth_pro":
            maps = [each["predicted_depth"] for each in finish(output, target_sizes=targets)]
        else:
            maps = [_resized(each, size) for each, size in zip(raw, targets, strict=True)]
        return [each.float().cpu() for each in maps]


def _resized(estimate: Float[Tensor, "h w"], size: Size) -> Float[Tensor, "_ _"]:
    return F.interpolate(estimate[None, None], size, mode="bilinear", antialias=True)[0, 0]


def keep_heads_exact(network: nn.Module, device: torch.device) -> None:
    """Let the last layers compute in float32 under autocast.

    Half precision has 2,048 (float16) or 256 (bfloat16) steps an octave. As the last layer's type
    that would be steps in the depth: edges where there are none.
    """
    for name in _HEADS:
        head = getattr(network, name, None)
        if isinstance(head, nn.Module):
            head.forward = _exact(head.forward, device)


def _exact(forward: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    @functools.wraps(forward)
    def exact(*args: Any, **options: Any) -> Any:
        with torch.autocast(device.type, enabled=False):
            return forward(*_as_float32(args), **_as_float32(options))

    return exact


def _as_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(_as_float32(each) for each in value)
    if isinstance(value, dict):
        return {key: _as_float32(each) for key, each in value.items()}
    return value
