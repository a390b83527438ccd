"""Whatever turns images into masks, behind one small interface."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dealseg.cam import threshold_mask
from dealseg.labeling import LabelOptions, score_image
from dealseg.models import Run
from dealseg.models.placing import half_of
from dealseg.models.refined_logits import refined_logits
from dealseg.models.segmenter import winning_class
from dealseg.models.sizing import at_long_side
from dealseg.predicting.options import PredictOptions
from dealseg.predicting.windows import Network, windowed_logits


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image.

    Attributes:
        mask: class of each pixel at the image's size, 0 is background; on the CPU.
        confidence: how sure it is of the mask, in [0, 1].
    """

    mask: UInt8[Tensor, "h w"]
    confidence: float


@runtime_checkable
class Predictor(Protocol):
    """A network that needs images alone.

    Attributes:
        classes: foreground classes; class `k` has the value `k + 1` in a mask.
        remark: what a user should know of it, or an empty text.
    """

    classes: tuple[str, ...]
    remark: str

    def predict(self, images: UInt8[Tensor, "b 3 h w"]) -> Sequence[Prediction]:
        """Return a mask for each of some images of one size."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return what `labels.json` is to say of how masks came about."""
        ...


class PixelPredictor:
    """A network that gives class logits for each pixel.

    Args:
        network: from images in [0, 1] of any size to logits, background first, at that size.
        classes: foreground classes.
        long_side: of the images it was trained on, in pixels.
        source: `run` and `weights_sha256`, for `labels.json`.
        device: where images are brought.
        options: how it looks at them.
        half: whether the network may compute in half precision as `options` says.
    """

    remark = ""

    def __init__(
        self,
        network: Network,
        classes: tuple[str, ...],
        long_side: int,
        source: dict[str, str],
        device: torch.device,
        options: PredictOptions,
        *,
        half: bool = True,
    ) -> None:
        self.network, self.classes, self.source, self.device = network, classes, source, device
        own = None if options.window else long_side
        self.long_side, self.options = options.long_side or own, options
        self.half = half_of(options.precision, options.device) if half else None

    @torch.inference_mode()
    def predict(self, images: UInt8[Tensor, "b 3 h w"]) -> list[Prediction]:
        """Return a mask for each image, as :meth:`dealseg.Segmenter.predict` does, or refined.

        The confidence is the mean, over the pixels the network saw, of the winner's probability
        before it is refined.
        """
        size = (images.shape[-2], images.shape[-1])
        seen = images.to(self.device).float() / 255
        scaled = at_long_side(seen, self.long_side)
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            logits = self._logits(scaled).float()
        sure = logits.softmax(1).amax(1).mean((-2, -1)).tolist()
        maps = list(logits)
        if self.options.refine not in (None, "none"):
            method = self.options.refine
            maps = [refined_logits(*each, method) for each in zip(logits, seen, strict=True)]
        masks = [winning_class(each, size).cpu() for each in maps]
        return [Prediction(mask, each) for mask, each in zip(masks, sure, strict=True)]

    def settings(self) -> dict[str, Any]:
        """Return size, windows, precision and weights."""
        windows = self.options.window
        return {
            "classes": list(self.classes),
            "threshold_origin": "none: the class with the largest logit wins",
            "tags": "none",
            "long_side": self.long_side,
            "window": windows,
            "overlap": self.options.overlap if windows else None,
            "precision": str(self.half or torch.float32).removeprefix("torch."),
            "refine": self.options.refine or "none",
            **self.source,
        }

    def _logits(self, images: Float[Tensor, "b 3 h w"]) -> Tensor:
        if self.options.window is None:
            return self.network(images)
        return windowed_logits(self.network, images, self.options.window, self.options.overlap)


class RunPredictor:
    """A first-stage run: its CAMs, for the classes that it predicts to be in the image.

    Args:
        run: the trained network.
        options: threshold, scales and mirroring.
        threshold_origin: who chose the threshold.
        long_side: longer side, in pixels, at which images are seen.
    """

    def __init__(
        self, run: Run, options: LabelOptions, threshold_origin: str, long_side: int
    ) -> None:
        self.run, self.options, self.long_side = run, options, long_side
        self.threshold_origin = threshold_origin
        self.classes = run.facts.classes
        chosen = (
            " (the method's: the run says auto, which dealseg label finds from all images first)"
            if options.auto_threshold
            else ""
        )
        self.remark = (
            "a first-stage run: classes come from its own tag predictions, threshold "
            f"{options.threshold:g}{chosen}; a segmenter (dealseg train-segmenter) is faster and "
            "better"
        )

    def predict(self, images: UInt8[Tensor, "b 3 h w"]) -> list[Prediction]:
        """Return a mask for each image.

        The confidence is that of `dealseg label`: how likely all predicted tags are right.
        """
        return [self._one(image) for image in images]

    def settings(self) -> dict[str, Any]:
        """Return how CAMs were made and thresholded, in the words of `dealseg label`."""
        return {
            "classes": list(self.classes),
            "threshold": self.options.threshold,
            "threshold_origin": self.threshold_origin,
            "tags": "predicted",
            "long_side": self.long_side,
            "scales": list(self.options.scales),
            "flip": self.options.flip,
            "probability": self.options.probability,
            "refine": self.options.refine,
            "run": str(self.run.path.resolve()),
            "weights_sha256": self.run.weights_sha256,
        }

    def _one(self, image: UInt8[Tensor, "3 h w"]) -> Prediction:
        found = score_image(
            self.run.model, image, None, long_side=self.long_side, options=self.options
        )
        mask = threshold_mask(found.winner, found.score, self.options.threshold)
        return Prediction(mask, found.confidence)
