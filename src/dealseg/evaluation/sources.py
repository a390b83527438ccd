"""What can be evaluated: a folder of masks, a folder of CAM arrays, or scores made on the way."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from dealseg.cam import normalise_cams, winner_and_score
from dealseg.data.base import RgbdDataset
from dealseg.data.files import file_error, index_files, reading
from dealseg.data.mask_set import MANIFEST, index_masks, read_manifest
from dealseg.data.masks import LabelFile
from dealseg.errors import DataError


@dataclass(frozen=True)
class ScoredImage:
    """The two maps that hold all thresholded masks of an image.

    Attributes:
        name: of the image in the data set.
        winner: class with the largest score, as a mask value (1..k).
        score: its score in [0, 1]; see :func:`dealseg.cam.winner_and_score`.
        tag_scores: probability of each class for the whole image, where there is one.
    """

    name: str
    winner: UInt8[Tensor, "h w"]
    score: Float[Tensor, "h w"]
    tag_scores: Float[Tensor, " k"] | None = None


@dataclass(frozen=True)
class SourceInfo:
    """Where the evaluated masks or scores come from, as far as known.

    Attributes:
        kind: `masks`, `cams` or `scores`.
        path: folder or run.
        tags: which tags were applied: `data`, `predicted`, ... ; None if unknown.
        run: training run that made the CAMs.
        weights_sha256: checksum of the network's weights.
        refinement: how masks or scores were refined; None if they were not, or it is not known.
    """

    kind: str
    path: str | None = None
    tags: str | None = None
    run: str | None = None
    weights_sha256: str | None = None
    refinement: str | None = None


class MaskFolder:
    """A folder of finished masks, `NAME.png`, with `labels.json` where `dealseg label` wrote it.

    Args:
        root: the folder; the masks lie in its `masks/` or in itself.

    Raises:
        DataError: if there are no masks or `labels.json` cannot be read.
    """

    suffix = ".png"

    def __init__(self, root: Path):
        self.root = root
        self.files = index_masks(root)
        self.manifest = read_manifest(root)
        self.threshold: float | None = self.manifest.get("threshold")
        unknown = "not recorded; the masks came finished"
        self.threshold_origin = str(self.manifest.get("threshold_origin", unknown))

    @property
    def info(self) -> SourceInfo:
        """Return where the masks come from, as `labels.json` says."""
        said = {key: _text(self.manifest.get(key)) for key in ("tags", "run", "weights_sha256")}
        refine = _text(self.manifest.get("refine"))
        refinement = None if refine == "none" else refine
        return SourceInfo(kind="masks", path=str(self.root), **said, refinement=refinement)

    def way_out(self, split: str) -> str:
        """Return what to do about images of a split that have no mask here."""
        labelled = _text(self.manifest.get("split"))
        if labelled in (None, "all", split):
            return "label them"
        return f"give --split {labelled}, which was labelled"

    @property
    def may_leave_undecided(self) -> bool:
        """Return whether `labels.json` says that pixels are 255 on purpose."""
        return bool(self.manifest.get("ignore"))

    def require_classes(self, classes: tuple[str, ...]) -> None:
        """Raise DataError unless `labels.json` names the data set's classes in the same order."""
        if "classes" in self.manifest and tuple(self.manifest["classes"]) != classes:
            raise DataError(
                f"{self.root / MANIFEST}: the masks were made for the classes "
                f"{self.manifest['classes']}, the data set has {list(classes)}; the same number "
                "would mean different classes, so label again with this data set"
            )

    def prediction(
        self, name: str, size: tuple[int, int], dataset: RgbdDataset, index: int
    ) -> UInt8[Tensor, "h w"]:
        """Return the mask of one image.

        Raises:
            DataError: if the file is unreadable, of another size, or has other values.
        """
        del index
        mask = LabelFile(self.files[name]).read(size, len(dataset.classes))
        return torch.from_numpy(mask)


