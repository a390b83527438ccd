"""What a training step does: a method's own losses and the added ones, each logged by its name."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from dealseg.config import TrainConfig
from dealseg.data.transforms import sample_generator
from dealseg.depth import Kind
from dealseg.models import CamModel, CamOutput
from dealseg.models.runs import AnyConfig
from dealseg.models.segmenter import Segmenter
from dealseg.training.added import AddedLosses, Batch, Size, Step
from dealseg.training.optim import build_optimizer, build_schedule, freeze_batch_norm
from dealseg.training.samples import cached_views

MOST_PROCESSES = 2**16
"""No training has more, so that batch and process make one number."""


class Task(LightningModule):
    """What trainings of both stages share.

    Args:
        model: the network.
        config: the whole training configuration.
        steps: optimiser steps of the whole training.
        size: height and width of the images.
    """

    model: Any
    config: Any

    def __init__(
        self, model: CamModel | Segmenter, config: AnyConfig, steps: int, size: Size
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.steps = max(1, steps)
        self.size = size

    def _pretrained(self) -> nn.Module:
        """Return the part of the network whose batch norms have statistics from elsewhere."""
        network: nn.Module = self.model
        return network

    def _images(self, batch: Batch) -> Tensor:
        """Return the images of a batch as networks take them."""
        image = batch["image"].float() / 255
        if self.config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return image

    def _log(self, values: dict[str, Tensor]) -> None:
        plain = {name: value.detach().float() for name, value in values.items()}
        size = self.config.optim.batch_size
        self.log_dict(plain, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def on_train_epoch_start(self) -> None:
        """Put the network in training mode; statistics of batch norm stay if they are frozen."""
        self.model.train()
        if self.config.freeze_batch_norm:
            freeze_batch_norm(self._pretrained())
        # Dropout inside backbones knows the global generator only: the epoch decides its state.
        own = sample_generator(self.config.seed, self.current_epoch, 2**32 - 2 - self.global_rank)
        torch.manual_seed(own.initial_seed())

    def configure_optimizers(self) -> Any:
        """Return the configured optimiser and its schedule over all steps."""
        config = self.config.optim
        optimizer = build_optimizer(self.model, config)
        schedule = build_schedule(optimizer, config, self.steps, self.steps // config.epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class CamTask(Task):
    """Trains a CAM network on tags, with a weighted sum of losses.

    Batches hold `tags` and either `image` (with `depth` and `valid`, where a loss asks for them),
    or the cached features of each view (with `edges`, `edges_valid` and `colours`). No
    ground-truth mask is ever in them.

    Args:
        model: the network.
        config: the whole training configuration.
        depth_kind: what the data set's depth numbers are.
        steps: optimiser steps of the whole training.
        size: height and width of the images.
    """

    def __init__(
        self, model: CamModel, config: TrainConfig, depth_kind: Kind, steps: int, size: Size
    ) -> None:
        super().__init__(model, config, steps, size)
        self.added = AddedLosses(model, config, depth_kind)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the sum of the losses and log its terms."""
        outputs = self._forward(batch)
        terms = self.model.losses(outputs, batch["tags"], self.size)
        place = batch_index * MOST_PROCESSES + self.global_rank
        step = Step(self.global_step / self.steps, self.current_epoch, place)
        figures = self.added.apply(terms, outputs[0], batch, self.size, step)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        named = {f"loss/{name}": term for name, term in terms.items()}
        self._log({**named, **figures, "loss/total": total})
        return total

    def _forward(self, batch: Batch) -> list[CamOutput]:
        """Return what the network makes of each view of the images."""
        sizes = self.model.view_sizes(self.size)
        if "image" not in batch:
            views = cached_views(batch, len(sizes))
            return [self.model.decode(*each) for each in zip(views, sizes, strict=True)]
        return [self.model(view) for view in self.model.views(self._images(batch))]
