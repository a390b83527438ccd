"""An experiment from grid and data to tables and figures, in a folder that others may share."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dealseg.config.checks import require
from dealseg.errors import DataError
from dealseg.experiments.expanding import Job, Plan, expand
from dealseg.experiments.figures import cam_figure, mask_figure, noise_figure, threshold_figure
from dealseg.experiments.grid import Grid
from dealseg.experiments.images import open_split
from dealseg.experiments.keys import Keys
from dealseg.experiments.rendering import comma_separated, latex, markdown
from dealseg.experiments.results import Result, gather
from dealseg.experiments.running import (
    Do,
    Outcome,
    Say,
    Shard,
    collect,
    run_folder,
    run_jobs,
    train_and_judge,
)
from dealseg.experiments.tables import Found, build_table, found_by_variant
from dealseg.models.runs import replacing, write_text

TABLES = "tables"
FIGURES = "figures"


@dataclass(frozen=True)
class Experiment:
    """A grid on a data set, with the folder that it is done in.

    Attributes:
        grid: what to train.
        data: root of the data set.
        out: folder of runs, results, tables and figures.
        plan: the grid's tables and jobs.
        jobs: the jobs with their keys.
    """

    grid: Grid
    data: Path
    out: Path
    plan: Plan
    jobs: Sequence[tuple[str, Job]]

    @classmethod
    def of(cls, grid: Grid, data: Path, out: Path) -> "Experiment":
        """List the data set and name the jobs; nothing is written.

        Raises:
            ConfigError: if a combination of the grid cannot be trained.
            DataError: if the data set is not as its format says.
        """
        plan, keys = expand(grid), Keys(data)
        return cls(grid, data, out, plan, [(keys.key(job), job) for job in plan.jobs])

    def run(self, say: Say, shard: Shard | None = None, do: Do | None = None) -> Outcome:
        """Do the jobs of a shard that nobody has done, then gather all results there are.

        Args:
            say: told of every job.
            shard: this machine's part.
            do: what does a job; by default training and evaluation.

        Raises:
            ConfigError: if it is one of several processes of `torchrun`, or the ground truth cannot
                be read without another package.
            DataError: if there is no ground truth.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        require(world == 1, "torchrun", "one process; take --shard to use several GPUs", world)
        self._require_truth()
        self.out.mkdir(parents=True, exist_ok=True)
        work = do or train_and_judge(self.data, self.out)
        return run_jobs(self.jobs, self.out, work, say, shard)

    def _require_truth(self) -> None:
        """Read one mask, so that a training does not end in the first error of its evaluation."""
        job = self.plan.jobs[0]
        images = open_split(self.data, job.config.data, job.val)
        judged = (i for i, frame in enumerate(images.frames) if frame.mask is not None)
        first = next(judged, None)
        if first is None:
            where = "" if job.val is None else f" in split {job.val}"
            raise DataError(f"{self.data}: there is no ground truth to judge by{where}")
        images.mask(first)

    def gather(self, say: Say, outcome: Outcome | None = None, *, figures: bool = True) -> int:
        """Write `results.jsonl`, tables and figures of all results there are; return how many.

        Args:
            say: told of the files.
            outcome: of jobs just done, so that their results are not read again.
            figures: draw them too.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        results = collect(self.jobs, self.out, outcome or Outcome())
        say(f"{len(results)} of {len(self.jobs)} results in {gather(self.out, results.values())}")
        found = found_by_variant(self.jobs, results)
        for path in self._write_tables(found):
            say(f"table in {path}")
        for path in self._write_figures(found) if figures else ():
            say(f"figure in {path}")
        return len(results)

    def _write_tables(self, found: Found) -> Iterator[Path]:
        folder = self.out / TABLES
        folder.mkdir(exist_ok=True)
        for planned in self.plan.tables:
            table = build_table(self.grid, planned, found)
            forms = {"csv": comma_separated(table), "tex": latex(table), "md": markdown(table)}
            for ending, text in forms.items():
                path = folder / f"{self.grid.name}-{table.name}.{ending}"
                write_text(path, text)
            yield path

    def _write_figures(self, found: Found) -> Iterator[Path]:
        (self.out / FIGURES).mkdir(exist_ok=True)
        for name, content in self._drawings(found):
            if content is not None:
                path = self.out / FIGURES / f"{self.grid.name}-{name}.png"
                with replacing(path) as partial:
                    partial.write_bytes(content)
                yield path

    def _drawings(self, found: Found) -> Iterator[tuple[str, bytes | None]]:
        """Yield names and pictures; CAMs and masks are of the first table."""
        for table in self.plan.tables:
            yield f"{table.spec.name}-thresholds", threshold_figure(table, found)
            if len(table.spec.noise) > 1:
                yield f"{table.spec.name}-noise", noise_figure(table, found)
        first, job = self.plan.tables[0], self.plan.jobs[0]
        images = open_split(self.data, job.config.data, job.val)
        for method in first.spec.methods:
            yield f"cams-{method}", cam_figure(first, found, method, images, self._run)
            yield f"masks-{method}", mask_figure(first, found, method, images, self._run)

    def _run(self, result: Result) -> Path:
        job = next(job for key, job in self.jobs if key == result.key)
        return run_folder(self.out, result.key, job)