class CamFolder:
    """A folder of class activation maps, `NAME.npz`, made by any program.

    Each file holds `cams`, numbers of shape (k, h, w) at any size, and `classes`, the mask value
    (1..K) of each map. Maps are resized bilinearly to the ground truth's size, multiplied by
    the data set's tags where the image has some, and divided by their maximum.

    Args:
        root: the folder.
        normalised: the maps are in [0, 1] already: they are only resized.

    Raises:
        DataError: if there are no such files.
    """

    suffix = ".npz"

    def __init__(self, root: Path, *, normalised: bool = False):
        self.root = root
        self.normalised = normalised
        self.files = index_files(root, [self.suffix])
        if not self.files:
            raise DataError(f"{root}: there are no CAMs here; expected NAME.npz for each image")

    @property
    def info(self) -> SourceInfo:
        """Return the folder and which tags are applied."""
        tags = "those of the files" if self.normalised else "data"
        return SourceInfo(kind="cams", path=str(self.root), tags=tags)

    def prediction(
        self, name: str, size: tuple[int, int], dataset: RgbdDataset, index: int
    ) -> ScoredImage:
        """Return winner and score of one image.

        Raises:
            DataError: if the file is unreadable or its arrays do not fit together.
        """
        file = self.files[name]
        cams, values = _read_cams(file, len(dataset.classes))
        if not len(values):
            return ScoredImage(name, torch.ones(size, dtype=torch.uint8), torch.zeros(size))
        cams = functional.interpolate(cams[None], size, mode="bilinear", align_corners=False)
        tags = dataset.tags(index)
        given = torch.ones(1, len(values)) if tags is None else tags[None, values - 1]
        if not self.normalised:
            cams = normalise_cams(cams, given)
        place, score = winner_and_score(cams)
        if not (score.min() >= 0 and score.max() <= 1):
            raise file_error(file, "`cams` said to be normalised must be in [0, 1]")
        winner = values.to(torch.uint8)[place[0].long() - 1]
        return ScoredImage(name, winner, score[0])


def open_source(path: Path, *, normalised: bool = False) -> MaskFolder | CamFolder:
    """Return the folder as masks or CAMs, whichever it holds.

    Raises:
        DataError: if it holds neither or both.
    """
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder of masks (NAME.png) or CAMs (NAME.npz)")
    cams = bool(index_files(path, [CamFolder.suffix]))
    masks = bool(index_files(path, [MaskFolder.suffix]))
    if cams and masks:
        raise DataError(f"{path}: holds masks (.png) and CAMs (.npz); evaluate one folder of each")
    return CamFolder(path, normalised=normalised) if cams else MaskFolder(path)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _read_cams(file: Path, classes: int) -> tuple[Float[Tensor, "k h w"], Tensor]:
    """Return the maps and their mask values, sorted by value so that ties fall as elsewhere."""
    cams, values = _read_arrays(file)
    fits = cams.ndim == 3 and values.shape == cams.shape[:1] and 0 not in cams.shape[1:]
    if not fits or cams.dtype.kind not in "fiu":
        got = f"{cams.shape} of {cams.dtype} and {values.shape}"
        raise file_error(file, f"expected `cams` (k, h, w) and `classes` (k,), got {got}")
    if values.dtype.kind not in "iu" and values.size:
        raise file_error(file, f"`classes` must be mask values (integers), got {values.dtype}")
    wrong = [int(value) for value in values if not 1 <= value <= classes]
    if wrong or len(set(values.tolist())) < len(values):
        raise file_error(
            file,
            f"`classes` must be different mask values from 1 to {classes}, got {values.tolist()}",
        )
    cams = cams.astype(np.float32)
    if not np.isfinite(cams).all():
        raise file_error(file, "`cams` has values that are not finite")
    order = np.argsort(values)
    return torch.from_numpy(cams[order]), torch.from_numpy(values[order].astype(np.int64))


def _read_arrays(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with (
            reading(file, "CAM file"),
            file.open("rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            absent = sorted({"cams", "classes"} - set(arrays.files))
            if absent:
                raise file_error(file, f"has no array {absent[0]!r}; it has {arrays.files}")
            return np.asarray(arrays["cams"]), np.asarray(arrays["classes"])
    except zipfile.BadZipFile as error:
        raise file_error(file, f"cannot read this CAM file ({error})") from error
