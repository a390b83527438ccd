"""Whose a run folder is: nobody's, ours unfinished or ours finished; another's is never touched."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from dealseg.errors import CheckpointError, DataError
from dealseg.models.runs import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    AnyConfig,
    AnyFacts,
    read_config_of,
    write_config,
)

RunState = Literal["new", "unfinished", "finished"]


def run_state(
    out: Path, config: AnyConfig, facts: AnyFacts, resume: bool, weights: str = WEIGHTS_FILE
) -> RunState:
    """Return how far the run in `out` is; nothing is written.

    Args:
        out: the run folder.
        config: how it is to be trained.
        facts: on what.
        resume: whether it may be gone on with.
        weights: name of the file that says it is finished.

    Raises:
        DataError: if `out` is a run and `resume` is not set, or holds something else.
        CheckpointError: if the run was started with other options or other data.
    """
    if (out / CONFIG_FILE).is_file():
        if not resume:
            raise DataError(
                f"{out}: is a run already; go on with --resume, or choose another --out"
            )
        _require_same(out, config, facts)
        return "finished" if (out / weights).is_file() else "unfinished"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is not an empty folder; choose another --out")
    return "new"


def claim(out: Path, config: AnyConfig, facts: AnyFacts) -> None:
    """Make the run folder ours; from now on it takes --resume to train into it."""
    out.mkdir(parents=True, exist_ok=True)
    write_config(out, config, facts)


def _require_same(out: Path, config: AnyConfig, facts: AnyFacts) -> None:
    found = read_config_of(out, type(config), type(facts))  # type: ignore[type-var]
    before = {key: value for part in found for key, value in _flat(asdict(part))}
    for key, now in (*_flat(asdict(config)), *_flat(asdict(facts))):
        if now != before[key]:
            raise CheckpointError(
                f"{out}: was started with {key} {_shown(before[key])}, now {_shown(now)}; resume "
                "with the same options, or choose another --out"
            )


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves under the names of the command's flags, such as `optim.lr`."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
