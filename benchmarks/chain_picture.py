r"""Draw the chain on a few images: tags, CAM masks, refined masks, segmenter, ground truth.

    dealseg demo --out DEMO
    dealseg label DEMO/deal DEMO/data --split val --out DEMO/val-none
    dealseg label DEMO/deal DEMO/data --split val --threshold auto --refine crf --out DEMO/val-crf
    dealseg label DEMO/deal DEMO/data --split train --threshold auto --refine crf \
      --out DEMO/train-crf
    dealseg train-segmenter DEMO/data --labels DEMO/train-crf --out DEMO/segmenter
    dealseg predict DEMO/segmenter DEMO/data --split val --refine crf --out DEMO/predicted
    python benchmarks/chain_picture.py DEMO docs/images/chain.png

The images are spread evenly over `val`; nobody picked them.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from dealseg.data import open_dataset
from dealseg.data.mask_set import open_masks
from dealseg.draw import overlay
from dealseg.report.experiment_figures import picture_sheet

COLUMNS = (
    "image",
    "CAM and threshold",
    "refined (CRF)",
    "segmenter + CRF",
    "ground truth",
)
FOLDERS = ("val-none", "val-crf", "predicted")
IMAGES = 4
WIDTH = 900


def main(demo: Path, out: Path) -> None:
    """Draw the sheet."""
    data = open_dataset(demo / "data", split="val")
    sets = [open_masks(demo / folder) for folder in FOLDERS]
    rows, names = [], []
    for place in range(IMAGES):
        index = (2 * place + 1) * len(data) // (2 * IMAGES)
        name, image = data.names[index], data.image(index).permute(1, 2, 0).numpy()
        truth, tags = data.mask(index), data.tags(index)
        masks = [found.mask(name) for found in sets] + ([] if truth is None else [truth])
        drawn = [overlay(image, mask.numpy().astype(np.uint8)) for mask in masks]
        rows.append([image, *drawn])
        present = [] if tags is None else tags.nonzero().flatten().tolist()
        names.append(", ".join(data.classes[each] for each in present))
    sheet = Image.open(io.BytesIO(picture_sheet(rows, names, COLUMNS))).convert("RGB")
    sheet.thumbnail((WIDTH, 2 * WIDTH))
    sheet.quantize(192).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
