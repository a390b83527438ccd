"""What a training step does: the losses of a CAM network, each logged by its name."""

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from dealseg.config import OptimConfig, TrainConfig
from dealseg.data.transforms import sample_generator
from dealseg.depth import Kind
from dealseg.losses import Alignment, DepthEdges, align_cams, depth_edges, grid_size
from dealseg.models import CamModel, CamOutput

Batch = dict[str, Tensor]

SHORTEST_CYCLE = 10
"""Steps of a training below which one-cycle has no room to rise: its schedule is cosine then."""


class CamTask(LightningModule):
    """Trains a CAM network on tags, with a weighted sum of losses.

    Batches hold `tags` and either `image`, `depth` and `valid`, or `features`, `edges` and
    `edges_valid`. No ground-truth mask is ever in them.

    Args:
        model: the network.
        config: the whole training configuration.
        depth_kind: what the data set's depth numbers are.
        steps: optimiser steps of the whole training.
    """

    def __init__(self, model: CamModel, config: TrainConfig, depth_kind: Kind, steps: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.depth_kind = depth_kind
        self.steps = max(1, steps)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the sum of the losses and log its terms."""
        output = self._forward(batch)
        terms = self._class_terms(output, batch["tags"])
        if "deal" in self.config.loss_names:
            terms["loss/deal"] = self._deal_term(output, batch)
        total = torch.stack(list(terms.values())).sum()
        self._log({**terms, "loss/total": total})
        return total

    def _forward(self, batch: Batch) -> CamOutput:
        if "features" in batch:
            output: CamOutput = self.model.decode(batch["features"])
            return output
        image = batch["image"].float() / 255
        if self.config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        found: CamOutput = self.model(image)
        return found

    def _class_terms(self, output: CamOutput, tags: Tensor) -> dict[str, Tensor]:
        """Multi-label soft margin loss on each kind of logits."""
        return {
            f"loss/class_{name}": F.multilabel_soft_margin_loss(logits.float(), tags)
            for name, logits in output.logits.items()
        }

    def _deal_term(self, output: CamOutput, batch: Batch) -> Tensor:
        """Return lambda times the alignment loss, and log what tells whether it can help."""
        alignment = self._align(output, batch)
        weight = self.config.deal.lambda_at(self.global_step / self.steps)
        loss = alignment.loss.mean()
        self._log(
            {
                "deal/lambda": torch.tensor(weight),
                "deal/alignment": -loss,
                "deal/depth_share": alignment.depth_share,
                "deal/cam_share": alignment.cam_share,
                "deal/flat_share": alignment.flat_share,
            }
        )
        return weight * loss

    def _align(self, output: CamOutput, batch: Batch) -> Alignment:
        deal = self.config.deal
        edges = self._edges(batch)
        cams = output.cams[self.model.deal_cam]
        known = torch.stack(list(output.logits.values())).mean(0).sigmoid()
        return align_cams(
            cams,
            edges,
            batch["tags"],
            mu=deal.mu,
            scale=deal.cam_scale,
            gain=deal.gain,
            divide=deal.divide,
            localised=deal.localised,
            trust=known if deal.trust else None,
        )

    def _edges(self, batch: Batch) -> DepthEdges:
        if "edges" in batch:
            return DepthEdges(batch["edges"].float(), batch["edges_valid"])
        deal, depth = self.config.deal, batch["depth"]
        return depth_edges(
            depth,
            batch["valid"],
            size=grid_size(depth.shape[-2], depth.shape[-1], deal.cells),
            space=deal.space,
            kind=self.depth_kind,
            gain=deal.gain,
            divide=deal.divide,
        )

    def _log(self, values: dict[str, Tensor]) -> None:
        plain = {name: value.detach().float() for name, value in values.items()}
        size = self.config.optim.batch_size
        self.log_dict(plain, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def on_train_epoch_start(self) -> None:
        """Put the network in training mode; statistics of batch norm stay if they are frozen."""
        self.model.train()
        if self.config.freeze_batch_norm:
            freeze_batch_norm(self.model)
        # Dropout inside backbones knows the global generator only: the epoch decides its state.
        own = sample_generator(self.config.seed, self.current_epoch, 2**32 - 2 - self.global_rank)
        torch.manual_seed(own.initial_seed())

    def configure_optimizers(self) -> Any:
        """AdamW, the classifier faster than the backbone, and a schedule over all steps."""
        groups = parameter_groups(self.model, self.config.optim)
        optimizer = torch.optim.AdamW(groups, weight_decay=self.config.optim.weight_decay)
        schedule = _schedule(optimizer, self.config.optim, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(model: CamModel, config: OptimConfig) -> list[dict[str, Any]]:
    """Return the trainable parameters: the backbone's, and the head's with a higher rate."""
    head = [p for p in model.head_parameters() if p.requires_grad]
    known = {id(p) for p in head}
    body = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    fast = config.lr * config.head_lr_factor
    groups = [{"params": body, "lr": config.lr}, {"params": head, "lr": fast}]
    return [group for group in groups if group["params"]]


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep the statistics of every batch norm as they are (its scale and shift still learn)."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _schedule(
    optimizer: torch.optim.Optimizer, config: OptimConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule; torch's one-cycle divides by zero at 5 steps and learns nothing at 1."""
    if config.schedule == "cosine" or steps < SHORTEST_CYCLE:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    peaks = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=0.2)
