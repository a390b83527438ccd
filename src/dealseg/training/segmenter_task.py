"""What a training step of the second stage does."""

from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dealseg.config import SegmenterTrainConfig
from dealseg.losses import (
    generalised_cross_entropy,
    gradient_clipping,
    pixel_cross_entropy,
    symmetric_cross_entropy,
    weighted_mean,
)
from dealseg.losses.noisy_masks import IGNORE, at_grid
from dealseg.models.segmenter import Segmenter
from dealseg.training.augmentation import Size
from dealseg.training.samples import Batch, cached_views
from dealseg.training.task import Task


class SegmenterTask(Task):
    """Trains a segmenter on masks.

    Batches hold `mask`, the `weight` of each image, and `image` or the cached features. The loss is
    taken on the decoder's own grid, a quarter of the image's by default: enlarging the logits first
    takes half as much time again and masks of this kind have no detail there.

    Args:
        model: the network.
        config: the whole training configuration.
        steps: optimiser steps of the whole training.
        size: height and width of the images.
        class_weights: of each class, background first.
    """

    model: Segmenter
    config: SegmenterTrainConfig

    def __init__(
        self,
        model: Segmenter,
        config: SegmenterTrainConfig,
        steps: int,
        size: Size,
        class_weights: Tensor | None,
    ) -> None:
        super().__init__(model, config, steps, size)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.averaged: Any = None
        if config.average:
            decay = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
            self.averaged = AveragedModel(model, multi_avg_fn=decay).requires_grad_(False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss and log it, with the share of pixels classified as the masks say."""
        logits = self._logits(batch).float()
        mask = at_grid(batch["mask"], (logits.shape[-2], logits.shape[-1]))
        weights: Any = self.class_weights
        loss = weighted_mean(
            self._pixel_loss(logits, mask),
            mask,
            class_weights=weights,
            image_weights=batch["weight"],
        )
        labelled = (mask != IGNORE).sum().clamp(min=1)
        agreement = (logits.detach().argmax(1) == mask).sum() / labelled
        self._log({"loss/total": loss, "agreement": agreement})
        return loss

    def _pretrained(self) -> nn.Module:
        """Return the encoder: norms of the decoder start from scratch and must learn."""
        encoder: nn.Module = self.model.net.encoder
        return encoder

    def _logits(self, batch: Batch) -> Tensor:
        """Return logits on the decoder's grid."""
        if "image" not in batch:
            return self.model.decode(cached_views(batch, 1)[0], self.size)
        return self.model.decode(self.model.encode(self._images(batch)), self.size)

    def _pixel_loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        loss = self.config.loss
        if loss.name == "generalised":
            return generalised_cross_entropy(logits, mask, q=loss.q)
        if loss.name == "symmetric":
            return symmetric_cross_entropy(logits, mask, beta=loss.reverse)
        if loss.name == "gradient-clipping":
            patch = tuple(-(-side // loss.clip_patches) for side in mask.shape[-2:])
            return gradient_clipping(logits, mask, patch=patch, start=loss.clip_start)  # type: ignore[arg-type]
        return pixel_cross_entropy(logits, mask, smoothing=loss.smoothing)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Move the averaged weights after each step of the optimiser."""
        if self.averaged is not None and self.global_step > int(self.averaged.n_averaged):
            self.averaged.update_parameters(self.model)

    def result(self) -> Segmenter:
        """Return the network that the training ends with."""
        if self.averaged is not None:
            self.model.load_state_dict(self.averaged.module.state_dict())
        return self.model
