"""Examples from runs and a data set: the same images, scored by one run after another."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from dealseg.config import DealConfig
from dealseg.data.base import RgbdDataset
from dealseg.depth import Kind
from dealseg.labeling import LabelOptions, label_options, score_dataset
from dealseg.losses import depth_edges, edge_activation, grid_size
from dealseg.models.runs import load_run
from dealseg.report.example import DepthView, Example, Prediction
from dealseg.report.naming import DEAL
from dealseg.report.records import RunRecord


def assemble(
    runs: Sequence[RunRecord],
    data: RgbdDataset,
    indices: Sequence[int],
    options: LabelOptions | None = None,
    device: torch.device | None = None,
) -> list[Example]:
    """Return these images with what each finished run makes of them.

    Masks are made as `options` say, or as each run's own configuration does; they are cut at the
    threshold of the run's evaluation if it has one. The networks work on `device`, by default a GPU
    where there is one.

    Raises:
        DataError: if the data set's classes are not a run's.
        CheckpointError: if a run's weights do not fit.
    """
    deal, classes = edge_settings(runs), runs[0].facts.classes
    return [
        Example(
            name=data.names[index],
            image=data.image(index),
            tags=_tag_names(data, index, classes),
            view=_view(data, index, deal),
            truth=data.mask(index),
            predictions=tuple(predictions),
        )
        for index, predictions in zip(
            indices, _predictions(runs, data, indices, options, device), strict=True
        )
    ]


def threshold_of(run: RunRecord, options: LabelOptions) -> float:
    """Return the threshold a run was evaluated at, else that of the options."""
    found = None if run.evaluation is None else run.evaluation.fixed.threshold
    return options.threshold if found is None else found


def edge_settings(runs: Sequence[RunRecord]) -> DealConfig:
    """Return how edges are to be shown: as the first DEAL run took them, else as the first would.

    A baseline's configuration has the settings too, though it does not use them.
    """
    return next((run.config.deal for run in runs if run.role == DEAL), runs[0].config.deal)


def depth_view(depth: Tensor, valid: Tensor, deal: DealConfig, kind: Kind) -> DepthView:
    """Return depth (1, h, w) with its edges on the loss's grid.

    Raises:
        ValueError: if `deal.space` does not suit the kind of depth.
    """
    size = grid_size(depth.shape[-2], depth.shape[-1], deal.cells)
    edges = depth_edges(
        depth[None],
        valid[None],
        size=size,
        space=deal.space,
        kind=kind,
        gain=deal.gain,
        divide=deal.divide,
    )
    gate = edge_activation(edges.strength, deal.mu)
    return DepthView(depth[0], valid[0], gate[0, 0], edges.valid[0, 0], metric=kind == "metric")


def _view(data: RgbdDataset, index: int, deal: DealConfig) -> DepthView | None:
    found = data.depth(index)
    return None if found is None else depth_view(*found, deal, data.depth_info.kind)


def _predictions(
    runs: Sequence[RunRecord],
    data: RgbdDataset,
    indices: Sequence[int],
    options: LabelOptions | None,
    device: torch.device | None,
) -> list[list[Prediction]]:
    """Return the predictions of each image; one network is in memory at a time."""
    predictions: list[list[Prediction]] = [[] for _ in indices]
    finished = [run for run in runs if run.is_finished]
    with tqdm(total=len(finished) * len(indices), desc="examples", disable=None) as bar:
        for run in finished:
            chosen = options or label_options(run.config)
            threshold = threshold_of(run, chosen)
            chosen = replace(chosen, threshold=threshold)
            scored = score_dataset(load_run(run.path, device), data, chosen, indices)
            for row, (_, scores) in zip(predictions, scored, strict=True):
                row.append(Prediction(run.label, scores.winner, scores.score, threshold))
                bar.update()
    return predictions


def _tag_names(data: RgbdDataset, index: int, classes: Sequence[str]) -> tuple[str, ...] | None:
    tags = data.tags(index)
    if tags is None:
        return None
    return tuple(name for name, present in zip(classes, tags.tolist(), strict=True) if present)
