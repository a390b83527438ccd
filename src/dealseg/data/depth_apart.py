"""Depth that lies in a folder of its own, apart from the data set: `DEPTH/NAME.png`."""

import operator
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import SupportsIndex, overload

from dealseg.data.description import DEPTH_FILE_NAME, DepthRule, read_depth_rule
from dealseg.data.files import DEPTH_SUFFIXES, Complain, absent, fail, index_files
from dealseg.data.frames import Frame, FrameDataset

UNFINISHED_NAME = ".depth.part.yaml"
"""Stands for `depth.yaml` while the maps are being written."""


def depth_apart(root: Path, depth_folder: str) -> Path | None:
    """Return the depth folder if it lies apart from the data set, else None.

    That is a path, absolute or from the working directory, that holds a `depth.yaml`. A folder of
    that name in the root of the data set comes before it, and `depth` is always in the data set.

    Raises:
        DataError: if writing the folder was interrupted.
    """
    folder = Path(depth_folder)
    inside = not folder.is_absolute() and (depth_folder == "depth" or (root / folder).is_dir())
    if inside or not folder.is_dir():
        return None
    if (folder / UNFINISHED_NAME).is_file():
        raise absent(folder, "writing it was interrupted: give the same command again")
    return folder if (folder / DEPTH_FILE_NAME).is_file() else None


def with_depth_of(dataset: FrameDataset, folder: Path, complain: Complain = fail) -> FrameDataset:
    """Return the data set with the depth maps of another folder, by the names of its images.

    Args:
        dataset: not changed.
        folder: holds `NAME.png` (or another depth file) and `depth.yaml`.
        complain: told of two files of one name.

    Raises:
        DataError: if `depth.yaml` is not as documented, or no map has the name of an image.
    """
    rule = read_depth_rule(folder) or DepthRule()
    files = index_files(folder, DEPTH_SUFFIXES, complain)
    if not any(name in files for name in dataset.names):
        problem = f"no depth map here has the name of an image, such as {dataset.names[0]}.png"
        raise absent(folder, problem)
    return FrameDataset(
        dataset.root,
        dataset.classes,
        _FramesWithDepth(dataset.frames, files, rule),
        names=dataset.names,
        class_ids=dataset.class_ids,
        facts=dataset.facts,
        remarks=dataset.remarks,
    )


class _FramesWithDepth(Sequence[Frame]):
    """Frames with other depth, each made when it is asked for."""

    def __init__(self, frames: Sequence[Frame], files: dict[str, Path], rule: DepthRule):
        self._frames, self._files, self._rule = frames, files, rule

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Frame | Sequence[Frame]:
        if isinstance(index, slice):
            return _FramesWithDepth(self._frames[index], self._files, self._rule)
        frame = self._frames[operator.index(index)]
        return replace(frame, depth=self._files.get(frame.name), depth_rule=self._rule)
