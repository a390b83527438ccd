"""What a job is known by: a checksum of its configuration and of the data it reads."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dealseg.config import DataConfig, TrainConfig
from dealseg.data.coco_masks import CocoMask
from dealseg.data.frames import Frame, FrameDataset
from dealseg.data.masks import InstanceMasks, LabelFile, MaskSource
from dealseg.errors import DataError
from dealseg.experiments.expanding import Job, reads_depth
from dealseg.experiments.images import open_split
from dealseg.training.cache import checksum

VERSION = 1
"""Grows whenever the same configuration and data would give another result."""

LATER: dict[str, Any] = {
    "label.refine": "none",
    "label.refine_depth": "auto",
    "label.ignore": 0.0,
}
"""Options that came after the first results, at the value that leaves all as it was.

With that value they are no part of the key, so that what is finished stays finished.
"""

Stamp = tuple[str, int, int]


class Keys:
    """The keys of a grid's jobs on one data set; its files are looked at once, not for every job.

    A key does not change with the place of the data, the number of workers, or the order of jobs;
    it does with names, sizes and times of change (whole seconds) of the files that the job reads,
    with tags and classes, and with the content of weights it starts from.

    Args:
        root: the data set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stamps: dict[tuple[object, ...], str] = {}

    def key(self, job: Job) -> str:
        """Return the checksum of a job.

        Raises:
            DataError: if the data set cannot be listed.
        """
        facts = [
            VERSION,
            _facts(job.config),
            self._of_training(job.config, job.config.data.split),
            self._of_judging(job.config, job.val),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]

    def _of_training(self, config: TrainConfig, split: str | None) -> str:
        depth = reads_depth(config)
        return self._stamp(config.data, split, from_folder=depth, depth=depth, masks=False)

    def _of_judging(self, config: TrainConfig, split: str | None) -> str:
        """Return the stamp of what is judged; its depth decides only where masks are refined."""
        depth = config.label.refine != "none" and config.label.refine_depth is not False
        return self._stamp(config.data, split, from_folder=False, depth=depth, masks=True)

    def _stamp(
        self, data: DataConfig, split: str | None, *, from_folder: bool, depth: bool, masks: bool
    ) -> str:
        which = (data, split, from_folder, depth, masks)
        if which not in self._stamps:
            dataset = open_split(self.root, data, split, with_depth=from_folder)
            self._stamps[which] = data_stamp(dataset, depth=depth, masks=masks)
        return self._stamps[which]


def _facts(config: TrainConfig) -> dict[str, Any]:
    """Return the options that make a difference, files by their content."""
    plain = asdict(replace(config, workers=0))
    if config.init:
        plain["init"] = checksum(Path(config.init))
    if config.model.weights:
        plain["model"]["weights"] = checksum(Path(config.model.weights))
    for path, neutral in LATER.items():
        part, _, name = path.partition(".")
        if plain[part].get(name) == neutral:
            del plain[part][name]
    return plain


def data_stamp(dataset: FrameDataset, *, depth: bool, masks: bool) -> str:
    """Return a checksum of what a data set is, as far as it can be told without opening pictures.

    Args:
        dataset: a listed split.
        depth: include the depth files and how they are read.
        masks: include the ground truth.
    """
    digest = hashlib.sha256(json.dumps(dataset.classes).encode())
    stamp = lru_cache(maxsize=8)(lambda path: _stamp(path, dataset.root))
    for frame in dataset.frames:
        tags = None if frame.tags is None else sorted(frame.tags)
        facts: list[object] = [frame.name, tags, stamp(frame.image)]
        if depth and frame.depth is not None:
            facts += [repr(frame.depth_rule), stamp(frame.depth)]
        if masks:
            facts += [_mask_facts(frame.mask), *(stamp(each) for each in _mask_files(frame))]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _mask_files(frame: Frame) -> Iterator[Path]:
    """Yield the files that a mask is read from; what is drawn from annotations is in their file."""
    mask = frame.mask
    if isinstance(mask, LabelFile):
        yield mask.file
    elif isinstance(mask, InstanceMasks):
        for index, _ in mask.instances:
            yield mask.folder / f"{mask.image_id:06d}_{index:06d}.png"
    elif isinstance(mask, CocoMask):
        yield mask.index.file
    elif mask is not None:
        raise DataError(f"{frame.name}: it is not known what a {type(mask).__name__} is read from")


def _mask_facts(mask: MaskSource | None) -> object:
    """Return what else than its files decides about a mask."""
    if isinstance(mask, LabelFile):
        return mask.ignore_index
    return list(mask.instances) if isinstance(mask, InstanceMasks) else None


def _stamp(path: Path, root: Path) -> Stamp:
    """Return name, size and second of change of a file, whatever the place of the data set."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    try:
        status = path.stat()
    except OSError:  # it will be said when the file is read
        return name, -1, -1
    return name, status.st_size, int(status.st_mtime)
