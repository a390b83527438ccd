"""From a segmenter's folder to a file for a robot, checked before it takes its place."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dealseg.data.files import read_image
from dealseg.deploying.checking import Exported, Parity, compare, require_parity, trial_images
from dealseg.deploying.graphs import describe, metadata, segmenter_graph, with_classes
from dealseg.deploying.measuring import seconds_a_call
from dealseg.deploying.torchscript import open_torchscript, write_torchscript
from dealseg.errors import CheckpointError, ConfigError
from dealseg.models.onnx_network import open_session
from dealseg.models.runs import CONFIG_FILE, replacing
from dealseg.models.segmenter import FACTS_FILE, TENSORS_FILE, Segmenter, is_segmenter
from dealseg.models.sizing import at_long_side

Format = Literal["onnx", "torchscript", "safetensors"]
Output = Literal["logits", "classes"]

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ""}
SPEED_SIZE = (480, 640)
"""Height and width of the image on which speed is measured."""


@dataclass(frozen=True)
class Cost:
    """What 8 bits changed.

    Attributes:
        images: how many the agreement was measured on.
        bytes_before: size of the float model.
        rate_before: its images a second, 640x480, one at a time.
        rate: of the 8-bit model.
        equal: share of the pixels of these images with the same class as in PyTorch; None without
            images, since noise, which no network was trained on, says little of it.
    """

    images: int
    bytes_before: int
    rate_before: float
    rate: float
    equal: float | None


@dataclass(frozen=True)
class Exporting:
    """What exporting did.

    Attributes:
        file: what was written.
        size: bytes.
        parity: how the float model agrees with PyTorch.
        cost: of 8 bits, if asked for.
    """

    file: Path
    size: int
    parity: Parity
    cost: Cost | None = None


def export_model(
    folder: Path,
    format: Format,  # noqa: A002 - the name of the command's flag
    out: Path,
    *,
    output: Output = "logits",
    int8: bool = False,
    calibration: Sequence[Path] = (),
) -> Exporting:
    """Export a segmenter, compare it with PyTorch, and only then put it in its place.

    Args:
        folder: of the segmenter.
        format: `onnx`, `torchscript`, or `safetensors` (a folder with weights and `config.json`).
        out: file to write, or folder for `safetensors`.
        output: `onnx` only: `classes` gives the class of each pixel.
        int8: `onnx` only: weights of 8 bits.
        calibration: images for the scales of 8-bit activations.

    Raises:
        CheckpointError: if it is no segmenter, or the exported model differs from it.
        ConfigError: for options that do not fit, or if onnx is not installed.
    """
    _require_fitting(format, out, output, int8=int8, calibrated=bool(calibration))
    model = _loaded(folder)
    if format == "safetensors":
        return _as_folder(model, out)
    checksum = hashlib.sha256((folder / TENSORS_FILE).read_bytes()).hexdigest()
    out.parent.mkdir(parents=True, exist_ok=True)
    if format == "torchscript":
        return _as_torchscript(model, out, checksum)
    return _as_onnx(model, out, checksum, output, _seen(model, calibration), int8=int8)


def _as_onnx(
    model: Segmenter,
    out: Path,
    checksum: str,
    output: Output,
    images: Sequence[Tensor],
    *,
    int8: bool,
) -> Exporting:
    graph = segmenter_graph(model)
    finished = with_classes(graph) if output == "classes" else graph
    describe(finished, metadata(model, output, "float32", checksum))
    with replacing(out) as partial:
        partial.write_bytes(finished.SerializeToString())
        trials = chain(trial_images(model.long_side), images[:4])
        parity = compare(model, onnx_function(partial), trials)
        require_parity(out, parity)
        if not int8:
            return Exporting(out, partial.stat().st_size, parity)
        before = partial.stat().st_size, _rate(onnx_function(partial))
        made = _quantised(graph, images, output)
        numbers = "int8, static" if images else "int8 weights, dynamic"
        describe(made, metadata(model, output, numbers, checksum))
        partial.write_bytes(made.SerializeToString())
        exported = onnx_function(partial)
        compare(model, exported, trial_images(model.long_side))  # any size works, nothing is NaN
        equal = compare(model, exported, images).equal if images else None
        cost = Cost(len(images), *before, _rate(exported), equal)
        return Exporting(out, partial.stat().st_size, parity, cost)


def _quantised(graph: Any, images: Sequence[Tensor], output: Output) -> Any:
    from dealseg.deploying.quantising import quantised  # noqa: PLC0415 -- an extra

    made = quantised(graph, images)
    return with_classes(made) if output == "classes" else made


def _as_torchscript(model: Segmenter, out: Path, checksum: str) -> Exporting:
    facts = metadata(model, "logits", "float32", checksum)
    with replacing(out) as partial:
        write_torchscript(partial, model, facts)
        parity = compare(model, open_torchscript(partial), trial_images(model.long_side))
        require_parity(out, parity)
        return Exporting(out, partial.stat().st_size, parity)


def _as_folder(model: Segmenter, out: Path) -> Exporting:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is not an empty folder; choose another --out")
    try:
        model.save_pretrained(out)
        again = Segmenter.from_pretrained(out, "cpu")
        parity = compare(model, again, trial_images(model.long_side))
        require_parity(out, parity)
    except BaseException:
        for name in (FACTS_FILE, TENSORS_FILE):  # they would be in the way of the same call
            (out / name).unlink(missing_ok=True)
        raise
    return Exporting(out, sum(file.stat().st_size for file in out.iterdir()), parity)


def onnx_function(file: Path, threads: int | None = None) -> Exported:
    """Return what an ONNX file computes: its only output for images."""
    session = open_session(file, threads=threads)

    def computed(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"image": images.numpy()})[0])

    return computed


def evenly_spaced(files: Sequence[Path], most: int) -> list[Path]:
    """Return `most` files from all over a list, or all of a shorter one, in their order."""
    count = min(len(files), most)
    return [files[number * len(files) // count] for number in range(count)]


def _rate(exported: Exported) -> float:
    image = torch.rand(1, 3, *SPEED_SIZE, generator=torch.Generator().manual_seed(0))
    return 1 / seconds_a_call(lambda: exported(image), seconds=0.5)


def _seen(model: Segmenter, files: Sequence[Path]) -> list[Float[Tensor, "1 3 h w"]]:
    images = (read_image(file)[None].float() / 255 for file in files)
    return [at_long_side(image, model.long_side) for image in images]


def _loaded(folder: Path) -> Segmenter:
    if not is_segmenter(folder) and (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{folder}: is a first-stage run, whose CAMs need several views and tags; label with "
            "it, train a segmenter (dealseg train-segmenter), and export that"
        )
    return Segmenter.from_pretrained(folder, "cpu")


def _require_fitting(
    format: Format,  # noqa: A002
    out: Path,
    output: Output,
    *,
    int8: bool,
    calibrated: bool,
) -> None:
    if format not in SUFFIXES:
        raise ConfigError(f"format must be one of {', '.join(SUFFIXES)}, got {format!r}")
    if format != "onnx" and (int8 or output != "logits"):
        raise ConfigError(f"int8 and output are for onnx, not for {format}")
    if calibrated and not int8:
        raise ConfigError("calibrate is for 8-bit models; give --int8 too")
    if out.suffix.lower() != SUFFIXES[format]:
        what = f"end in {SUFFIXES[format]}" if SUFFIXES[format] else "be a folder, without suffix"
        raise ConfigError(f"out must {what} for {format}, got {out.name!r}")
    if format != "safetensors" and out.is_dir():
        raise ConfigError(f"{out}: is a folder; choose another --out")
