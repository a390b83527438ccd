"""The losses that can be added to any method's own: where they attach and what they cost."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dealseg.config import TrainConfig
from dealseg.data.transforms import sample_generator
from dealseg.depth import Kind
from dealseg.losses import (
    Alignment,
    DepthEdges,
    align_cams,
    depth_edges,
    feature_similarity,
    grid_size,
    importance_sampling,
    predictions_from_cams,
)
from dealseg.models import CamModel, CamOutput

Batch = dict[str, Tensor]
Size = tuple[int, int]


class Step(NamedTuple):
    """Where a training stands, all that randomness and schedules may depend on.

    Attributes:
        progress: share of the optimiser's steps that are done.
        epoch: number of the epoch.
        batch: number of the batch in it, another one in each process.
    """

    progress: float
    epoch: int
    batch: int


def attached_cam(kind: type[CamModel], config: TrainConfig, loss: str) -> str:
    """Return the name of the CAM that a loss acts on: the user's choice, or the method's."""
    chosen: str | None = getattr(config, loss).cam
    return chosen or kind.attach[loss]


def colours_at(image: Tensor, grid: Size) -> Tensor:
    """Return an image's colours on a grid of cells, each cell the mean of what it covers.

    Departure: HFPL samples without a filter, so that a cell's colour is that of a single pixel.
    """
    return F.interpolate(image, grid, mode="bilinear", antialias=True).clamp(0, 1)


class AddedLosses:
    """DEAL, ISL and FSL on the CAMs of a method, as the configuration asks for them.

    Args:
        model: the network.
        config: the whole training configuration.
        depth_kind: what the data set's depth numbers are.
    """

    def __init__(self, model: CamModel, config: TrainConfig, depth_kind: Kind) -> None:
        self.model, self.config, self.depth_kind = model, config, depth_kind

    def apply(
        self, terms: dict[str, Tensor], output: CamOutput, batch: Batch, size: Size, step: Step
    ) -> dict[str, Tensor]:
        """Add the losses' terms to the method's own, in place, and return figures to be logged."""
        logged: dict[str, Tensor] = {}
        for name in self.config.loss_names:
            logged |= getattr(self, f"_{name}")(terms, output, batch, size, step)
        return logged

    def _cam(self, output: CamOutput, loss: str) -> Tensor:
        return self.model.foreground(output, attached_cam(type(self.model), self.config, loss))

    def _isl(
        self, terms: dict[str, Tensor], output: CamOutput, batch: Batch, _: Size, step: Step
    ) -> dict[str, Tensor]:
        """Share the class term's weight: (1 - w) pooling + w sampling, as HFPL mixes them."""
        cam, isl = self._cam(output, "isl"), self.config.isl
        own = sample_generator(self.config.seed, step.epoch, 2**33 + step.batch)
        generator = torch.Generator(cam.device).manual_seed(own.initial_seed())
        loss = importance_sampling(
            cam, batch["tags"], samples=isl.samples or None, generator=generator
        ).mean()
        term, factor = self.model.isl_mixes
        terms[term] = (1 - isl.weight) * terms[term]
        terms["isl"] = isl.weight * factor * loss
        return {"isl/loss": loss}

    def _fsl(
        self, terms: dict[str, Tensor], output: CamOutput, batch: Batch, size: Size, _: Step
    ) -> dict[str, Tensor]:
        """Add the feature similarity; its reach in pixels becomes cells by the CAM's stride."""
        cam, fsl = self._cam(output, "fsl"), self.config.fsl
        grid = (cam.shape[-2], cam.shape[-1])
        stride = (size[0] * size[1] / (grid[0] * grid[1])) ** 0.5
        loss = feature_similarity(
            self._colours(batch, grid),
            predictions_from_cams(cam, batch["tags"]),
            mu=fsl.mu,
            sigma=fsl.sigma / stride,
            window=fsl.window or None,
        ).mean()
        terms["fsl"] = fsl.weight * loss
        return {"fsl/loss": loss}

    def _colours(self, batch: Batch, grid: Size) -> Tensor:
        if "colours" in batch:
            return batch["colours"].float() / 255
        return colours_at(batch["image"].float() / 255, grid)

    def _deal(
        self, terms: dict[str, Tensor], output: CamOutput, batch: Batch, _: Size, step: Step
    ) -> dict[str, Tensor]:
        """Add lambda times the alignment loss; log what tells whether it can help."""
        alignment = self._align(output, batch)
        weight = self.config.deal.lambda_at(step.progress)
        loss = alignment.loss.mean()
        terms["deal"] = weight * loss
        return {
            "deal/lambda": torch.full_like(loss, weight),  # where processes on GPUs can sum it
            "deal/alignment": -loss,
            "deal/depth_share": alignment.depth_share,
            "deal/cam_share": alignment.cam_share,
            "deal/flat_share": alignment.flat_share,
        }

    def _align(self, output: CamOutput, batch: Batch) -> Alignment:
        deal = self.config.deal
        return align_cams(
            self._cam(output, "deal"),
            self._edges(batch),
            batch["tags"],
            mu=deal.mu,
            scale=deal.cam_scale,
            gain=deal.gain,
            divide=deal.divide,
            localised=deal.localised,
            trust=self.model.class_scores(output).sigmoid() if deal.trust else None,
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
