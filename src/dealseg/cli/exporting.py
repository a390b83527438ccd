"""The command that hands masks to other tools."""

from pathlib import Path
from typing import Any, Literal

from dealseg.cli.data import open_images
from dealseg.errors import DataError

DataFormat = Literal["auto", "images", "folder", "bop", "voc", "coco"]


def export(
    masks: str,
    format: str,
    out: str,
    data: str | None = None,
    split: str | None = None,
    data_format: DataFormat = "auto",
    class_names: tuple[str, ...] | None = None,
    review: str | None = None,
    instances: Literal["components", "class"] | None = None,
    min_area: int | None = None,
    images: Literal["none", "copy", "link", "jpg"] | None = None,
    ignored: Literal["background", "label"] | None = None,
    url_prefix: str | None = None,
    category_ids: str | None = None,
) -> int:
    """Write masks for labelling tools and other programs: COCO, VOC, CVAT, Label Studio, BOP, ...

    Args:
        masks: folder that `label` or `predict` wrote, or any folder of indexed PNG files.
        format: coco, voc, cvat, label-studio, bop, yolo or hf; see docs/export.md.
        out: folder to write; a new or empty one, or an earlier export in which nothing changed.
        data: data set with the images; by default the one `labels.json` names.
        split: export only the masks of this part of the data set; by default all.
        data_format: layout of the data set, or `images` for a plain folder of images; auto takes
            what `labels.json` says, else looks.
        class_names: foreground classes in the order of the mask values, if nothing else says them.
        review: review.json whose rejected masks are left out; by default the one in MASKS.
        instances: an object is a connected component, or all pixels of a class (coco, cvat,
            label-studio, bop).
        min_area: leave out objects of fewer pixels.
        images: leave images where they are, copy them, link to them, or make them JPEG (voc, yolo,
            hf); by default they are copied.
        ignored: make ignored pixels background or a label of their own (cvat, label-studio).
        url_prefix: before an image's path below the data set (label-studio).
        category_ids: JSON file of an id for each class name; by default the data set's own ids,
            else the mask values (coco, bop).
    """
    from dealseg.data.mask_set import open_masks, recorded_format
    from dealseg.errors import ConfigError
    from dealseg.exporting import ExportOptions, export_masks

    options = ExportOptions(
        instances=instances, min_area=min_area, images=images, ignored=ignored,
        url_prefix=url_prefix,
    )  # fmt: skip
    found = open_masks(masks, class_names)
    root = data or found.data_root
    if root is None:
        raise ConfigError(f"{masks}: nothing here says where the images are; give --data")
    if data_format == "auto":
        data_format = recorded_format(found.facts, Path(root))
    done = export_masks(
        found, _images(Path(root), data_format, split or found.split), Path(out), format,
        options, split=split, review=Path(review) if review else None,
        ids=Path(category_ids) if category_ids else None,
    )  # fmt: skip
    print(f"{done.images} masks exported to {out}")
    for remark in done.remarks:
        print(remark)
    if done.rejected:
        print(f"{done.rejected} rejected masks left out")
    if done.elsewhere:
        print(f"{done.elsewhere} masks of images outside of --split {split} left out")
    return 0


def _images(root: Path, format: DataFormat, split: str | None) -> Any:
    """Open a data set, or a folder of images if it is none."""
    from dealseg.data.folder import open_pictures
    from dealseg.data.opening import tell_format

    if format == "images":
        return open_pictures(root)
    try:
        told = tell_format(root, format)
    except DataError:
        if format != "auto" or split is not None or not root.is_dir():
            raise
        return open_pictures(root)
    return open_images(str(root), told, split)
