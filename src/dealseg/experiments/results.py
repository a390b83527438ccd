"""A job's result: one file, written whole, that tells if it was damaged."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dealseg.errors import DataError
from dealseg.evaluation import EvaluationResult
from dealseg.experiments.expanding import Job, Variant
from dealseg.models.runs import write_text

FOLDER = "results"
GATHERED = "results.jsonl"
VERSION = 1
_DATA = ("split", "images", "class_map", "class_ids")

log = logging.getLogger("dealseg")


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
        key: checksum of configuration and data.
        name: of the job.
        variant: its place in the grid.
        seed: of the training.
        figures: shares in [0, 1] by name, None where one was not computed.
        thresholds: of `curve`.
        curve: mean IoU at each threshold.
        config: of the training, as plain values.
        data: what was judged: split, images, classes.
        made: where and when; of no consequence.
    """

    key: str
    name: str
    variant: Variant
    seed: int
    figures: Mapping[str, float | None]
    thresholds: tuple[float, ...]
    curve: tuple[float | None, ...]
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    made: Mapping[str, Any]

    def line(self) -> dict[str, Any]:
        """Return what `results.jsonl` says: the same however the result came about."""
        axes = {**asdict(self.variant), "seed": self.seed}
        return {"name": self.name, **axes, **self.figures, "key": self.key, **self.data}


def result_of(
    job: Job, key: str, found: EvaluationResult, made: Mapping[str, Any] | None = None
) -> Result:
    """Return the result of a job from its evaluation."""
    plain = found.as_dict()
    fixed, oracle = plain["fixed"], plain["oracle"] or {}
    return Result(
        key=key,
        name=job.name,
        variant=job.variant,
        seed=job.seed,
        figures={
            "fixed": fixed["mean_iou"],
            "fixed_threshold": fixed["threshold"],
            "oracle": oracle.get("mean_iou"),
            "oracle_threshold": oracle.get("threshold"),
            "boundary_iou": fixed["mean_boundary_iou"],
            "contour_f": fixed["mean_contour_f"],
            "tag_map": (plain["tags"] or {}).get("mean_average_precision"),
        },
        thresholds=tuple(plain["thresholds"] or ()),
        curve=tuple(plain["curve"] or ()),
        config=_as_json(asdict(job.config)),
        data={
            **{name: plain[name] for name in _DATA if name in plain},
            "threshold_origin": fixed["threshold_origin"],
        },
        made=dict(made or {}),
    )


def _as_json(value: Any) -> Any:
    """Return what comes back from JSON, so that a result is equal to its file."""
    return json.loads(json.dumps(value))


def result_file(out: Path, key: str) -> Path:
    """Return where the result of a key is."""
    return out / FOLDER / f"{key}.json"


def write_result(out: Path, result: Result) -> Path:
    """Write a result whole or not at all, with a checksum of itself."""
    path = result_file(out, result.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": VERSION, **asdict(result)}
    write_text(path, json.dumps({**content, "sha256": _checksum(content)}, indent=1) + "\n")
    return path


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_result(out: Path, key: str, *, quiet: bool = False) -> Result | None:
    """Return the result of a key, or None if there is none or it is damaged.

    Args:
        out: folder of the experiment.
        key: of the job.
        quiet: do not log that it is damaged.
    """
    path = result_file(out, key)
    if not path.is_file():
        return None
    try:
        return _read(path, key)
    except DataError as error:
        if not quiet:
            log.warning(f"{error}; the job is done again")
        return None


def _read(path: Path, key: str) -> Result:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("sha256") != _checksum(content):
            raise DataError(f"{path}: damaged (it is not what was written)")
        if content.pop("version") != VERSION:
            raise DataError(f"{path}: of another version")
        content["variant"] = Variant(**content["variant"])
        content |= {name: tuple(content[name]) for name in ("thresholds", "curve")}
        result = Result(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({str(error).splitlines()[0]})") from error
    if result.key != key:
        raise DataError(f"{path}: damaged (it is the result of {result.key})")
    return result


def gather(out: Path, results: Iterable[Result]) -> Path:
    """Write `results.jsonl`, one line a result, in the order given."""
    lines = (json.dumps(result.line(), ensure_ascii=False) for result in results)
    write_text(out / GATHERED, "".join(f"{line}\n" for line in lines))
    return out / GATHERED
