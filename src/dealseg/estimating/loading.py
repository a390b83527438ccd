"""Getting a depth network: from a folder, the cache of earlier downloads, or the hub."""

import contextlib
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from dealseg.errors import CheckpointError, ConfigError
from dealseg.estimating.estimator import Estimator, keep_heads_exact
from dealseg.estimating.kinds import output_of
from dealseg.models.placing import Device, Precision, device_of, half_of

DEFAULT_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"

_FAILURES = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    TypeError,
    ImportError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What transformers and its file formats have been seen to raise on damaged or foreign files."""


def load_estimator(
    model: str = DEFAULT_MODEL,
    *,
    kind: Literal["auto", "metric", "relative"] = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
) -> Estimator:
    """Load a network for depth estimation.

    A folder is read without the network; so is a model that was downloaded before. No code of a
    model's own is run.

    Args:
        model: a name on the Hugging Face hub, or a folder that `save_pretrained` wrote.
        kind: what the network estimates; `auto` asks its configuration.
        device: `auto` takes a GPU where there is one.
        precision: `auto` is float16 on a GPU, with the last layers in float32, else float32.

    Raises:
        ConfigError: if transformers is not installed, the model is not for depth estimation, or an
            option cannot work.
        CheckpointError: if the model is not found or cannot be read.
    """
    place, half = device_of(device), half_of(precision, device)
    with _quiet(_transformers()):
        network, processor, missing = _parts(model)
    output = output_of(network.config, kind)
    network = network.float().eval().to(place)
    if half is not None:
        keep_heads_exact(network, place)
    estimator = Estimator(model, _digest(network), output, network, processor, half)
    _require_unused(estimator, missing)
    return estimator


def _transformers() -> ModuleType:
    try:
        import transformers  # noqa: PLC0415 -- an extra, and slow to import
    except ImportError as error:
        raise ConfigError(
            "estimating depth needs transformers: pip install 'dealseg[depth]'"
        ) from error
    return transformers  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Keep transformers' warnings and bars off the terminal; what matters is checked here."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()


def _parts(model: str) -> tuple[nn.Module, Any, tuple[str, ...]]:
    """Return the network, its processor, and the parameters that its files lack."""
    if not Path(model).is_dir():
        with contextlib.suppress(OSError):  # not downloaded, or not all of it
            return _read(model, offline=True)
    try:
        return _read(model, offline=Path(model).is_dir())
    except _FAILURES as error:
        if isinstance(error, ConfigError):
            raise
        raise CheckpointError(f"{model}: {_explained(model, error)}") from error


def _read(model: str, *, offline: bool) -> tuple[nn.Module, Any, tuple[str, ...]]:
    transformers = _transformers()
    options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(model, **options)
    if type(config) not in transformers.MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
        raise ConfigError(
            f"{model}: is a {config.model_type} network, not one for depth estimation; take for "
            f"example {DEFAULT_MODEL}"
        )
    processor = transformers.AutoImageProcessor.from_pretrained(model, **options)
    kind = transformers.AutoModelForDepthEstimation
    network, info = kind.from_pretrained(model, output_loading_info=True, **options)
    return network, processor, tuple(sorted(info["missing_keys"]))


def _explained(model: str, error: Exception) -> str:
    names = set()
    cause: BaseException | None = error
    while cause is not None:
        names.add(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    if Path(model).is_dir():
        if not (Path(model) / "config.json").is_file():
            return "there is no config.json here; expected a folder that save_pretrained wrote"
        return f"cannot be loaded ({_first_line(error)})"
    if names & {"RepositoryNotFoundError", "HFValidationError", "GatedRepoError"}:
        return (
            "there is no such folder, and no such model on the Hugging Face hub that you may read"
        )
    if names & {
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "ConnectError",
        "ConnectionError",
    }:
        return (
            "is neither a folder nor downloaded yet, and the Hugging Face hub cannot be reached; "
            "download it elsewhere and give its folder"
        )
    return f"cannot be loaded ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _digest(network: nn.Module) -> str:
    found = hashlib.sha256()
    for name, values in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(values.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _require_unused(estimator: Estimator, missing: tuple[str, ...]) -> None:
    """Refuse weights without parameters that count; those would be random.

    MiDaS's checkpoints lack some that its network has and never uses, so this asks the network.
    """
    parameters = dict(estimator.network.named_parameters())
    lacking = [name for name in missing if name in parameters]
    if not lacking:
        return
    with torch.no_grad():
        for name in lacking:
            parameters[name].fill_(torch.nan)
    grey = estimator.prepared(torch.full((3, 64, 64), 128, dtype=torch.uint8))
    (found,) = estimator.estimates(grey[None], [(64, 64)], [(64, 64)])
    if not found.isfinite().all():
        raise CheckpointError(
            f"{estimator.name}: the weights lack {len(lacking)} parameters of the network, such as "
            f"{lacking[0]}: the file is incomplete or of another network"
        )
