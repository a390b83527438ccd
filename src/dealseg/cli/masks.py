"""Commands that make masks and judge them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dealseg.cli.data import Format, TagsFrom, open_as_trained, reviewed
from dealseg.config.label import RefineDepth, Refinement, Threshold

if TYPE_CHECKING:
    from dealseg.labeling import LabelOptions, LabelResult

Tags = Literal["auto", "data", "predicted"]
Device = Literal["auto", "cpu", "gpu"]


def label(
    run: str,
    data: str,
    out: str,
    threshold: Threshold | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    tags: Tags = "auto",
    tags_from: TagsFrom | None = None,
    refine: Refinement | None = None,
    refine_depth: RefineDepth | None = None,
    ignore: float | None = None,
    depth_folder: str | None = None,
    format: Format | None = None,
    split: str | None = None,
    review: str | None = None,
    device: Device = "auto",
) -> int:
    """Write a mask for every image, from a trained run and the images' tags.

    Args:
        run: run folder of a training.
        data: data set in any of the formats; tags are used where it has them, else predicted.
        out: folder for `masks/` and `labels.json`; a new one, or the same to go on.
        threshold: background score; by default the run's `label.threshold`, else the method's own,
            chosen without your ground truth. auto finds it from your images: Otsu's split of the
            scores; with `refine` the middle between it and where refined masks change least.
        scales: image sizes whose CAMs are summed, relative to the training's; by default the
            run's `label.scales`.
        flip: add the CAMs of mirrored images; by default the run's `label.flip`.
        tags: `data` and `predicted` insist on where tags come from.
        tags_from: where the tags of a VOC data set come from; auto takes the first there is; by
            default the run's `data.tags_from`.
        refine: sharpen masks along the images' edges, by local affinity or a dense CRF; by default
            the run's `label.refine`, which is none unless it was told.
        refine_depth: refine along depth as well as colour; auto where the data has it; by default
            the run's `label.refine_depth`.
        ignore: pixels become 255 whose class leads the next best by less than this score, or after
            refinement by less than this probability; 0 decides all; by default the run's
            `label.ignore`.
        depth_folder: folder of the depth to refine along; by default the run's
            `data.depth_folder`.
        format: layout; auto looks; by default the run's `data.format`.
        split: named part of the data set.
        review: file that `dealseg review` wrote; tags edited there replace the data's.
        device: where the network works; auto takes a GPU where there is one.
    """
    from dealseg.data.opening import tell_format
    from dealseg.labeling import label_dataset, label_options, threshold_origin
    from dealseg.models import load_run
    from dealseg.models.placing import device_of
    from dealseg.models.runs import read_config

    place = device_of(device)
    config, _ = read_config(Path(run))
    options = label_options(
        config, threshold=threshold, scales=scales, flip=flip, tags=tags, refine=refine,
        refine_depth=refine_depth, ignore=ignore,
    )  # fmt: skip
    origin = threshold_origin(config, threshold)
    depth = _depth_folder(options, depth_folder)
    images = open_as_trained(
        data, config.data, split, format=format, tags_from=tags_from, depth_folder=depth
    )
    images = reviewed(images, review)
    done = label_dataset(
        load_run(Path(run), place), images, Path(out), options, origin, split=split or "all",
        depth_folder=depth or config.data.depth_folder,
        data_format=tell_format(Path(data), format or config.data.format),
    )  # fmt: skip
    for line in _told(done):
        print(line)
    return 0


def _depth_folder(options: "LabelOptions", wanted: str | None) -> str | None:
    """Return the folder to look for depth in: that wanted, or None for the run's, to refine."""
    return "depth" if options.refine == "none" or options.refine_depth is False else wanted


