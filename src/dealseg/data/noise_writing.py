"""Noisy depth as files: a new folder of 16-bit maps that stands for the depth of a data set."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import UInt16
from PIL import Image
from tqdm import tqdm

from dealseg.data.base import DepthKind
from dealseg.data.depth_apart import UNFINISHED_NAME
from dealseg.data.description import DEPTH_FILE_NAME, METRES
from dealseg.data.files import file_error, read_depth, read_text, reading
from dealseg.data.folder import IMAGES
from dealseg.data.frames import FrameDataset
from dealseg.data.noisy import NoisyDepth
from dealseg.errors import DataError
from dealseg.noise import parse_noise

_MOST = 65535
_MARGIN = 0.25
"""Room for noise beyond the range of maps that do not come in 16 bits."""


@dataclass(frozen=True)
class Written:
    """What writing did: maps written now, kept from before, and pixels beyond 16 bits."""

    written: int
    kept: int
    beyond: int


@dataclass(frozen=True)
class Coding:
    """How numbers become 16 bits: `round((value - low) / step)`; 0 stays "not measured".

    Attributes:
        step: metres, or steps of inverse depth.
        low: 0 but for relative inverse depth, whose offset is unknown anyway.
        kind: of the depth.
    """

    step: float
    low: float
    kind: DepthKind

    def encode(
        self, values: np.ndarray, valid: np.ndarray
    ) -> tuple[UInt16[np.ndarray, "h w"], int]:
        """Return the numbers to store, and how many lay beyond what 16 bits hold.

        Those become "not measured", but of relative depth the nearest number there is.
        """
        steps = np.rint((values.astype(np.float64) - self.low) / self.step)
        beyond = valid & (steps > _MOST)
        kept = valid if self.kind == "relative" else valid & ~beyond
        return np.where(kept, np.clip(steps, 1, _MOST), 0).astype(np.uint16), int(beyond.sum())

    @property
    def description(self) -> dict[str, Any]:
        """Return `depth:` of `depth.yaml`."""
        unit = {"unit": "m"} if self.kind == "metric" else {}
        return {**unit, "scale": self.step, "kind": self.kind}


def write_noisy_depth(
    dataset: FrameDataset, out: Path, noise: str, seed: int, *, split: str = "all"
) -> Written:
    """Write `out/NAME.png` for every image with depth, and `out/depth.yaml` when all are there.

    The noise is that of a training on the same images with the same seed, up to the rounding to 16
    bits. An interrupted call is taken up by the same call.

    Args:
        dataset: with the depth to which noise is added.
        out: a new or empty folder, or one of an earlier call with the same arguments.
        noise: its specification, see :func:`dealseg.noise.parse_noise`.
        seed: of the noise.
        split: name of the part of the data that `dataset` is.

    Raises:
        ConfigError: if the specification cannot be meant.
        DataError: if there is no depth, or `out` holds something else or lies among the images.
    """
    noisy = NoisyDepth(dataset, parse_noise(noise), seed)
    places = [index for index, frame in enumerate(dataset.frames) if frame.depth is not None]
    if not places:
        problem = (
            "there is no depth to add noise to; give --depth-folder, or make it: dealseg depth"
        )
        raise file_error(dataset.root, problem)
    source = {"noise": noise, "seed": seed, "split": split, "data": str(dataset.root.resolve())}
    source["depth"] = str(Path(str(dataset.frames[places[0]].depth)).resolve())  # the first
    _require_apart(dataset, out)
    coding = _claimed(out, source, dataset, places)
    todo = [index for index in places if not (out / f"{dataset.names[index]}.png").is_file()]
    beyond = 0
    for index in tqdm(todo, desc="noise", unit="map", disable=None):
        found = noisy.depth(index)
        if found is not None:
            stored, lost = coding.encode(found[0][0].numpy(), found[1][0].numpy())
            _save(out / f"{dataset.names[index]}.png", stored)
            beyond += lost
    if (out / UNFINISHED_NAME).is_file():
        os.replace(out / UNFINISHED_NAME, out / DEPTH_FILE_NAME)
    return Written(len(todo), len(places) - len(todo), beyond)


def _require_apart(dataset: FrameDataset, out: Path) -> None:
    above = {out.resolve(), *out.resolve().parents}
    if above & {(dataset.root / IMAGES).resolve(), dataset.image_path(0).resolve().parent}:
        raise file_error(out, "lies among the images of the data set; choose another --out")


def _claimed(out: Path, source: dict[str, Any], dataset: FrameDataset, places: list[int]) -> Coding:
    """Make the folder ours and say how it is coded, or refuse it."""
    for file in (out / DEPTH_FILE_NAME, out / UNFINISHED_NAME):
        if file.is_file():
            return _read_claim(file, source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise file_error(out, "is not an empty folder; choose another --out")
    coding = _coding(dataset, places)
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(
        {"depth": coding.description, "source": {**source, "low": coding.low}}, sort_keys=False
    )
    _replace(out / UNFINISHED_NAME, text.encode())
    return coding


def _read_claim(file: Path, source: dict[str, Any]) -> Coding:
    text = read_text(file)
    with reading(file, "YAML file"):
        try:
            told = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise file_error(file, "this is not YAML; choose another --out") from error
        found, depth = dict(told["source"]), told["depth"]
        coding = Coding(float(depth["scale"]), float(found.pop("low")), depth["kind"])
    changed = [key for key in source if found.get(key) != source[key]]
    if changed:
        key = changed[0]
        problem = f"made with another {key} ({found.get(key)!r}, now {source[key]!r})"
        raise file_error(file.parent, f"{problem}; choose another --out")
    return coding


def _coding(dataset: FrameDataset, places: list[int]) -> Coding:
    """Keep the step of 16-bit files; of others, spread 16 bits over the range of all maps."""
    info, first = dataset.depth_info, dataset.frames[places[0]].depth
    if first is not None and read_depth(first).dtype == np.uint16:
        factor = METRES[info.unit] if info.kind == "metric" else 1.0
        return Coding(info.scale * factor, 0.0, info.kind)
    low, high = np.inf, -np.inf
    for index in tqdm(places, desc="range", unit="map", disable=None):
        found = dataset.depth(index)
        if found is not None and found[1].any():
            values = found[0][found[1]]
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if high < low:
        raise DataError(f"{dataset.root}: no pixel of its depth was measured")
    low = low - _MARGIN * (high - low) if info.kind == "relative" else 0.0
    span = (high - low) * (1 + _MARGIN)
    return Coding(span / _MOST if span else 1.0, low, info.kind)


def _save(path: Path, stored: UInt16[np.ndarray, "h w"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        Image.fromarray(stored).save(partial, format="PNG", compress_level=3)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.new")
    partial.write_bytes(data)
    os.replace(partial, path)
