"""From a folder of masks to the files of a labelling tool or a training program."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dealseg.data.base import RgbdDataset
from dealseg.data.files import file_error
from dealseg.data.mask_set import MaskSet
from dealseg.data.review import REVIEW_FILE, Review, read_review
from dealseg.errors import ConfigError, DataError
from dealseg.exporting import bop, coco, cvat, hf, label_studio, voc, yolo
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.source import Source, Writer, category_ids
from dealseg.exporting.target import new_folder


class ExportFormat(NamedTuple):
    """A format: what writes it, the options it takes with their defaults, and if it has ids."""

    write: Writer
    defaults: Mapping[str, Any]
    has_ids: bool = False


FORMATS: dict[str, ExportFormat] = {
    "coco": ExportFormat(coco.write_coco, coco.DEFAULTS, has_ids=True),
    "voc": ExportFormat(voc.write_voc, voc.DEFAULTS),
    "cvat": ExportFormat(cvat.write_cvat, cvat.DEFAULTS),
    "label-studio": ExportFormat(label_studio.write_label_studio, label_studio.DEFAULTS),
    "bop": ExportFormat(bop.write_bop, bop.DEFAULTS, has_ids=True),
    "yolo": ExportFormat(yolo.write_yolo, yolo.DEFAULTS),
    "hf": ExportFormat(hf.write_hf, hf.DEFAULTS),
}


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        out: the folder written.
        images: how many were exported.
        rejected: masks left out because a person rejected them.
        elsewhere: masks left out because their images are not in the part of the data asked for.
        remarks: what the user should know of the files.
    """

    out: Path
    images: int
    rejected: int = 0
    elsewhere: int = 0
    remarks: list[str] = field(default_factory=list)


def export_masks(
    masks: MaskSet,
    dataset: RgbdDataset,
    out: Path,
    format: str,  # noqa: A002 - the name of the command's flag
    options: ExportOptions | None = None,
    *,
    split: str | None = None,
    review: Path | None = None,
    ids: Path | None = None,
) -> ExportResult:
    """Write masks in one of the :data:`FORMATS`, described in `docs/export.md`.

    The same masks, images and options give the same bytes. The folder is there when it is whole.

    Args:
        masks: to export.
        dataset: with their images, or with those of a part of them if `split` is given.
        out: a new or empty folder, or one of an earlier export in which nothing was changed.
        format: a key of FORMATS.
        options: choices; the format's defaults where they say nothing.
        split: name of the part of the data that `dataset` is; images elsewhere are left out.
        review: whose rejected masks are left out; by default `review.json` beside the masks, if
            it is there.
        ids: JSON file of an id for each class name, for formats with category ids.

    Raises:
        ConfigError: if there is no such format, or it does not know an option.
        DataError: if an image is missing, a mask does not fit its image, or `out` is not free.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    chosen = (options or ExportOptions()).for_format(format, FORMATS[format].defaults)
    if ids is not None and not FORMATS[format].has_ids:
        raise ConfigError(f"--category-ids says nothing to --format {format}, which has no ids")
    _require_apart(out, masks, dataset)
    judged = _review(masks, review)
    source = _source(masks, dataset, judged, split, category_ids(masks, dataset, ids))
    facts = _facts(source, format, chosen)
    with new_folder(out, facts) as folder:
        remarks = FORMATS[format].write(source, folder, chosen)
    rejected = len(judged.rejected & set(masks.names))
    elsewhere = len(set(masks.names) - set(dataset.names) - judged.rejected)
    return ExportResult(out, len(source.places), rejected, elsewhere, remarks)


def _review(masks: MaskSet, file: Path | None) -> Review:
    beside = masks.root / REVIEW_FILE
    if file is None and not os.path.lexists(beside):  # a link that leads nowhere is a mistake
        return Review()
    return read_review(file or beside)


def _source(
    masks: MaskSet,
    dataset: RgbdDataset,
    review: Review,
    split: str | None,
    ids: tuple[tuple[int, ...], str],
) -> Source:
    wanted = set(masks.names) - review.rejected
    places = tuple(i for i, name in enumerate(dataset.names) if name in wanted)
    absent = sorted(wanted - set(dataset.names))
    if absent and (split is None or not places):
        more = f" nor of {len(absent) - 1} more masks" if len(absent) > 1 else ""
        problem = f"there is no image of the mask {absent[0]!r}{more}"
        raise file_error(dataset.root, f"{problem}; is --data the data set the masks are of?")
    if not places:
        raise DataError(f"{masks.root}: every mask was rejected; there is nothing to export")
    return Source(masks, dataset, places, *ids, split or masks.split)


def _require_apart(out: Path, masks: MaskSet, dataset: RgbdDataset) -> None:
    """Keep exports out of folders whose pictures would then be taken for masks or images."""
    folder = masks.root / "masks" if (masks.root / "masks").is_dir() else masks.root
    above_name = len(PurePosixPath(dataset.names[0]).parts) - 1
    images = dataset.image_path(0).parents[above_name]
    taken = [folder, images, *([dataset.root] if bop.is_bop(dataset) else [])]
    above = {out.resolve(), *out.resolve().parents}
    if inside := [each for each in taken if each.resolve() in above]:
        raise file_error(out, f"lies in {inside[0]}, which is read; choose another --out")


def _facts(source: Source, format: str, options: ExportOptions) -> dict[str, Any]:  # noqa: A002
    """Return what `export.json` says; no paths of this machine, so that it can be passed on."""
    told = source.masks.facts
    kept = ("threshold", "threshold_origin", "tags", "weights_sha256")
    return {
        "format": format,
        "images": len(source.places),
        "classes": list(source.classes),
        "split": source.split,
        "options": {k: v for k, v in asdict(options).items() if v is not None},
        "masks": {key: told[key] for key in kept if key in told},
    }
