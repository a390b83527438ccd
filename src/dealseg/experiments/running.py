"""Jobs one after another: finished ones are skipped, and no two processes do the same one."""

import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dealseg import __version__
from dealseg.config.checks import require
from dealseg.errors import DealsegError, one_line
from dealseg.evaluation import EvaluationResult
from dealseg.experiments.expanding import Job, reads_depth
from dealseg.experiments.images import open_split
from dealseg.experiments.locks import held, owner
from dealseg.experiments.results import Result, read_result, result_of, write_result
from dealseg.judging import judge
from dealseg.labeling import label_options, threshold_origin
from dealseg.training import train

LOCKS = "locks"
RUNS = "runs"

Keyed = Sequence[tuple[str, Job]]
"""Jobs with their keys, in the grid's order."""
Do = Callable[[Job, Path], EvaluationResult]
"""Does a job in a run folder of its own, and goes on where an interrupted one stopped."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Shard:
    """One machine's part of the jobs: every n-th, from the i-th on.

    Attributes:
        number: i, from 1.
        count: n.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def of(cls, text: str) -> "Shard":
        """Read `i/n`.

        Raises:
            ConfigError: if it is not two numbers with 1 <= i <= n.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        require(1 <= number <= count, "shard", "i/n with 1 <= i <= n, such as 2/8", text)
        return cls(number, count)

    def part(self, jobs: Keyed) -> Keyed:
        """Return the jobs of this shard, whatever is finished."""
        return jobs[self.number - 1 :: self.count]


@dataclass
class Outcome:
    """What became of the jobs.

    Attributes:
        results: by key; also of those that were finished before.
        done: keys done now.
        elsewhere: names of jobs that another process holds, and which.
        failed: names of jobs that came to nothing, and why.
    """

    results: dict[str, Result] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run_jobs(jobs: Keyed, out: Path, do: Do, say: Say, shard: Shard | None = None) -> Outcome:
    """Do the jobs of a shard that are not finished, and read those that are.

    A job that fails does not keep the others from being done.

    Args:
        jobs: all of the grid.
        out: folder of results, runs and locks; other machines may share it.
        do: does one job.
        say: told of every job.
        shard: which of the jobs; by default all.
    """
    outcome, mine = Outcome(), (shard or Shard()).part(jobs)
    for place, (key, job) in enumerate(mine, start=1):
        result = read_result(out, key)
        if result is None:
            told = _attempt(key, job, out, do, outcome)
        else:
            outcome.results[key] = result
            told = f"finished before, {_told(result)}"
        say(f"[{place}/{len(mine)}] {job.name}: {told}")
    return outcome


def _attempt(key: str, job: Job, out: Path, do: Do, outcome: Outcome) -> str:
    """Do a job if nobody else does, and return what to say of it."""
    lock = out / LOCKS / f"{key}.lock"
    with held(lock) as ours:
        if not ours:
            who = owner(lock)
            outcome.elsewhere[job.name] = f"{who.get('host', 'unknown')}, pid {who.get('pid')}"
            return f"another process does it ({outcome.elsewhere[job.name]})"
        result = read_result(out, key, quiet=True)  # another may just have finished it
        try:
            outcome.results[key] = result or _done(key, job, out, do)
        except (DealsegError, RuntimeError, OSError) as error:
            outcome.failed[job.name] = one_line(error)
            return f"FAILED: {outcome.failed[job.name]}"
    outcome.done.append(key)
    return _told(outcome.results[key])


def _done(key: str, job: Job, out: Path, do: Do) -> Result:
    start = time.monotonic()
    found = do(job, run_folder(out, key, job))
    seconds = round(time.monotonic() - start, 1)
    made = {"dealseg": __version__, "host": platform.node(), "pid": os.getpid(), "seconds": seconds}
    result = result_of(job, key, found, made)
    write_result(out, result)
    return result


def run_folder(out: Path, key: str, job: Job) -> Path:
    """Return the run folder of a job."""
    return out / RUNS / f"{job.name}-{key[:8]}"


def _told(result: Result) -> str:
    shown = {"fixed": "mIoU", "oracle": "ORACLE"}
    known = {text: result.figures.get(name) for name, text in shown.items()}
    return ", ".join(f"{text} {100 * v:.1f} %" for text, v in known.items() if v is not None)


def collect(jobs: Iterable[tuple[str, Job]], out: Path, outcome: Outcome) -> dict[str, Result]:
    """Return all results that there are, other machines' too, in the grid's order."""
    found = ((key, outcome.results.get(key) or read_result(out, key)) for key, _ in jobs)
    return {key: result for key, result in found if result is not None}


def train_and_judge(data: Path, out: Path) -> Do:
    """Return what does a job on a data set: the training, then its CAMs against the ground truth.

    Features of the cached profile are kept once for each machine.

    Args:
        data: root of the data set.
        out: folder of the experiment.
    """
    cache = out / ".features" / re.sub(r"[^\w.-]", "_", platform.node() or "here")

    def do(job: Job, run: Path) -> EvaluationResult:
        config = job.config
        images = open_split(data, config.data, config.data.split, with_depth=reads_depth(config))
        train(images, run, config, resume=True, cache_dir=cache)
        result = judge(
            run,
            open_split(data, config.data, job.val),
            label_options(config),
            threshold_origin(config, None),
            split=job.val or "all",
            device=config.device,
        )
        result.write_result(run / "evaluation.json")
        return result

    return do
