"""Commands that make masks and judge them."""

from pathlib import Path
from typing import Literal

from dealseg.cli.data import Format, TagsFrom, open_as_trained, reviewed

Tags = Literal["auto", "data", "predicted"]


def label(
    run: str,
    data: str,
    out: str,
    threshold: float | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    tags: Tags = "auto",
    tags_from: TagsFrom | None = None,
    format: Format | None = None,
    split: str | None = None,
    review: str | None = None,
) -> int:
    """Write a mask for every image, from a trained run and the images' tags.

    Args:
        run: run folder of a training.
        data: data set in any of the formats; tags are used where it has them, else predicted.
        out: folder for `masks/` and `labels.json`; a new one, or the same to go on.
        threshold: background score; by default the run's `label.threshold`, else the method's own,
            chosen without your ground truth.
        scales: image sizes whose CAMs are summed, relative to the training's; by default the
            run's `label.scales`.
        flip: add the CAMs of mirrored images; by default the run's `label.flip`.
        tags: `data` and `predicted` insist on where tags come from.
        tags_from: where the tags of a VOC data set come from; auto takes the first there is; by
            default the run's `data.tags_from`.
        format: layout; auto looks; by default the run's `data.format`.
        split: named part of the data set.
        review: file that `dealseg review` wrote; tags edited there replace the data's.
    """
    from dealseg.labeling import label_dataset, label_options, threshold_origin
    from dealseg.models import load_run
    from dealseg.models.runs import read_config

    config, _ = read_config(Path(run))
    options = label_options(config, threshold=threshold, scales=scales, flip=flip, tags=tags)
    origin = threshold_origin(config, threshold)
    images = open_as_trained(data, config.data, split, format=format, tags_from=tags_from)
    images = reviewed(images, review)
    done = label_dataset(
        load_run(Path(run)), images, Path(out), options, origin, split=split or "all"
    )
    kept = f", {done.kept} kept from before" if done.kept else ""
    value = f"threshold {options.threshold:g} ({origin})"
    print(f"{done.written} masks written{kept} in {out}/masks, {value}")
    if done.predicted:
        print(f"{done.predicted} images had no tags: the network predicted them")
    return 0


def evaluate(
    source: str,
    data: str,
    threshold: float | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    tags: Tags = "auto",
    tags_from: TagsFrom | None = None,
    protocol: Literal["full", "seam", "weaktr"] = "full",
    format: Format | None = None,
    split: str | None = None,
    out: str | None = None,
    boundaries: bool = True,
    allow_subset: bool = False,
) -> int:
    """Judge a run, a segmenter, masks or CAM arrays by a data set's ground-truth masks.

    Args:
        source: run folder, segmenter, folder of masks, or folder of CAM arrays (npz).
        data: data set with masks.
        threshold: background score for a run or CAMs; by default the one `label` uses for a run,
            and 0.4 for CAMs.
        scales: as in `label`, for a run.
        flip: as in `label`, for a run.
        tags: as in `label`, for a run.
        tags_from: as in `label`; auto for masks and CAMs.
        protocol: thresholds tried for the ORACLE figure: all 101 (full), SEAM's 0.00-0.59, or
            WeakTr's 0.40-0.59 with its early stop; see docs/evaluation.md.
        format: as in `label`; auto for masks and CAMs.
        split: named part of the data set.
        out: JSON file; by default `evaluation.json` in SOURCE.
        boundaries: compute boundary IoU and contour F too.
        allow_subset: accept that predictions are missing for some images.
    """
    from dealseg.config import TrainConfig
    from dealseg.judging import judge
    from dealseg.labeling import label_options, threshold_origin
    from dealseg.models.runs import CONFIG_FILE, read_config
    from dealseg.models.segmenter import is_segmenter

    is_run = (Path(source) / CONFIG_FILE).is_file() and not is_segmenter(Path(source))
    config = read_config(Path(source))[0] if is_run else TrainConfig()
    options = label_options(config, threshold=threshold, scales=scales, flip=flip, tags=tags)
    origin = threshold_origin(config, threshold) if is_run or threshold is not None else "default"
    images = open_as_trained(data, config.data, split, format=format, tags_from=tags_from)
    result = judge(
        Path(source), images, options, origin, split=split or "all",
        boundaries=boundaries, allow_subset=allow_subset, protocol=protocol,
    )  # fmt: skip
    path = Path(out) if out else Path(source) / "evaluation.json"
    print(result.table())
    result.write_result(path)
    print(f"written to {path}")
    return 0
