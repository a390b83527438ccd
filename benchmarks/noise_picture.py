"""Draw every model of depth noise at three strengths: `python benchmarks/noise_picture.py OUT.png`.

The scene is rendered from a seed, so that the picture is the same wherever it is made.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from dealseg.data.synthetic import DepthSensor, film_scene
from dealseg.data.synthetic.film import DEPTH_SCALE
from dealseg.noise import noise_generator, parse_noise

SIZE = 240
SCENE = 5
STRENGTHS = (
    ("gaussian:0.02", "gaussian:0.06", "gaussian:0.2"),
    ("quantise:0.05", "quantise:0.15", "quantise:0.4"),
    ("holes:0.05:6", "holes:0.2:6", "holes:0.5:6"),
    ("edge-holes:0.3:2", "edge-holes:0.6:4", "edge-holes:1:6"),
    ("blur:1", "blur:3", "blur:8"),
    ("shift:4", "shift:12", "shift:24:12"),
    ("scale:0.1", "scale:0.3", "scale:1"),
    ("offset:0.05", "offset:0.2", "offset:0.5"),
    ("level:2", "level:3", "level:4"),
)


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return metres and validity of a frame of the renderer, from a sensor with little noise."""
    sensor = DepthSensor(step=1 / 64, jitter=1 / 256, lateral=0.0)
    *_, picture = film_scene(0, 0, SCENE, SIZE, frames=2, sensor=sensor)
    metres = torch.from_numpy(picture.depth.astype(np.float32) * DEPTH_SCALE / 1000)[None]
    return metres, metres > 0


def show(axes: Axes, depth: torch.Tensor, valid: torch.Tensor, title: str, top: float) -> None:
    """Draw inverse depth; what is invalid is light grey."""
    inverse = np.ma.masked_where(~valid[0].numpy(), 1 / np.maximum(depth[0].numpy(), 1e-3))
    colours = mpl.colormaps["viridis"].with_extremes(bad="0.85")
    axes.imshow(inverse, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
    axes.set_title(title, fontsize=8, pad=3)
    axes.axis("off")


def main(out: Path) -> None:
    """Draw the sheet."""
    depth, valid = scene()
    top = 1.15 * float((1 / depth[valid]).max())
    figure, axes = plt.subplots(
        len(STRENGTHS), 4, figsize=(7, 16.2), layout="constrained", squeeze=False
    )
    for row, texts in zip(axes, STRENGTHS, strict=True):
        show(row[0], depth, valid, "as measured", top)
        for cell, text in zip(row[1:], texts, strict=True):
            noise = parse_noise(text)
            noisy = noise(depth, valid, kind="metric", generator=noise_generator(0, 0))
            show(cell, *noisy, text, top)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
