"""How good the threshold is that `--threshold auto` finds, refined masks or plain ones.

Usage: `python benchmarks/auto_threshold.py DATA RUN [RUN ...] [--format auto] [--split train]
[--images 40] [--refine crf] [--depth-folder depth]`.

Of some images, evenly chosen, masks are made with every threshold tried, refined in the way given.
For each threshold: the mIoU of the masks and the share of their pixels that are objects. Then the
mIoU at the fixed threshold 0.4, at Otsu's split of the plain scores, at the threshold around which
these masks change least, in the middle between these two (what `auto` takes for refined masks), and
at the best one, which only ground truth knows (ORACLE). Between thresholds mIoU is interpolated.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dealseg.data import RgbdDataset, open_dataset
from dealseg.evaluation.counts import count_mask
from dealseg.labeling import LabelOptions, label_options
from dealseg.labeling.automatic import MOST_REFINED, TRIED, evenly, with_threshold
from dealseg.labeling.scoring import score_dataset
from dealseg.labeling.writing import mask_of
from dealseg.metrics import mean_iou, most_stable
from dealseg.models import Run, load_run


def judged(
    run: Run, dataset: RgbdDataset, options: LabelOptions, chosen: list[int]
) -> tuple[float, float]:
    """Return mIoU and mean share of object pixels, in per cent, of masks at one threshold."""
    confusion, shares = 0, []
    for index, scores in score_dataset(run, dataset, options, chosen):
        mask = mask_of(scores, options)[0]
        found = count_mask(mask, dataset.mask(index), len(dataset.classes) + 1, boundaries=False)
        confusion = confusion + found.confusion
        if bool(scores.score.any()):
            shares.append(float((mask > 0).float().mean()))
    return 100 * float(mean_iou(confusion)), 100 * float(np.mean(shares))


def measure(run: Run, dataset: RgbdDataset, args) -> dict[str, object]:
    options = replace(label_options(run.config), refine=args.refine, ignore=0.0)
    plain = replace(options, refine="none", auto_threshold=True)
    otsu = with_threshold(run, dataset, plain, "")[0].threshold
    chosen = evenly(len(dataset), args.images)
    figures = np.array(
        [
            judged(run, dataset, replace(options, threshold=threshold), chosen)
            for threshold in tqdm(TRIED, disable=None)
        ]
    )
    stable = TRIED[most_stable(torch.from_numpy(figures[:, 1] / 100))]
    best = TRIED[figures[:, 0].argmax()]
    named = {"fixed": 0.4, "Otsu": otsu, "most stable": stable, "middle": (otsu + stable) / 2}
    named["ORACLE"] = best
    told = {
        name: (value, float(np.interp(value, TRIED, figures[:, 0])))
        for name, value in named.items()
    }
    return {"tried": np.column_stack([TRIED, figures]).round(3).tolist(), **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--format", default="auto")
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=MOST_REFINED)
    parser.add_argument("--refine", default="crf", choices=("none", "crf", "affinity"))
    parser.add_argument("--depth-folder", default="depth")
    args = parser.parse_args()
    dataset = open_dataset(
        args.data, format=args.format, split=args.split, depth_folder=args.depth_folder
    )
    for path in args.runs:
        found = measure(load_run(path, "cpu"), dataset, args)
        print(f"{path.name}, {args.images} images of {args.split}, refined by {args.refine}")
        for threshold, miou, share in found["tried"]:
            print(f"  {threshold:.2f}  mIoU {miou:5.1f}  objects {share:5.1f} %")
        for name in ("fixed", "Otsu", "most stable", "middle", "ORACLE"):
            threshold, miou = found[name]
            print(f"  {name:<12} {threshold:.2f}  mIoU {miou:5.1f}")
        told = {name: str(value) for name, value in vars(args).items() if name != "runs"}
        print(json.dumps({"benchmark": "auto_threshold", **told, "run": path.name, **found}))


if __name__ == "__main__":
    main()
