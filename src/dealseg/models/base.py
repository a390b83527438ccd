"""The one interface of all CAM networks."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class CamOutput(NamedTuple):
    """What a CAM network returns.

    Attributes:
        logits: class scores (b, k) by name; each gets a class loss.
        cams: raw class activation maps (b, k, h, w) by name.
    """

    logits: dict[str, Tensor]
    cams: dict[str, Tensor]


class CamModel(nn.Module, ABC):
    """A network that classifies images and shows where it looked. Depth is never an input.

    Attributes:
        label_cam: the CAM that masks are read from.
        deal_cam: the CAM that the Depth Edge Alignment Loss acts on.
    """

    label_cam: ClassVar[str]
    deal_cam: ClassVar[str]

    @abstractmethod
    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Tensor:
        """Return what the frozen stages make of RGB images in [0, 1]."""

    @abstractmethod
    def decode(self, features: Tensor) -> CamOutput:
        """Return logits and CAMs from the features of :meth:`encode`."""

    def set_image_size(self, height: int, width: int) -> None:
        """Say for which image size features given to :meth:`decode` were made."""

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from scratch and learn faster."""

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> CamOutput:
        """Return logits and CAMs of RGB images in [0, 1]."""
        return self.decode(self.encode(image))
