"""The one interface of all CAM networks: what a method states, and the plumbing it need not."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.config import ModelConfig
from dealseg.errors import ConfigError
from dealseg.losses import multilabel_soft_margin

Features = dict[str, Tensor]
"""What the frozen stages make of a batch of images, (b, ...) each, by name."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class CamOutput(NamedTuple):
    """What a CAM network returns.

    Attributes:
        logits: class scores (b, k) by name.
        cams: raw class activation maps (b, k, h, w) by name, those of :attr:`CamModel.cams`; with
            a background channel first where :class:`CamFacts` says so.
    """

    logits: Mapping[str, Tensor]
    cams: Mapping[str, Tensor]


class CamFacts(NamedTuple):
    """What is to be known of a CAM before a loss is put on it.

    Attributes:
        reach: the parameters that a loss on it trains, in words.
        signed: whether its values are class logits of each cell (what importance sampling needs).
        background: whether its first channel is the background.
    """

    reach: str
    signed: bool = True
    background: bool = False


class CamModel(nn.Module, ABC):
    """A network that classifies images and shows where it looked. Depth is never an input.

    A method is a subclass in a file of its own and a line in :mod:`dealseg.models.registry`; see
    `docs/methods.md`. It states the attributes below, :meth:`encode` and :meth:`decode`; the rest
    has defaults.

    Attributes:
        default_backbone: taken where the user names none.
        options: fields of :class:`dealseg.config.ModelConfig` that only some methods know and that
            this one does.
        cams: the maps it makes, with what is to be known of each.
        label_cam: the map that masks are read from.
        attach: the map that each added loss (`deal`, `isl`, `fsl`) acts on by default.
        score_logits: the logits whose mean is the class score.
        isl_mixes: the term of :meth:`losses` that importance sampling shares its weight with, and
            the factor with which a class loss of the whole image enters that term.
        normalisation: how a map reaches [0, 1] before it is thresholded.
        threshold: the background score by default.
        stage_count: stages of the backbone; all but the last may be frozen. 1 if none may.
    """

    default_backbone: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    cams: ClassVar[Mapping[str, CamFacts]]
    label_cam: ClassVar[str]
    attach: ClassVar[Mapping[str, str]]
    score_logits: ClassVar[tuple[str, ...]]
    isl_mixes: ClassVar[tuple[str, float]]
    normalisation: ClassVar[Literal["max", "minmax"]] = "max"
    threshold: ClassVar[float] = 0.4

    mean: Tensor
    std: Tensor
    frozen_stages: int = 0

    def __init__(
        self,
        classes: int,
        config: ModelConfig,
        frozen_stages: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        """Do the plumbing: check, build with own randomness, freeze.

        Args:
            classes: number of foreground classes.
            config: backbone, its weights, and the method's options.
            frozen_stages: leading stages that are not trained and whose output may be cached.
            generator: draws what starts at random; seed 0 without one. The global random state is
                neither read nor changed.

        Raises:
            ConfigError: for options that cannot work.
            CheckpointError: if pretrained weights cannot be had.
        """
        super().__init__()
        if classes < 1:
            raise ConfigError(f"classes must be >= 1, got {classes}")
        self.classes = classes
        self.set_normalisation(IMAGENET_MEAN, IMAGENET_STD)
        with own_randomness(generator):
            self.build(classes, config)
        if not 0 <= frozen_stages < self.stage_count:
            raise ConfigError(
                f"frozen_stages must be in 0..{self.stage_count - 1} for "
                f"{config.backbone or self.default_backbone}, got {frozen_stages}"
            )
        self.frozen_stages = frozen_stages
        self.freeze_stages(frozen_stages)

    @abstractmethod
    def build(self, classes: int, config: ModelConfig) -> None:
        """Make the modules; random numbers may be drawn as torch does, they are the generator's."""

    @abstractmethod
    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """Return what the frozen stages make of RGB images in [0, 1]."""

    @abstractmethod
    def decode(self, features: Features, size: tuple[int, int]) -> CamOutput:
        """Return logits and CAMs from what :meth:`encode` made of images of `size` (h, w)."""

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from scratch and learn faster."""

    @property
    def stage_count(self) -> int:
        """Stages of the backbone; all but the last may be frozen."""
        return 1

    def freeze_stages(self, count: int) -> None:
        """Make the parameters of the first `count` stages constant."""

    def view_sizes(self, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Return the sizes at which an image of `size` passes the network in training."""
        return (size,)

    def losses(
        self,
        outputs: Sequence[CamOutput],
        tags: Float[Tensor, "b k"],
        size: tuple[int, int],  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the method's own loss terms; their sum is what it minimises.

        Args:
            outputs: what the network made of each view, see :meth:`view_sizes`.
            tags: 1 for classes in the image, else 0.
            size: height and width of the first view.
        """
        return {
            f"class_{name}": multilabel_soft_margin(logits, tags).mean()
            for name, logits in outputs[0].logits.items()
        }

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> CamOutput:
        """Return logits and CAMs of RGB images in [0, 1]."""
        return self.decode(self.encode(image), (image.shape[-2], image.shape[-1]))

    def views(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return the images that pass the network in training, the given one first."""
        size = (image.shape[-2], image.shape[-1])
        return [
            image
            if each == size
            else F.interpolate(image, each, mode="bilinear", align_corners=True)
            for each in self.view_sizes(size)
        ]

    def class_scores(self, output: CamOutput) -> Float[Tensor, "b k"]:
        """Return the logits that say which classes are in the image."""
        return torch.stack([output.logits[name] for name in self.score_logits]).mean(0)

    def foreground(self, output: CamOutput, name: str) -> Float[Tensor, "b k h w"]:
        """Return a CAM without its background channel, if it has one."""
        maps = output.cams[name]
        return maps[:, 1:] if self.cams[name].background else maps

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say which mean and deviation :meth:`normalised` takes from RGB in [0, 1]."""
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalised(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the image as the backbone wants it."""
        return (image - self.mean) / self.std


@contextmanager
def own_randomness(generator: torch.Generator | None) -> Iterator[None]:
    """Let torch and timm draw from a seed of `generator` (0 without); the global state is kept."""
    seed = 0 if generator is None else int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
