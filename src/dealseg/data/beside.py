"""What lies beside the pictures of a data set whose classes are fixed: its description of depth."""

from pathlib import Path

from dealseg.data.description import DepthRule, read_depth_rule, read_description
from dealseg.data.files import file_error


def described_depth(root: Path, depth_folder: str, classes: tuple[str, ...]) -> DepthRule:
    """Return how depth is stored: by the depth folder's `depth.yaml`, else `dataset.yaml`.

    Args:
        root: of the data set.
        depth_folder: the folder of the depth files, below `root` or absolute.
        classes: of the data set; `dataset.yaml` may repeat them but not change them.

    Raises:
        DataError: if a file is not as documented, or has other classes.
    """
    description = read_description(root)
    if description.file and description.classes not in {None, classes}:
        problem = "the classes of this format are fixed: leave `classes` out"
        raise file_error(description.file, problem)
    return read_depth_rule(root / depth_folder) or description.depth or DepthRule()
