"""Run folders: a trained network and everything needed to use it again."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file

from dealseg.config import SegmenterTrainConfig, TrainConfig
from dealseg.config.checks import require
from dealseg.config.typed import as_kind
from dealseg.errors import CheckpointError, ConfigError
from dealseg.models.base import CamModel
from dealseg.models.registry import create
from dealseg.models.weights import read_state

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "weights.safetensors"

AnyConfig = TrainConfig | SegmenterTrainConfig


@dataclass(frozen=True)
class RunFacts:
    """What a training knew of its data.

    Attributes:
        classes: foreground class names in mask order.
        data_root: the data set it was trained on.
        depth_kind: `metric`, `disparity` or `relative`.
        edited_tags: checksum of the tags that a review put in place of the data's, if any.
    """

    classes: tuple[str, ...]
    data_root: str
    depth_kind: str
    edited_tags: str | None = None


@dataclass(frozen=True)
class SegmenterFacts:
    """What the training of a segmenter knew of its data.

    Attributes:
        classes: foreground class names in mask order.
        data_root: the data set of the images.
        masks_root: the folder of the masks.
        masks_used: images that have a mask to learn from.
        masks_rejected: images left out because a review rejects their masks.
        masks_missing: images left out because they have no mask.
    """

    classes: tuple[str, ...]
    data_root: str
    masks_root: str
    masks_used: int
    masks_rejected: int
    masks_missing: int


AnyFacts = RunFacts | SegmenterFacts
C = TypeVar("C", TrainConfig, SegmenterTrainConfig)
Facts = TypeVar("Facts", RunFacts, SegmenterFacts)


@dataclass(frozen=True)
class Run:
    """A finished training, ready to label images.

    Attributes:
        path: the run folder.
        config: how it was trained.
        facts: what it was trained on.
        model: the network in evaluation mode.
        weights_sha256: checksum of the weights file.
    """

    path: Path
    config: TrainConfig
    facts: RunFacts
    model: CamModel
    weights_sha256: str


def write_config(folder: Path, config: AnyConfig, facts: AnyFacts) -> None:
    """Write `config.yaml`, atomically."""
    known = {key: value for key, value in asdict(facts).items() if value is not None}
    content = _plain({**asdict(config), **known})
    write_text(folder / CONFIG_FILE, yaml.safe_dump(content, sort_keys=False))


def read_config(folder: Path) -> tuple[TrainConfig, RunFacts]:
    """Read `config.yaml` of a first-stage run.

    Raises:
        CheckpointError: if the folder is no such run, or its configuration is of another version.
    """
    return read_config_of(folder, TrainConfig, RunFacts)


def read_config_of(folder: Path, kind: type[C], facts_kind: type[Facts]) -> tuple[C, Facts]:
    """Read `config.yaml` of a run folder of either stage.

    Raises:
        CheckpointError: if the folder is no run of that stage, or its configuration is of another
            version.
    """
    path = folder / CONFIG_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        why = f"{CONFIG_FILE} is missing" if folder.exists() else "there is no such folder"
        raise CheckpointError(f"{folder}: not a run folder ({why})") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: not readable ({str(error).splitlines()[0]})") from error
    if isinstance(content, dict) and ("masks_root" in content) != (facts_kind is SegmenterFacts):
        found, way_out = (
            ("a segmenter", "its masks are written by dealseg predict")
            if "masks_root" in content
            else ("a first-stage run", "give the folder of dealseg train-segmenter")
        )
        raise CheckpointError(f"{folder}: is {found}; {way_out}")
    try:
        told = [f.name for f in fields(facts_kind) if f.name in content or f.default is MISSING]
        facts = {name: content.pop(name) for name in told}
        facts["classes"] = tuple(facts["classes"])
        return from_mapping(kind, content), facts_kind(**facts)
    except (AttributeError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: not a configuration of this version: {error}") from error


def from_mapping(kind: type, content: Mapping[str, Any], within: str = "") -> Any:
    """Build a frozen configuration dataclass from nested plain values.

    Args:
        kind: the dataclass.
        content: values by name; those that are not there get their defaults.
        within: what comes before the names in messages, such as `optim.`.

    Raises:
        ConfigError: for an unknown key, or a value of another kind than was declared.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(content) - set(hints))
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(hints))}")
    values = {}
    for name, value in content.items():
        place = f"{within}{name}"
        if is_dataclass(hints[name]):
            require(isinstance(value, Mapping), place, "keys and values", value)
            values[name] = from_mapping(hints[name], value, f"{place}.")
        else:
            values[name] = as_kind(place, hints[name], value)
    return kind(**values)


def save_weights(folder: Path, model: CamModel) -> None:
    """Write the network's tensors, atomically; the file's being there says the run is finished.

    Raises:
        CheckpointError: if they cannot be written, for example for want of room.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    try:
        with replacing(folder / WEIGHTS_FILE) as partial:
            save_file(state, partial)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / WEIGHTS_FILE}: cannot be written ({error})") from error


def load_weights(folder: Path, model: CamModel) -> str:
    """Fill a network with a run's weights and return the file's sha256.

    Raises:
        CheckpointError: if the run is unfinished or its weights are not this network's.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: the run is not finished ({WEIGHTS_FILE} is missing); train it with --resume"
        )
    try:
        model.load_state_dict(read_state(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not the weights of the configured network") from error
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_run(folder: Path, device: torch.device | str | None = None) -> Run:
    """Load a finished training for use.

    Args:
        folder: the run folder.
        device: where the network is to work; by default a GPU where there is one.

    Raises:
        CheckpointError: if the folder is no run, is unfinished or does not fit.
    """
    config, facts = read_config(folder)
    options = {**asdict(config.model), "pretrained": False, "weights": None}
    model = create(config.method, classes=len(facts.classes), **options)
    checksum = load_weights(folder, model)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Run(folder, config, facts, model.eval().to(place), checksum)


def write_text(path: Path, text: str) -> None:
    """Write a small file so that it is either the old one or the new one, never half."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write beside `path`; it takes its place if all goes well, else it is gone.

    Whatever writes it, it ends with the permissions of any new file: safetensors passes through a
    temporary file that only its owner may read.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.unlink(missing_ok=True)
        partial.touch()
        mode = stat.S_IMODE(partial.stat().st_mode)
        yield partial
        partial.chmod(mode)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong before says more
            partial.unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    """Return YAML's own kinds only: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
