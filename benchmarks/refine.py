"""What refinement does to the masks of a trained run, and what it costs.

Usage: `python benchmarks/refine.py DATA RUN [RUN ...] [--split val] [--every 1] [--space inverse]
[--threshold T] [--slow] [--cams FOLDER] [--threads 1]`.

Each image's CAMs are made once, as `dealseg label` makes them, turned into probabilities with the
run's own threshold (or `T`), and refined in every way in turn: by `local_affinity` and
`mean_field`, with colour alone and with depth, and by pydensecrf2 where it is installed. mIoU,
boundary IoU and contour F (means over the classes) are those of `dealseg evaluate` at the fixed
threshold. Times are processor seconds on one thread (what else the machine does is left out), from
probabilities to probabilities, only over images with a tag. pydensecrf2 is given the same
probabilities and, in turn, our weights and the field's usual ones; `depth` gives it our six
features of colour and depth where an image has depth everywhere. `--slow` adds rows: `all
classes` gets the probabilities of all classes of the data, 0 for the absent ones, where the other
rows get those of the classes present; `every pixel` is ours without cells.

With `--threads N` above 1 the times are of the clock on the wall, so the machine must have nothing
else to do; pydensecrf2 uses one thread all the same. `--every N` takes every Nth image. `--cams
FOLDER` keeps the CAMs there (float16) and finds them in a later call.
"""

import argparse
import inspect
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dealseg.data import RgbdDataset, open_dataset
from dealseg.depth import resample_valid, to_space
from dealseg.evaluation.counts import MaskCounts, count_mask
from dealseg.labeling import class_maps, label_options
from dealseg.labeling.scoring import tags_of
from dealseg.metrics import boundary_iou, contour_f, mean_iou
from dealseg.models import Run, load_run
from dealseg.process import keep_freed_memory
from dealseg.refine import class_probabilities, local_affinity, mean_field

try:
    from pydensecrf import densecrf
except ImportError:
    densecrf = None

WEIGHTS = ("smooth", "bilateral", "depth_bilateral")
USUAL = {"smooth": (3.0, 3.0), "bilateral": (10.0, 80.0, 13.0)}
Case = dict[str, Tensor]
Way = Callable[[Case], Tensor]


def peer(case: Case, smooth: tuple, bilateral: tuple, all_classes: bool = False) -> Tensor:
    """Return what pydensecrf2 makes of the probabilities."""
    given = case["every"] if all_classes else case["probabilities"]
    _, classes, height, width = given.shape
    field = densecrf.DenseCRF2D(width, height, classes)
    energy = -given.clamp(min=1e-8).log().view(classes, -1)
    field.setUnaryEnergy(np.ascontiguousarray(energy.numpy()))
    field.addPairwiseGaussian(sxy=smooth[1], compat=smooth[0])
    compat, sxy, srgb = bilateral
    field.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=case["bytes"].numpy(), compat=compat)
    return torch.from_numpy(np.array(field.inference(10))).view(given.shape)


def peer_by_depth(case: Case, smooth: tuple, bilateral: tuple, by_depth: tuple) -> Tensor:
    """Return what pydensecrf2 makes of colour and depth, given as features of its own kernel."""
    if "depth" not in case or not bool(case["valid"].all()):
        return peer(case, smooth, bilateral)
    given, (_, sxy, _), (srgb, deviation) = case["probabilities"], bilateral, by_depth
    _, classes, height, width = given.shape
    field = densecrf.DenseCRF2D(width, height, classes)
    energy = -given.clamp(min=1e-8).log().view(classes, -1)
    field.setUnaryEnergy(np.ascontiguousarray(energy.numpy()))
    field.addPairwiseGaussian(sxy=smooth[1], compat=smooth[0])
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    depth = case["depth"][0] - case["depth"].mean()
    depth = depth / (deviation * depth.abs().mean())
    places = torch.stack([right, down]) / sxy
    features = torch.cat([places, 255 * case["image"][0] / srgb, depth]).flatten(1)
    field.addPairwiseEnergy(np.ascontiguousarray(features.numpy()), compat=bilateral[0])
    return torch.from_numpy(np.array(field.inference(10))).view(given.shape)


def ours(case: Case, method: Callable, depth: bool, all_classes: bool = False, **how) -> Tensor:
    given = case["every"] if all_classes else case["probabilities"]
    more = (case["depth"], case["valid"]) if depth and "depth" in case else ()
    return method(given, case["image"], *more, **how)


def ways(weights: dict[str, tuple], slow: bool) -> dict[str, Way]:
    """Return the refinements by name, each from a case to probabilities."""
    found: dict[str, Way] = {"none": lambda case: case["probabilities"]}
    for depth in (False, True):
        kind = "colour, depth" if depth else "colour"
        found[f"affinity: {kind}"] = partial(ours, method=local_affinity, depth=depth)
        found[f"crf: {kind}"] = partial(ours, method=mean_field, depth=depth)
    found["crf: colour, usual weights"] = partial(ours, method=mean_field, depth=False, **USUAL)
    found["crf: colour, cells of 8"] = partial(ours, method=mean_field, depth=False, stride=8)
    if slow:
        found["crf: colour, every pixel"] = partial(ours, method=mean_field, depth=False, stride=1)
        found["crf: colour, all classes"] = partial(
            ours, method=mean_field, depth=False, all_classes=True
        )
    if densecrf is None:
        return found
    own = {name: weights[name] for name in ("smooth", "bilateral")}
    found["pydensecrf2"] = partial(peer, **own)
    found["pydensecrf2, depth"] = partial(peer_by_depth, **own, by_depth=weights["depth_bilateral"])
    found["pydensecrf2, usual weights"] = partial(peer, **USUAL)
    if slow:
        found["pydensecrf2, all classes"] = partial(peer, all_classes=True, **own)
    return found


