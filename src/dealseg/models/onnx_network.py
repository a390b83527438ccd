"""A segmenter that `dealseg export-model` wrote as ONNX, run by onnxruntime."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dealseg.errors import CheckpointError, ConfigError


@dataclass(frozen=True)
class OnnxNetwork:
    """A network from images in [0, 1] to logits of the same size.

    Attributes:
        session: onnxruntime's.
        classes: foreground classes.
        long_side: of the images it was trained on, in pixels.
    """

    session: Any
    classes: tuple[str, ...]
    long_side: int

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Return the logits, where the images are."""
        found = self.session.run(["logits"], {"image": images.cpu().contiguous().numpy()})[0]
        return torch.from_numpy(found).to(images.device)


def open_onnx(file: Path, *, gpu: bool = False, threads: int | None = None) -> OnnxNetwork:
    """Open an exported segmenter.

    Args:
        file: of `dealseg export-model --format onnx`.
        gpu: run it there; needs `onnxruntime-gpu`.
        threads: of onnxruntime; by default as many as PyTorch has.

    Raises:
        ConfigError: if onnxruntime is not installed, or has no GPU when it is asked for.
        CheckpointError: if the file is none of ours, or gives class maps only.
    """
    return _described(file, open_session(file, gpu=gpu, threads=threads))


def open_session(file: Path, *, gpu: bool = False, threads: int | None = None) -> Any:
    """Return onnxruntime's session of a file; the arguments are those of :func:`open_onnx`.

    Raises:
        ConfigError: if onnxruntime is not installed, or has no GPU when it is asked for.
        CheckpointError: if the file cannot be read.
    """
    found = runtime()
    if gpu and "CUDAExecutionProvider" not in found.get_available_providers():
        raise ConfigError(
            "this onnxruntime knows no GPU: pip install onnxruntime-gpu, or take --device cpu"
        )
    options = found.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    providers = ["CUDAExecutionProvider"] if gpu else []
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    try:
        return found.InferenceSession(
            str(file), options, providers=[*providers, "CPUExecutionProvider"]
        )
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"{file}: onnxruntime cannot read this model ({reason})") from error


def _described(file: Path, session: Any) -> OnnxNetwork:
    said = session.get_modelmeta().custom_metadata_map
    try:
        classes = tuple(json.loads(said["classes"]))
        long_side = int(said["long_side"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file}: does not say its classes and size; export it with dealseg export-model"
        ) from error
    if [output.name for output in session.get_outputs()] != ["logits"]:
        raise CheckpointError(
            f"{file}: gives class maps only; export it with --output logits to predict with it"
        )
    return OnnxNetwork(session, classes, long_side)


def runtime() -> ModuleType:
    """Return onnxruntime.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 -- an extra
    except ImportError as error:
        raise ConfigError(
            "running ONNX models needs onnxruntime: pip install 'dealseg[onnx]'"
        ) from error
    return onnxruntime
