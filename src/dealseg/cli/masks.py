"""Commands that make masks and judge them."""

from pathlib import Path
from typing import Literal

from dealseg.cli.data import Format, open_images


def label(
    run: str,
    data: str,
    out: str,
    threshold: float | None = None,
    scales: tuple[float, ...] = (1.0, 1.5),
    flip: bool = True,
    tags: Literal["auto", "data", "predicted"] = "auto",
    format: Format = "auto",
    split: str | None = None,
) -> int:
    """Write a mask for every image, from a trained run and the images' tags.

    Args:
        run: run folder of a training.
        data: data set in folder or BOP format; tags are used where it has them, else predicted.
        out: folder for `masks/` and `labels.json`; a new one, or the same to go on.
        threshold: background score; 0.4 by default, chosen without your ground truth.
        scales: image sizes whose CAMs are summed, relative to the training's.
        flip: add the CAMs of mirrored images.
        tags: `data` and `predicted` insist on where tags come from.
        format: layout; auto looks.
        split: named part of the data set.
    """
    from dealseg.labeling import DEFAULT_THRESHOLD, LabelOptions, label_dataset
    from dealseg.models import load_run

    origin = "default" if threshold is None else "user"
    value = DEFAULT_THRESHOLD if threshold is None else threshold
    options = LabelOptions(threshold=value, scales=scales, flip=flip, tags=tags)
    images = open_images(data, format, split)
    done = label_dataset(load_run(Path(run)), images, Path(out), options, origin)
    kept = f", {done.kept} kept from before" if done.kept else ""
    print(f"{done.written} masks written{kept} in {out}/masks, threshold {value:g} ({origin})")
    if done.predicted:
        print(f"{done.predicted} images had no tags: the network predicted them")
    return 0


def evaluate(
    source: str,
    data: str,
    threshold: float | None = None,
    scales: tuple[float, ...] = (1.0, 1.5),
    flip: bool = True,
    tags: Literal["auto", "data", "predicted"] = "auto",
    format: Format = "auto",
    split: str | None = None,
    out: str | None = None,
    boundaries: bool = True,
    allow_subset: bool = False,
) -> int:
    """Judge a run, a folder of masks or of CAM arrays by a data set's ground-truth masks.

    Args:
        source: run folder, folder of masks, or folder of CAM arrays (npz).
        data: data set with masks.
        threshold: background score for a run or CAMs; by default the one `label` uses.
        scales: as in `label`, for a run.
        flip: as in `label`, for a run.
        tags: as in `label`, for a run.
        format: layout; auto looks.
        split: named part of the data set.
        out: JSON file; by default `evaluation.json` in SOURCE.
        boundaries: compute boundary IoU and contour F too.
        allow_subset: accept that predictions are missing for some images.
    """
    from dealseg.labeling import DEFAULT_THRESHOLD, LabelOptions

    value = DEFAULT_THRESHOLD if threshold is None else threshold
    options = LabelOptions(threshold=value, scales=scales, flip=flip, tags=tags)
    origin = "default" if threshold is None else "user"
    from dealseg.judging import judge

    result = judge(
        Path(source), open_images(data, format, split), options, origin,
        split=split or "all", boundaries=boundaries, allow_subset=allow_subset,
    )  # fmt: skip
    path = Path(out) if out else Path(source) / "evaluation.json"
    print(result.table())
    result.write_result(path)
    print(f"written to {path}")
    return 0
