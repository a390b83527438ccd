"""Commands that make and check data."""

from pathlib import Path
from typing import Any, Literal

from dealseg.config import DataConfig
from dealseg.errors import DataError

Format = Literal["auto", "folder", "bop", "voc", "coco"]
TagsFrom = Literal["auto", "cls_labels", "xml", "masks"]


def synth(
    out: str, images: int = 320, val_images: int = 100, size: int = 192, seed: int = 0
) -> int:
    """Render a synthetic RGB-D tabletop data set with tags, depth and masks (BOP layout).

    Args:
        out: folder to write; a new or empty one, or the same again after an interruption.
        images: training images.
        val_images: images of the `val` split.
        size: height and width in pixels.
        seed: the same seed gives the same bytes.
    """
    from dealseg.data.synthetic import write_synthetic

    write_synthetic(Path(out), images=images, val_images=val_images, size=size, seed=seed)
    print(f"{images} + {val_images} images in {out}; look at them with: dealseg check {out}")
    return 0


def check(
    data: str,
    format: Format = "auto",
    split: str | None = None,
    depth_folder: str = "depth",
    tags_from: TagsFrom = "auto",
    sample: int | None = None,
    json: bool = False,
) -> int:
    """Say what is in a data set, and everything that would make training wrong (exit code 1).

    Args:
        data: data set in folder, BOP, VOC or COCO format.
        format: layout; auto looks.
        split: named part of the data set.
        depth_folder: folder of the depth maps.
        tags_from: where the tags of a VOC data set come from; auto takes the first there is.
        sample: open only this many images, evenly spaced.
        json: print JSON instead of a table.
    """
    from dealseg.data import check_dataset

    report = check_dataset(
        data,
        format=format,
        split=split,
        depth_folder=depth_folder,
        tags_from=tags_from,
        sample=sample,
    )
    print(report.to_json() if json else report.table())
    return 0 if report.ok else 1


def noise(
    data: str,
    out: str,
    depth_noise: str,
    seed: int = 0,
    format: Format = "auto",
    split: str | None = None,
    depth_folder: str = "depth",
) -> int:
    """Write the depth of a data set with noise added, as a folder to train on.

    Args:
        data: data set in folder, BOP, VOC or COCO format.
        out: folder for the depth maps and depth.yaml; a new or empty one, or the same again after
            an interruption.
        depth_noise: models in the order in which they act, such as gaussian:0.02,holes:0.1, or
            level:0 to level:4; see docs/noise.md.
        seed: the same seed gives the same noise.
        format: layout; auto looks.
        split: named part of the data set.
        depth_folder: folder of the depth to which noise is added.
    """
    from dealseg.data.noise_writing import write_noisy_depth

    images = open_images(data, format, split, depth_folder)
    done = write_noisy_depth(images, Path(out), depth_noise, seed, split=split or "all")
    kept = f", {done.kept} kept from before" if done.kept else ""
    print(f"{done.written} depth maps written{kept}; use them with --data.depth_folder {out}")
    if done.beyond:
        print(f"{done.beyond} pixels lay beyond what 16 bits hold at this step")
    return 0


def open_images(
    path: str,
    format: Format,
    split: str | None,
    depth_folder: str = "depth",
    tags_from: TagsFrom = "auto",
) -> Any:
    """Open a data set for any of the commands."""
    from dealseg.data import open_dataset

    return open_dataset(
        path, format=format, split=split, depth_folder=depth_folder, tags_from=tags_from
    )


def reviewed(images: Any, review: str | None) -> Any:
    """Return the data set with the tags as edited in a review, and say how many were."""
    if review is None:
        return images
    from dealseg.data.review import Reviewed, read_review

    seen = Reviewed(images, read_review(Path(review)))
    print(f"{seen.edited} of {len(seen)} images have tags edited in {review}")
    return seen


def open_as_trained(
    path: str,
    own: DataConfig,
    split: str | None,
    *,
    format: Format | None = None,
    depth_folder: str | None = "depth",
    tags_from: TagsFrom | None = None,
) -> Any:
    """Open a data set for a run: what is None is as the run's configuration says.

    The run's origin of tags is for VOC data alone.
    """
    from dealseg.data.opening import tell_format

    layout = format or own.format
    depth = own.depth_folder if depth_folder is None else depth_folder
    try:
        is_voc = tell_format(Path(path), layout) == "voc"
        tags = tags_from or (own.tags_from if is_voc else "auto")
        return open_images(path, layout, split, depth, tags)
    except DataError as error:
        given = {"format": format, "tags_from": tags_from, "depth_folder": depth_folder}
        usual = DataConfig()
        from_run = [
            f"--{name} {getattr(usual, name)}"
            for name, option in given.items()
            if option is None and getattr(own, name) != getattr(usual, name)
        ]
        if not from_run:
            raise
        said = f"{error} (opened as the run was trained; else say {' '.join(from_run)})"
        raise DataError(said) from error