def cams(run: Run, dataset: RgbdDataset, index: int, keep: Path | None) -> tuple[Tensor, Tensor]:
    """Return normalised CAMs (n, h, w) and the indices of their classes, kept if there is where."""
    file = None if keep is None else keep / f"{index:04d}.npz"
    if file is not None and file.is_file():
        with np.load(file) as found:
            return torch.from_numpy(found["maps"]).float(), torch.from_numpy(found["present"])
    options = label_options(run.config)
    maps = class_maps(
        run.model,
        dataset.image(index),
        tags_of(dataset, index, options),
        long_side=options.long_side or run.config.data.long_side,
        options=options,
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, maps=maps.maps.half().numpy(), present=maps.present.numpy())
    return maps.maps, maps.present


def case_of(
    dataset: RgbdDataset, index: int, maps: Tensor, present: Tensor, threshold: float, space: str
) -> Case:
    """Return what the refinements are given."""
    image = dataset.image(index)
    case = {
        "probabilities": class_probabilities(maps[None], threshold),
        "image": image[None].float() / 255,
        "bytes": image.permute(1, 2, 0).contiguous(),
        "labels": torch.cat([torch.zeros(1, dtype=torch.int64), present + 1]),
    }
    shape = (1, len(dataset.classes) + 1, *image.shape[1:])
    every = case["probabilities"].new_zeros(shape)
    case["every"] = every.index_copy(1, case["labels"], case["probabilities"])
    if (found := dataset.depth(index)) is not None:
        kind = dataset.depth_info.kind
        depth = to_space(*found, "inverse" if kind == "relative" else space, kind)
        size = (image.shape[1], image.shape[2])
        resampled = resample_valid(depth[None], found[1][None], size, mode="bilinear")
        case["depth"], case["valid"] = resampled
    return case


def mask_of(probabilities: Tensor, case: Case) -> Tensor:
    winner = probabilities[0].argmax(0)
    if len(probabilities[0]) != len(case["labels"]):
        return winner.to(torch.uint8)
    return case["labels"][winner].to(torch.uint8)


def cases(run: Run, dataset: RgbdDataset, args) -> Iterator[tuple[Case, Tensor]]:
    """Return cases and ground truth."""
    keep = None if args.cams is None else args.cams / run.path.name / args.split
    threshold = args.threshold or label_options(run.config).threshold
    for index in tqdm(range(0, len(dataset), args.every), disable=None):
        maps, present = cams(run, dataset, index, keep)
        case = case_of(dataset, index, maps, present, threshold, args.space)
        yield case, dataset.mask(index)


@torch.no_grad()
def measure(run: Run, dataset: RgbdDataset, args) -> list[dict[str, object]]:
    """Return a row for each way of refining."""
    options = inspect.signature(mean_field).parameters
    weights = {name: options[name].default for name in WEIGHTS}
    tried = ways(weights, args.slow)
    counts: dict[str, MaskCounts] = {}
    seconds: dict[str, list[float]] = {name: [] for name in tried}
    classes = len(dataset.classes) + 1
    clock = time.process_time if args.threads == 1 else time.perf_counter
    for case, truth in cases(run, dataset, args):
        for name, way in tried.items():
            mask = torch.zeros_like(truth)
            if len(case["labels"]) > 1:
                start = clock()
                probabilities = way(case)
                seconds[name].append(clock() - start)
                mask = mask_of(probabilities, case)
            found = count_mask(mask, truth, classes, boundaries=True)
            counts[name] = found if name not in counts else counts[name] + found
    return [row(name, counts[name], seconds[name]) for name in tried]


def row(name: str, counts: MaskCounts, seconds: list[float]) -> dict[str, object]:
    return {
        "refinement": name,
        "mIoU": 100 * float(mean_iou(counts.confusion)),
        "boundary IoU": 100 * float(boundary_iou(counts.boundary).nanmean()),
        "contour F": 100 * float(contour_f(counts.contour).nanmean()),
        "ms": 1000 * float(np.mean(seconds)),
        "ms median": 1000 * float(np.median(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--space", default="inverse", choices=("depth", "log", "inverse"))
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--cams", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as every command does
    dataset = open_dataset(args.data, split=args.split)
    for path in args.runs:
        rows = measure(load_run(path, "cpu"), dataset, args)
        count = -(-len(dataset) // args.every)
        print(f"{path.name}, {count} images of {args.split}, {args.threads} threads")
        titles = [title for title in rows[0] if title != "refinement"]
        print(f"{'':<28}" + "".join(f"{title:>14}" for title in titles))
        for each in rows:
            figures = "".join(f"{each[title]:14.2f}" for title in titles)
            print(f"{each['refinement']:<28}{figures}", flush=True)
        told = {name: str(value) for name, value in vars(args).items() if name != "runs"}
        print(json.dumps({"benchmark": "refine", **told, "run": path.name, "rows": rows}))


if __name__ == "__main__":
    main()
