"""A segmenter as TorchScript, for programs in C++ that have libtorch already."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dealseg.deploying.checking import Exported
from dealseg.deploying.tracing import traced
from dealseg.models.segmenter import Segmenter

_jit: Any = torch.jit  # untyped

FACTS = "dealseg.json"
"""The extra file inside the archive with the metadata."""


def write_torchscript(file: Path, model: Segmenter, facts: dict[str, str]) -> None:
    """Write a traced segmenter; PyTorch has deprecated the format and may drop it."""
    example = torch.zeros(2, 3, 96, 128, device=model.mean.device)
    with _no_warnings(), traced():
        script = _jit.trace(model, example, check_trace=False)
        _jit.save(script, str(file), _extra_files={FACTS: json.dumps(facts)})


def open_torchscript(file: Path) -> Exported:
    """Return what a file computes, on the CPU."""
    with _no_warnings():
        loaded: Exported = _jit.load(str(file), map_location="cpu")
    return loaded


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep what PyTorch says of TorchScript's future, and of constants that the check covers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        warnings.simplefilter("ignore", _jit.TracerWarning)
        yield
