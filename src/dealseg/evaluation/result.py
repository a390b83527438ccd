"""The result of an evaluation: as data, as JSON, and as a table for a terminal."""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dealseg.errors import DataError
from dealseg.evaluation.figures import Figures, TagFigures
from dealseg.evaluation.sources import SourceInfo
from dealseg.metrics.confusion import IGNORE
from dealseg.metrics.protocols import Search

ORACLE_NOTE = "the threshold was chosen with the ground truth: an upper bound, not a result"
_COLUMNS = {
    "IoU": "iou",
    "precision": "precision",
    "recall": "recall",
    "FP share": "false_positive_share",
    "FN share": "false_negative_share",
    "boundary IoU": "boundary_iou",
    "contour F": "contour_f",
}


@dataclass(frozen=True)
class EvaluationResult:
    """What was evaluated, on what, and the figures.

    Attributes:
        source: where the masks or scores come from.
        dataset: root of the data set.
        split: name of the part of it that was evaluated.
        images: those that were judged.
        images_without_ground_truth: left out.
        images_missing: with ground truth but without a prediction; more than 0 makes `subset` true.
        ignored_share: share of the judged images' pixels that the ground truth ignores.
        undecided_share: share of the other pixels that the masks leave undecided (255), as
            `dealseg label --ignore` makes them; all figures are of the rest.
        class_names: by mask value; 0 is background.
        class_ids: the data set's own id of each mask value, None where it has none.
        fixed: at the threshold that did not see this ground truth.
        oracle: at the best threshold that the protocol tried (ORACLE); None for finished masks.
        protocol: which thresholds were tried for it, and how absent classes count in its mean.
        thresholds: all thresholds, with `curve`, the mean IoU at each, whatever the protocol.
        tags: None without tag scores.
    """

    source: SourceInfo
    dataset: str
    split: str
    images: int
    images_without_ground_truth: int
    images_missing: int
    pixels: int
    ignored_share: float
    class_names: tuple[str, ...]
    fixed: Figures
    oracle: Figures | None = None
    protocol: Search | None = None
    thresholds: tuple[float, ...] | None = None
    curve: tuple[float, ...] | None = None
    tags: TagFigures | None = None
    class_ids: Mapping[str, int] | None = None
    undecided_share: float = 0.0

    @property
    def subset(self) -> bool:
        """Return whether images of the split that have ground truth were left out."""
        return self.images_missing > 0

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain data; NaN becomes None."""
        data: dict[str, Any] = dataclasses.asdict(self)
        data["subset"] = self.subset
        data["ignore_index"] = IGNORE
        names = data.pop("class_names")
        data["class_map"] = {str(value): name for value, name in enumerate(names)}
        if data["oracle"] is not None:
            data["oracle"]["note"] = _oracle_note(self)
        return {key: _plain(value) for key, value in data.items()}

    def to_json(self) -> str:
        """Return the result as JSON without NaN (null instead), indented."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def write_result(self, path: Path) -> None:
        """Write the JSON whole or not at all.

        Raises:
            DataError: if it cannot be written; an earlier file is left as it was.
        """
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(self.to_json(), encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise DataError(
                f"{path}: cannot write the result ({error.strerror}); take another --out"
            ) from error
        finally:
            with contextlib.suppress(OSError):  # the error above says more than this one would
                draft.unlink(missing_ok=True)

    def table(self) -> str:
        """Return the result as text for a terminal, in per cent."""
        sections = [_heading(self), _means(self), _per_class(self)]
        if self.tags is not None:
            sections.append([_tags(self.tags)])
        return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _oracle_note(result: EvaluationResult) -> str:
    """Say what an ORACLE figure is; only the best of all thresholds bounds the others."""
    protocol, note = result.protocol, ORACLE_NOTE
    if protocol is not None and protocol.protocol != "full":
        note = (
            f"the threshold was chosen with the ground truth, among those that protocol "
            f"{protocol.protocol} tried: not a result"
        )
    if result.source.refinement is None or result.source.kind == "segmenter":
        return note
    return f"{note}; of scores refined once, at the fixed threshold"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _heading(result: EvaluationResult) -> list[str]:
    source = result.source
    unknown = "not recorded"
    return [
        f"{source.kind} {source.path or ''}".rstrip()
        + f" on {result.dataset}, split {result.split}",
        f"N = {_images(result)}; {result.ignored_share:.2%} of the pixels ignored (255)",
        f"tags: {source.tags or unknown}; weights sha256: {source.weights_sha256 or unknown}",
        *_id_note(result),
        *_mask_notes(result),
    ]


def _id_note(result: EvaluationResult) -> list[str]:
    """Say that mask values are not the data set's own ids, where they are not."""
    ids = result.class_ids or {}
    other = [f"{value} is {own}" for value, own in ids.items() if value != str(own)]
    if not other:
        return []
    return [f"mask values are not the data set's ids: {other[0]}, ... (`class_ids` in the JSON)"]


def _mask_notes(result: EvaluationResult) -> list[str]:
    """Say how masks were refined, and what they leave undecided."""
    notes = []
    if result.source.refinement is not None:
        notes.append(f"refined by {result.source.refinement}")
    if result.undecided_share:
        share = f"{result.undecided_share:.2%}"
        notes.append(
            f"WARNING: the masks leave {share} of the pixels undecided: figures of the rest"
        )
    return notes


def _images(result: EvaluationResult) -> str:
    parts = [f"{result.images} images"]
    if result.images_without_ground_truth:
        parts.append(f"{result.images_without_ground_truth} without ground truth left out")
    if result.subset:
        parts.append(f"SUBSET: {result.images_missing} with ground truth have no prediction")
    return ", ".join(parts)


def _means(result: EvaluationResult) -> list[str]:
    rows = [_mean_row("fixed", result.fixed)]
    if result.oracle is not None:
        rows.append(_mean_row("ORACLE", result.oracle))
    header = ["", "mIoU", "boundary IoU", "contour F", "threshold", "threshold's origin"]
    lines = list(_aligned([header, *rows], text_columns={0, 5}))
    if result.oracle is not None:
        lines.append(f"ORACLE: {_oracle_note(result)}.")
    return [*lines, *_protocol_notes(result)]


def _protocol_notes(result: EvaluationResult) -> list[str]:
    """Say what a protocol other than our own did, and what it may have missed."""
    found, curve, thresholds = result.protocol, result.curve, result.thresholds
    if found is None or curve is None or thresholds is None or found.protocol == "full":
        return []
    tried = f"{found.thresholds[0]:.2f} to {found.thresholds[-1]:.2f}"
    of = f" of {found.first:.2f} to {found.last:.2f}" if found.stopped_early else ""
    absent = found.absent_classes.replace("left out", "are left out")
    lines = [
        f"protocol {found.protocol}: thresholds {tried}{of}; "
        f"classes in neither ground truth nor masks {absent}"
    ]
    if found.stopped_early:
        lines.append(
            f"WARNING: it stopped at {found.thresholds[-1]:.2f}, which was no better than before, "
            "as the original does; a better threshold may lie beyond"
        )
    elif found.at_the_edge:
        lines.append("WARNING: its best threshold is the end of its range; a better one may follow")
    best = max(curve)
    at = thresholds[curve.index(best)]
    lines.append(f"all {len(curve)} thresholds (protocol full): best {_percent(best)} at {at:.2f}")
    return lines


def _mean_row(name: str, figures: Figures) -> list[str]:
    means = (figures.mean_iou, figures.mean_boundary_iou, figures.mean_contour_f)
    threshold = "-" if figures.threshold is None else f"{figures.threshold:.2f}"
    return [name, *map(_percent, means), threshold, figures.threshold_origin]


def _per_class(result: EvaluationResult) -> list[str]:
    columns = {
        title: getattr(result.fixed, attribute)
        for title, attribute in _COLUMNS.items()
        if getattr(result.fixed, attribute) is not None
    }
    if result.oracle is not None:
        columns["ORACLE IoU"] = result.oracle.iou
    rows = [
        [str(value), name, *(_percent(column[value]) for column in columns.values())]
        for value, name in enumerate(result.class_names)
    ]
    return list(_aligned([["", "class", *columns], *rows], text_columns={1}))


def _tags(tags: TagFigures) -> str:
    return (
        f"tags of {tags.images} images: mAP {_percent(tags.mean_average_precision)}, "
        f"mean F1 at probability 0.5 {_percent(tags.mean_f1)}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def _aligned(rows: Sequence[Sequence[str]], text_columns: set[int]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if place in text_columns else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
