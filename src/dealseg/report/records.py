"""What run folders say of themselves, read for the report. Parts that are missing are noted."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dealseg.config import TrainConfig
from dealseg.data.files import file_error, read_json, read_text
from dealseg.errors import ConfigError
from dealseg.models.runs import WEIGHTS_FILE, RunFacts, read_config
from dealseg.report.naming import Family, family_of, role_of, roles_and_losses, unique_labels

Curve = tuple[tuple[float, float], ...]
"""Points (epoch, value)."""


@dataclass(frozen=True)
class Level:
    """The figures at one threshold, shares in [0, 1]; None where one was not computed.

    Attributes:
        iou: by mask value, background first.
    """

    mean_iou: float | None
    threshold: float | None
    origin: str
    boundary_iou: float | None
    contour_f: float | None
    iou: tuple[float | None, ...]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluation.json` says.

    Attributes:
        class_names: by mask value.
        curve: mean IoU at each of `thresholds`; both empty for finished masks.
        protocol: by which the ORACLE threshold was searched for; None without one.
        stopped_early: whether that search ended before it had tried all of its thresholds.
    """

    dataset: str
    split: str
    images: int
    missing: int
    class_names: tuple[str, ...]
    fixed: Level
    oracle: Level | None
    thresholds: tuple[float, ...]
    curve: tuple[float | None, ...]
    tag_map: float | None
    protocol: str | None = None
    stopped_early: bool = False

    @property
    def subject(self) -> tuple[object, ...]:
        """What was evaluated: figures are comparable only where this is the same."""
        return self.dataset, self.split, self.images, self.class_names


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        label: what the report calls it, different for each run.
        role: baseline, DEAL or the shuffled control.
        metrics: a curve for each column of `metrics.csv`.
        evaluation: None if the run was not evaluated.
        notes: what is missing, for the reader.
    """

    path: Path
    label: str
    role: str
    config: TrainConfig
    facts: RunFacts
    metrics: Mapping[str, Curve]
    environment: Mapping[str, Any]
    evaluation: Evaluation | None
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> Family:
        """Return what two runs must share for their difference to be DEAL's."""
        return family_of(self.config)

    @property
    def is_finished(self) -> bool:
        """Return whether the run has weights."""
        return (self.path / WEIGHTS_FILE).is_file()

    def settings(self) -> dict[str, str]:
        """Return every option as text, nested names joined by dots."""
        return flat({**asdict(self.config), **asdict(self.facts)})


def read_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """Read run folders.

    Raises:
        ConfigError: if there are none, or one is given twice.
        CheckpointError: if a folder is no run.
        DataError: if one of its files is damaged.
    """
    if not paths:
        raise ConfigError("a report needs at least one run folder")
    twice = [path for path, count in Counter(p.resolve() for p in paths).items() if count > 1]
    if twice:
        raise ConfigError(f"{twice[0]}: this run is given twice")
    configs = [read_config(path) for path in paths]
    roles = [role_of(config) for config, _ in configs]
    labels = unique_labels(paths, roles_and_losses([config for config, _ in configs]))
    parts = zip(paths, labels, roles, configs, strict=True)
    return [_record(path, label, role, *config) for path, label, role, config in parts]


def flat(content: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return nested mappings as one, names joined by dots, values as text."""
    found: dict[str, str] = {}
    for key, value in content.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            found[name] = ", ".join(map(str, value))
        else:
            found[name] = str(value)
    return found


def differing(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the options in which the runs differ, with the value of each run."""
    settings = [run.settings() for run in runs]
    names = dict.fromkeys(name for each in settings for name in each)
    rows = {name: [each.get(name, "") for each in settings] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _record(path: Path, label: str, role: str, config: TrainConfig, facts: RunFacts) -> RunRecord:
    notes = []
    files = {name: path / name for name in ("metrics.csv", "environment.json", "evaluation.json")}
    missing = {name for name, file in files.items() if not file.is_file()}
    metrics: dict[str, Curve] = {}
    if "metrics.csv" not in missing:
        metrics, bad = read_metrics(files["metrics.csv"])
        if bad:
            notes.append(f"metrics.csv: {bad} cells are not numbers and are left out")
    environment = {} if "environment.json" in missing else _object(files["environment.json"])
    evaluation = None
    if "evaluation.json" not in missing:
        evaluation = read_evaluation(files["evaluation.json"])
    if not (path / WEIGHTS_FILE).is_file():
        notes.append("the run is not finished: it has no weights, so there are no examples of it")
    hints = {
        "metrics.csv": "no metrics.csv: there are no training curves",
        "environment.json": "no environment.json: it is not known where it was trained",
        "evaluation.json": f"not evaluated yet: dealseg evaluate {path} {facts.data_root}",
    }
    notes += [hint for name, hint in hints.items() if name in missing]
    return RunRecord(
        path, label, role, config, facts, metrics, environment, evaluation, tuple(notes)
    )


def read_metrics(file: Path) -> tuple[dict[str, Curve], int]:
    """Return the curve of each column over its epoch, and how many cells are not numbers.

    Empty cells are passed over: loggers leave them where a figure was not taken.

    Raises:
        DataError: if the file cannot be read.
    """
    rows = csv.reader(read_text(file).splitlines())
    names = next(rows, [])
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    bad = 0
    for number, row in enumerate(rows):
        cells = dict(zip(names, row, strict=False))
        epoch = _number(cells.get("epoch"))
        for name, cell in cells.items():
            value = _number(cell)
            bad += value is None and cell.strip() != ""
            if value is not None and name not in {"epoch", "step"}:
                points[name].append((number if epoch is None else epoch, value))
    return {name: tuple(curve) for name, curve in points.items() if curve}, bad


def read_evaluation(file: Path) -> Evaluation:
    """Read what `dealseg evaluate` wrote.

    Raises:
        DataError: if it is not an evaluation.
    """
    data = _object(file)
    try:
        names = data["class_map"]
        tags = data.get("tags") or {}
        return Evaluation(
            dataset=str(data["dataset"]),
            split=str(data["split"]),
            images=int(data["images"]),
            missing=int(data.get("images_missing") or 0),
            class_names=tuple(str(names[str(value)]) for value in range(len(names))),
            fixed=_level(data["fixed"]),
            oracle=None if data.get("oracle") is None else _level(data["oracle"]),
            thresholds=tuple(float(t) for t in data.get("thresholds") or ()),
            curve=tuple(_number(value) for value in data.get("curve") or ()),
            tag_map=_number(tags.get("mean_average_precision")),
            **_search(data),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise file_error(
            file, f"is not an evaluation of this version ({error}); evaluate the run again"
        ) from error


def _search(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the ORACLE threshold was searched for; before it was recorded, always in full."""
    if data.get("oracle") is None:
        return {}
    found = data.get("protocol") or {"protocol": "full"}
    return {"protocol": str(found["protocol"]), "stopped_early": bool(found.get("stopped_early"))}


def _level(data: Mapping[str, Any]) -> Level:
    return Level(
        mean_iou=_number(data["mean_iou"]),
        threshold=_number(data.get("threshold")),
        origin=str(data.get("threshold_origin") or "not recorded"),
        boundary_iou=_number(data.get("mean_boundary_iou")),
        contour_f=_number(data.get("mean_contour_f")),
        iou=tuple(_number(value) for value in data.get("iou") or ()),
    )


def _object(file: Path) -> dict[str, Any]:
    data = read_json(file)
    if not isinstance(data, dict):
        raise file_error(file, "expected a JSON object")
    return data


def _number(value: Any) -> float | None:
    """Return a finite number, or None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
