"""The images that a job trains on or is judged by, opened the same way wherever they are needed."""

from pathlib import Path

from dealseg.config import DataConfig
from dealseg.data.frames import FrameDataset
from dealseg.data.opening import list_dataset


def open_split(
    root: Path, data: DataConfig, split: str | None, *, with_depth: bool = False
) -> FrameDataset:
    """List a split of a job's data set.

    Args:
        root: the data set.
        data: its format, and where its depth and tags are.
        split: which part of it.
        with_depth: look for the depth in `data.depth_folder`; a split that nobody takes depth from
            need not have that folder.

    Raises:
        DataError: if the data set is not as its format says.
    """
    depth_folder = data.depth_folder if with_depth else DataConfig().depth_folder
    return list_dataset(
        root, format=data.format, split=split, depth_folder=depth_folder, tags_from=data.tags_from
    )
