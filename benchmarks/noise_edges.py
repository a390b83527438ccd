"""What depth noise leaves of the edges that the loss sees.

Run: python benchmarks/noise_edges.py DATA [--split train] [--images 40]

For each specification: the share of edge cells on the loss's default grid, and how far they are the
edge cells of the depth as it came (precision, recall; cells valid in both).
"""

import argparse

import numpy as np
import torch

from dealseg.config import DealConfig
from dealseg.data import RgbdDataset, open_dataset
from dealseg.data.noisy import NoisyDepth
from dealseg.losses import DepthEdges, depth_edges, grid_size
from dealseg.noise import parse_noise

SPECS = (
    "none",
    *(f"gaussian:{s}" for s in (0.0014, 0.0057, 0.023, 0.091)),
    *(f"quantise:{s}" for s in (0.00285, 0.0114, 0.0456, 0.182)),
    *(f"holes:{s}:4" for s in (0.025, 0.1, 0.2, 0.4)),
    *(f"edge-holes:{s}:2" for s in (0.2, 0.4, 0.8, 1)),
    *(f"blur:{s}" for s in (0.5, 1, 2, 4)),
    *(f"shift:{s}" for s in (1, 2, 4, 8)),
    "scale:0.5",
    "offset:0.3",
    *(f"level:{level}" for level in range(1, 5)),
)
GATE = 1 / (1 + np.exp(DealConfig().mu))
"""The gate's zero: a cell above it is an edge cell."""


def edges_of(dataset: RgbdDataset, index: int) -> DepthEdges:
    """Return the depth edges of an image on the loss's default grid."""
    config, found = DealConfig(), dataset.depth(index)
    if found is None:
        raise ValueError(f"image {index} has no depth")
    depth, valid = found
    size = grid_size(*depth.shape[-2:], config.cells)
    kind = dataset.depth_info.kind
    return depth_edges(
        depth[None], valid[None], size=size, space=config.space, kind=kind, gain=config.gain
    )


def compare(clean: list[DepthEdges], noisy: list[DepthEdges]) -> tuple[float, ...]:
    """Return the share of valid cells, of edge cells among them, precision and recall."""
    strong = [torch.stack([e.strength.flatten() > GATE for e in found]) for found in (clean, noisy)]
    valid = [torch.stack([e.valid.flatten() for e in found]) for found in (clean, noisy)]
    both = valid[0] & valid[1]
    hits = (strong[0] & strong[1] & both).sum()
    found, wanted = (strong[1] & both).sum(), (strong[0] & both).sum()
    share = (strong[1] & valid[1]).sum() / valid[1].sum()
    return tuple(float(x) for x in (valid[1].float().mean(), share, hits / found, hits / wanted))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--split")
    parser.add_argument("--images", type=int, default=40)
    given = parser.parse_args()
    dataset = open_dataset(given.data, split=given.split)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, given.images).astype(int)).tolist()
    clean = [edges_of(dataset, index) for index in chosen]
    print("| noise | valid cells | edge cells | precision | recall |\n|---|---|---|---|---|")
    for text in SPECS:
        worse = NoisyDepth(dataset, parse_noise(text), 0)
        figures = compare(clean, [edges_of(worse, index) for index in chosen])
        print(f"| `{text}` | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
