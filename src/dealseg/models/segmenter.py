"""The network of the second stage: pixels to classes, without tags and without depth."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from dealseg.config.checks import require
from dealseg.config.label import REFINEMENTS
from dealseg.config.segmenter import SegmenterConfig
from dealseg.errors import CheckpointError, ConfigError
from dealseg.models.base import Features, own_randomness
from dealseg.models.mask_transformer import MaskTransformer
from dealseg.models.pixels import rgb_array
from dealseg.models.pyramids import Pyramid, Size
from dealseg.models.refined_logits import refined_logits
from dealseg.models.runs import CONFIG_FILE, from_mapping, replacing, write_text
from dealseg.models.sizing import at_long_side
from dealseg.models.weights import read_state

FACTS_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
FORMAT = "dealseg-segmenter"
VERSION = 1
"""Grows whenever a folder of an older version would be read wrongly."""


class Segmenter(nn.Module):
    """A segmentation network for RGB images of any size.

    Args:
        classes: foreground class names in mask order; class `i` of them is channel `i + 1`.
        config: architecture, backbone and its weights.
        long_side: longer side, in pixels, of the images that it is trained on; :meth:`predict`
            brings images to it.
        frozen_stages: leading levels of the encoder (1/2, 1/4, ... of the image's size) that are
            not trained and whose output may be cached.
        generator: draws what starts at random; seed 0 without one. The global random state is
            neither read nor changed.

    Raises:
        ConfigError: for options that cannot work.
        CheckpointError: if pretrained weights cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        config: SegmenterConfig | None = None,
        *,
        long_side: int = 416,
        frozen_stages: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= len(classes) <= 254:
            raise ConfigError(f"classes must be 1 to 254 names, got {len(classes)}")
        self.classes, self.long_side = tuple(classes), long_side
        config = config or SegmenterConfig()
        kind = MaskTransformer if config.architecture == "mask_transformer" else Pyramid
        self.config = replace(config, backbone=config.backbone or kind.default_backbone)
        with own_randomness(generator):
            self.net = kind(len(classes) + 1, self.config)
        self.set_normalisation(self.net.mean, self.net.std)
        self.stage_count = self.net.stage_count
        if not 0 <= frozen_stages < self.stage_count:
            raise ConfigError(
                f"frozen_stages must be in 0..{self.stage_count - 1} for {self.config.backbone}, "
                f"got {frozen_stages}"
            )
        self.frozen_stages = frozen_stages
        self.net.freeze(frozen_stages)

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say which mean and deviation are taken from RGB in [0, 1]."""
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Return logits, background first, at the size of RGB images in [0, 1]."""
        height, width = image.shape[-2:]
        multiple = self.net.multiple
        padded = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        size = (padded.shape[-2], padded.shape[-1])
        logits = self.decode(self.encode(padded), size)
        return F.interpolate(logits, size, mode="bilinear")[..., :height, :width]

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """Return what the frozen levels make of images whose sides are multiples of the net's."""
        return self.net.encode((image - self.mean) / self.std, self.frozen_stages)

    def decode(self, features: Features, size: Size) -> Float[Tensor, "b c h2 w2"]:
        """Return logits on the decoder's own grid from what :meth:`encode` gave of `size`."""
        return self.net.decode(features, self.frozen_stages, size)

    def views(self, image: Tensor) -> list[Tensor]:
        """Return the images that pass the network in training: the given one."""
        return [image]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from scratch and learn faster."""
        return self.net.head_parameters()

    def train(self, mode: bool = True) -> "Segmenter":
        """Set the mode; frozen levels keep theirs, so that what was cached stays true."""
        super().train(mode)
        for module in self.net.stage_modules(self.frozen_stages):
            module.eval()
        return self

    @torch.no_grad()
    def predict(
        self,
        image: UInt8[np.ndarray, "h w 3"] | Image.Image | str | Path,
        refine: str = "none",
    ) -> UInt8[np.ndarray, "h w"]:
        """Return the mask of an image at its own size: 0 background, then the classes in order.

        Works with the network as it stands: in evaluation mode after :meth:`from_pretrained`.

        Args:
            image: RGB, or the file of an image.
            refine: bring the mask onto edges of colour by `affinity` or `crf` (or `none`), as
                `dealseg predict --refine` does; better and slower, see docs/predict.md.

        Raises:
            DataError: if the file cannot be read or the array is no RGB image.
            ConfigError: if there is no such refinement.
        """
        winner, lead = self.best_class(torch.tensor(rgb_array(image)).permute(2, 0, 1), refine)
        return winner.masked_fill(lead <= 0, 0).cpu().numpy()

    @torch.no_grad()
    def best_class(
        self, image: UInt8[Tensor, "3 h w"], refine: str = "none"
    ) -> tuple[UInt8[Tensor, "h w"], Float[Tensor, "h w"]]:
        """Return the best class (1..k) at each pixel of an image, and its lead over background.

        The lead is the difference of the two logits, refined of the two probabilities: where it is
        positive, the class is the mask's.

        Raises:
            ConfigError: if there is no such refinement.
        """
        require(refine in REFINEMENTS, "refine", ", ".join(REFINEMENTS), refine)
        seen = image[None].to(self.mean.device).float() / 255
        maps = self(at_long_side(seen, self.long_side))[0]
        if refine != "none":
            maps = refined_logits(maps, seen[0], refine)
        return winner_and_lead(maps, (image.shape[-2], image.shape[-1]))

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: torch.device | str | None = None
    ) -> "Segmenter":
        """Load a segmenter, in evaluation mode.

        Args:
            folder: a run of `dealseg train-segmenter`, or what :meth:`save_pretrained` wrote.
            device: where it is to work; by default a GPU where there is one.

        Raises:
            CheckpointError: if the folder holds no segmenter, or weights that do not fit.
        """
        facts = _read_facts(Path(folder))
        weights = Path(folder) / TENSORS_FILE
        if not weights.is_file():
            raise CheckpointError(
                f"{folder}: the training is not finished ({TENSORS_FILE} is missing); go on with "
                "dealseg train-segmenter ... --resume"
            )
        model = _built(Path(folder) / FACTS_FILE, facts)
        try:
            model.load_state_dict(read_state(weights))
        except RuntimeError as error:
            raise CheckpointError(
                f"{weights}: not the weights of the network in {FACTS_FILE}; copy both files from "
                "the same run"
            ) from error
        return model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, each atomically, into a folder.

        Raises:
            CheckpointError: if they cannot be written, for example for want of room.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.save_facts(folder)
        path = Path(folder) / TENSORS_FILE
        state = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        try:
            with replacing(path) as partial:
                save_file(state, partial, metadata={"format": "pt"})
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be written ({error})") from error

    def save_facts(self, folder: str | Path) -> None:
        """Write `config.json` alone, which says what the folder is to hold."""
        write_text(Path(folder) / FACTS_FILE, json.dumps(self.facts(), indent=1) + "\n")

    def facts(self) -> dict[str, Any]:
        """Return all that is to be known to use the weights: network, classes, preprocessing."""
        network = asdict(self.config)
        return {
            "format": FORMAT,
            "version": VERSION,
            **{key: network[key] for key in ("architecture", "backbone", "width", "dropout")},
            "classes": list(self.classes),
            "long_side": self.long_side,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
        }


def is_segmenter(folder: Path) -> bool:
    """Return whether a folder is, or is to become, a segmenter; a first-stage run is none."""
    try:
        content = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS_FILE
    if not path.is_file():
        first = (folder / CONFIG_FILE).is_file()
        found = "is a first-stage run" if first else f"{FACTS_FILE} is missing"
        raise CheckpointError(
            f"{folder}: not a segmenter ({found}); give the folder of dealseg train-segmenter, or "
            "one that save_pretrained wrote"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable ({error})") from error
    if not is_segmenter(folder):
        raise CheckpointError(f"{path}: not of a dealseg segmenter (no format {FORMAT!r})")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: format version {content.get('version')}, this dealseg reads {VERSION}; "
            "install the dealseg that wrote it, or train again"
        )
    return dict(content)


def _built(path: Path, facts: dict[str, Any]) -> Segmenter:
    try:
        options = {key: facts[key] for key in ("architecture", "backbone", "width", "dropout")}
        config = from_mapping(SegmenterConfig, {**options, "pretrained": False})
        model = Segmenter(
            [str(name) for name in facts["classes"]], config, long_side=int(facts["long_side"])
        )
        model.set_normalisation(facts["mean"], facts["std"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot be built: {error}") from error
    return model


def winning_class(logits: Float[Tensor, "c h w"], size: tuple[int, int]) -> UInt8[Tensor, "h2 w2"]:
    """Return the class with the largest logit at each pixel of a map enlarged to `size`."""
    winner, lead = winner_and_lead(logits, size)
    return winner.masked_fill(lead <= 0, 0)


def winner_and_lead(
    logits: Float[Tensor, "c h w"], size: tuple[int, int]
) -> tuple[UInt8[Tensor, "h2 w2"], Float[Tensor, "h2 w2"]]:
    """Return the best class (1..k) at each pixel of a map enlarged to `size`, and its lead.

    The lead is over the background, channel 0. Maps are enlarged one at a time, so that memory does
    not grow with classes times pixels.
    """
    enlarged = (F.interpolate(m[None, None].float(), size, mode="bilinear")[0, 0] for m in logits)
    background, best = next(enlarged), next(enlarged)
    winner = torch.ones(size, dtype=torch.uint8, device=logits.device)
    for value, found in enumerate(enlarged, start=2):
        winner.masked_fill_(found > best, value)
        best = torch.maximum(best, found)
    return winner, best - background
