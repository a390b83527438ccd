"""Look at a whole data set for what would make training wrong, and say every problem's file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dealseg.data.base import class_ids
from dealseg.data.check_report import CheckReport, Problem, Severity, guess_unit
from dealseg.data.description import METRES, depth_values
from dealseg.data.files import (
    DEPTH_SUFFIXES,
    AbsentError,
    FileError,
    RawDepth,
    image_size,
    index_files,
    read_depth,
    read_image,
)
from dealseg.data.frames import EIGHT_BITS, Frame, FrameDataset, require_aspect
from dealseg.data.opening import Format, list_dataset, tell_format
from dealseg.data.voc_tags import TagsFrom
from dealseg.errors import ConfigError

LOW_COVERAGE = 0.2
FEW_VALUES = 256


def check_dataset(
    path: str | Path,
    *,
    format: Format = "auto",  # noqa: A002 - the name of the command's flag
    split: str | None = None,
    depth_folder: str = "depth",
    min_visible: float = 0.1,
    tags_from: TagsFrom = "auto",
    sample: int | None = None,
) -> CheckReport:
    """Check a data set, one image at a time, with a progress bar on a terminal.

    Args:
        path: folder of the data set.
        format: as for `open_dataset`.
        split: as for `open_dataset`.
        depth_folder: as for `open_dataset`.
        min_visible: as for `open_dataset`.
        tags_from: as for `open_dataset`.
        sample: open only so many images, evenly spread; None for all. Tags, names and JSON files
            are always checked whole.

    Raises:
        DataError: if `path` is no data set of this format, or lacks the split, depth folder or
            origin of tags that is asked for. Other mistakes go into the report.
        ConfigError: if an argument has a value that cannot work.
    """
    if sample is not None and sample < 1:
        raise ConfigError(f"sample must be at least 1, got {sample}")
    told = tell_format(Path(path), format)
    notes = _Notes()
    try:
        dataset = list_dataset(
            path,
            format=told,
            split=split,
            depth_folder=depth_folder,
            min_visible=min_visible,
            tags_from=tags_from,
            complain=notes.error,
        )
    except AbsentError:
        raise
    except FileError as error:
        notes.error(error)
        dataset = FrameDataset(Path(path), (), ())
    else:
        _check_tags(dataset, notes)
        for kind, remark in dataset.remarks:
            notes.warn(kind, remark.file or dataset.root, remark.problem)
        if told == "folder" and split is None:
            _check_strays(dataset, depth_folder, notes)
    facts = _open_all(dataset, sample, notes)
    _check_depth(dataset, facts, notes)
    return _report(dataset, told, split, facts, notes)


@dataclass
class _Notes:
    problems: list[Problem] = field(default_factory=list)

    def add(self, severity: Severity, kind: str, file: Path, message: str) -> None:
        self.problems.append(Problem(severity, kind, str(file), message))

    def error(self, error: FileError, kind: str = "data set") -> None:
        self.add("error", kind, error.file or Path(), error.problem)

    def warn(self, kind: str, file: Path, message: str) -> None:
        self.add("warning", kind, file, message)

    def ordered(self) -> tuple[Problem, ...]:
        return tuple(sorted(self.problems, key=lambda p: (p.severity, p.kind, p.file, p.message)))


@dataclass
class _Facts:
    opened: int = 0
    size_mismatches: int = 0
    valid_shares: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        return float(np.median(self.medians)) if self.medians else None

    @property
    def valid_share(self) -> float | None:
        return float(np.mean(self.valid_shares)) if self.valid_shares else None


def _open_all(dataset: FrameDataset, sample: int | None, notes: _Notes) -> _Facts:
    facts = _Facts()
    count = len(dataset) if sample is None else min(sample, len(dataset))
    chosen = np.unique(np.linspace(0, max(len(dataset) - 1, 0), count).round().astype(int))
    for index in tqdm(chosen.tolist(), desc="check", unit="image", disable=None):
        frame = dataset.frames[index]
        facts.opened += 1
        for error in _open(frame, len(dataset.classes), facts, notes):
            notes.error(error, "file")
    return facts


def _open(frame: Frame, classes: int, facts: _Facts, notes: _Notes) -> Iterator[FileError]:
    size = None
    try:
        size = image_size(frame.image)
        read_image(frame.image)
    except FileError as error:
        yield error
    try:
        if frame.depth is not None:
            _look_at_depth(frame, frame.depth, size, facts, notes)
    except FileError as error:
        yield error
    try:
        if frame.mask is not None and size is not None:
            frame.mask.read(size, classes)
    except FileError as error:
        yield error


def _look_at_depth(
    frame: Frame, file: Path, size: tuple[int, int] | None, facts: _Facts, notes: _Notes
) -> None:
    raw = read_depth(file)
    values, valid = depth_values(raw, frame.depth_rule.info(raw.dtype))
    facts.valid_shares.append(float(valid.mean()))
    if valid.any():
        facts.medians.append(float(np.median(values[valid])))
    for kind, message in _weaknesses(raw, valid):
        notes.warn(kind, file, message)
    if size is None or raw.shape == size:
        return
    facts.size_mismatches += 1
    require_aspect(file, raw, size)
    if raw.shape[0] < size[0]:
        sizes = f"{raw.shape[1]}x{raw.shape[0]}, the image is {size[1]}x{size[0]}"
        notes.warn("depth smaller", file, f"the depth is {sizes}: outlines will be coarser")


def _weaknesses(raw: RawDepth, valid: np.ndarray) -> Iterator[tuple[str, str]]:
    share = float(valid.mean())
    if share < LOW_COVERAGE:
        yield "low depth coverage", f"only {100 * share:.1f} % of the pixels have a depth"
    distinct = np.unique(raw[valid]).size
    if distinct == 1:
        yield "constant depth", "every pixel has the same depth: there is no edge to align to"
    elif raw.dtype.itemsize == 1:
        yield "8-bit depth", EIGHT_BITS
    elif 1 < distinct < min(FEW_VALUES, int(valid.sum()) // 16):
        yield "quantised depth", f"only {distinct} distinct values: small depth steps are lost"


def _check_tags(dataset: FrameDataset, notes: _Notes) -> None:
    tagged = [frame.tags for frame in dataset.frames if frame.tags is not None]
    if not any(tagged):
        notes.add("error", "no tags", dataset.root, "no image has a tag: nothing can be learnt")
        return
    for frame in dataset.frames:
        if frame.tags is None:
            notes.warn("untagged", frame.image, "nobody says what is in this image")
    for name in dataset.classes:
        count = sum(name in tags for tags in tagged)
        if count in {0, len(tagged)}:
            often = "every" if count else "no"
            message = f"class {name!r} is in {often} tagged image: it cannot be learnt"
            notes.warn("class balance", dataset.root, message)


def _check_strays(dataset: FrameDataset, depth_folder: str, notes: _Notes) -> None:
    used = {frame.depth for frame in dataset.frames}
    used |= {getattr(frame.mask, "file", None) for frame in dataset.frames}
    for folder in (depth_folder, "masks"):
        files = index_files(dataset.root / folder, DEPTH_SUFFIXES, lambda _: None)
        stray = [file for file in files.values() if file not in used]
        if stray:
            message = f"{len(stray)} of {len(files)} files match no image; this is the first"
            notes.warn("stray file", stray[0], message)


def _check_depth(dataset: FrameDataset, facts: _Facts, notes: _Notes) -> None:
    missing = [frame for frame in dataset.frames if frame.depth is None]
    if len(missing) == len(dataset):
        if missing:
            notes.warn("no depth", dataset.root, "no image has depth: no loss can use depth edges")
    else:
        for frame in missing:
            notes.warn("no depth", frame.image, "this image has no depth file")
    unit, median = dataset.depth_info.unit, facts.median
    if (guess := guess_unit(unit, median)) != unit and median is not None:
        ratio = METRES.get(guess, METRES[unit]) / METRES[unit]
        better = (
            f"as {guess} it would be {median * ratio:.3g} m" if guess in METRES else "no unit fits"
        )
        message = (
            f"the median depth is {median:.3g} m: looks like {guess} read as {unit} ({better})"
        )
        notes.warn("depth unit", dataset.root, f"{message}; see `depth:` in dataset.yaml")


def _report(
    dataset: FrameDataset, told: str, split: str | None, facts: _Facts, notes: _Notes
) -> CheckReport:
    frames = dataset.frames
    counts = Counter(tag for frame in frames for tag in frame.tags or ())
    return CheckReport(
        root=str(dataset.root),
        format=told,
        split=split,
        images=len(frames),
        opened=facts.opened,
        tag_counts={name: counts[name] for name in dataset.classes},
        background_only=sum(frame.tags == frozenset() for frame in frames),
        untagged=sum(frame.tags is None for frame in frames),
        with_depth=sum(frame.depth is not None for frame in frames),
        with_mask=sum(frame.mask is not None for frame in frames),
        valid_share=facts.valid_share,
        median_depth=facts.median,
        unit=dataset.depth_info.unit,
        size_mismatches=facts.size_mismatches,
        problems=notes.ordered(),
        facts=dataset.facts,
        class_ids=class_ids(dataset),
    )