def _told(done: "LabelResult") -> Iterator[str]:
    kept = f", {done.kept} kept from before" if done.kept else ""
    value = f"threshold {done.options.threshold:g} ({done.threshold_origin})"
    yield f"{done.written} masks written{kept} in {done.out}/masks, {value}"
    if done.predicted:
        yield f"{done.predicted} images had no tags: the network predicted them"
    if done.without_depth is not None:
        yield f"refined by {done.options.refine}, {_along(done)}"
    if done.options.ignore:
        yield f"{done.ignored:.1%} of the pixels are undecided (255)"


def _along(done: "LabelResult") -> str:
    """Say what refinement went along."""
    images, without = len(done.facts), done.without_depth
    if not without:
        return "along colour and depth"
    if done.options.refine_depth is False:
        return "along colour alone"
    if without == images:
        return "along colour alone: the data has no depth"
    return f"along colour and depth; colour alone in {without} of {images} images without depth"


def evaluate(
    source: str,
    data: str,
    threshold: Threshold | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    tags: Tags = "auto",
    tags_from: TagsFrom | None = None,
    refine: Refinement | None = None,
    refine_depth: RefineDepth | None = None,
    depth_folder: str | None = None,
    protocol: Literal["full", "seam", "weaktr"] = "full",
    format: Format | None = None,
    split: str | None = None,
    out: str | None = None,
    boundaries: bool = True,
    allow_subset: bool = False,
    device: Device = "auto",
) -> int:
    """Judge a run, a segmenter, masks or CAM arrays by a data set's ground-truth masks.

    Args:
        source: run folder, segmenter, folder of masks, or folder of CAM arrays (npz).
        data: data set with masks.
        threshold: background score for a run or CAMs; by default the one `label` uses for a run,
            and 0.4 for CAMs; auto as in `label`, for a run.
        scales: as in `label`, for a run.
        flip: as in `label`, for a run.
        tags: as in `label`, for a run.
        tags_from: as in `label`; auto for masks and CAMs.
        refine: as in `label`, for a run, and as in `predict`, for a segmenter; the ORACLE figure of
            a run is then that of the scores refined at the fixed threshold.
        refine_depth: as in `label`, for a run.
        depth_folder: as in `label`, for a run.
        protocol: thresholds tried for the ORACLE figure: all 101 (full), SEAM's 0.00-0.59, or
            WeakTr's 0.40-0.59 with its early stop; see docs/evaluation.md.
        format: as in `label`; for masks by default the one that `labels.json` says of this data.
        split: named part of the data set.
        out: JSON file; by default `evaluation.json` in SOURCE.
        boundaries: compute boundary IoU and contour F too.
        allow_subset: accept that predictions are missing for some images.
        device: where a run's network works; auto takes a GPU where there is one.
    """
    from dealseg.config import TrainConfig
    from dealseg.data.mask_set import read_manifest, recorded_format
    from dealseg.judging import judge
    from dealseg.labeling import label_options, threshold_origin
    from dealseg.models.runs import CONFIG_FILE, read_config
    from dealseg.models.segmenter import is_segmenter

    is_run = (Path(source) / CONFIG_FILE).is_file() and not is_segmenter(Path(source))
    config = read_config(Path(source))[0] if is_run else TrainConfig()
    options = label_options(
        config, threshold=threshold, scales=scales, flip=flip, tags=tags, refine=refine,
        refine_depth=refine_depth, ignore=0.0,
    )  # fmt: skip
    origin = threshold_origin(config, threshold) if is_run or threshold is not None else "default"
    depth = _depth_folder(options, depth_folder)
    layout = format
    if not is_run and format is None:
        layout = recorded_format(read_manifest(Path(source)), Path(data))
    images = open_as_trained(
        data, config.data, split, format=layout, tags_from=tags_from, depth_folder=depth
    )
    result = judge(
        Path(source), images, options, origin, split=split or "all",
        boundaries=boundaries, allow_subset=allow_subset, protocol=protocol, device=device,
    )  # fmt: skip
    path = Path(out) if out else Path(source) / "evaluation.json"
    print(result.table())
    result.write_result(path)
    print(f"written to {path}")
    return 0
