"""The command that runs a grid of trainings and makes the paper's tables and figures of it."""

from functools import partial
from pathlib import Path
from typing import Any, Literal


def experiment(
    name: Literal["voc", "coco", "hope", "synthetic"],
    out: str,
    data: str | None = None,
    grid: str | None = None,
    miniature: bool = False,
    tables: str | None = None,
    methods: str | None = None,
    losses: str | None = None,
    depths: str | None = None,
    noise: str | None = None,
    seeds: str | None = None,
    train_split: str | None = None,
    split: str | None = None,
    set: str | None = None,
    shard: str = "1/1",
    plan: bool = False,
    gather: bool = False,
    figures: bool = True,
) -> int:
    """Train and judge a grid of methods, losses and depths; write its tables and figures.

    Args:
        name: a grid of the package, see docs/reproduce.md.
        out: folder to write; the same again goes on, and machines may share it.
        data: the data set.
        grid: YAML file to take instead of the package's grid.
        miniature: the same with a tiny data set written to OUT and tiny networks, in a minute.
        tables: only these of the grid's tables, with commas.
        methods: only these methods, with commas.
        losses: only these, with commas, joined by plus signs: none,deal,isl+fsl+deal.
        depths: only these depth sources, with commas: none, sensor, estimated, shuffled.
        noise: only these levels of depth noise, with commas; with semicolons if they have commas:
            none,level:2 or "none;blur:2,shift:3".
        seeds: only these seeds, with commas.
        train_split: part of the data to train on, instead of the grid's.
        split: part of the data that judges, instead of the grid's.
        set: options of all trainings, with blanks: "optim.epochs=4 device=cpu"; of one method:
            "seam:model.weights=FILE".
        shard: this machine's part of the jobs, i/n: every n-th from the i-th on.
        plan: list the jobs and their run folders, and do nothing.
        gather: make tables and figures of what is finished, and train nothing.
        figures: draw figures as well as tables.
    """
    from dealseg.experiments.expanding import expand
    from dealseg.experiments.experiment import Experiment
    from dealseg.experiments.grid import grid_of, with_settings
    from dealseg.experiments.miniature import write_miniature
    from dealseg.experiments.running import Shard

    place, part = Path(out), Shard.of(shard)
    chosen = grid_of(name, Path(grid) if grid else None, miniature=miniature)
    chosen = chosen.choose(
        tables=_words(tables), methods=_words(methods), losses=_words(losses),
        depths=_words(depths), noise=_words(noise, ";" if ";" in (noise or "") else ","),
        seeds=_seeds(seeds), train=train_split, val=split,
    )  # fmt: skip
    chosen = with_settings(chosen, (set or "").split())
    expand(chosen)  # mistakes in the grid come before anything is written
    root = write_miniature(name, place / "miniature") if miniature else _root(data, place)
    todo = Experiment.of(chosen, root, place)
    if plan:
        return _print_plan(todo, part)
    say = partial(print, flush=True)
    outcome = None if gather else todo.run(say, part)
    todo.gather(say, outcome, figures=figures)
    return 1 if outcome is not None and outcome.failed else 0


def _words(text: str | None, between: str = ",") -> list[str]:
    return [word.strip() for word in (text or "").split(between) if word.strip()]


def _seeds(text: str | None) -> list[int]:
    from dealseg.config.checks import require

    for word in _words(text):
        require(word.isdecimal(), "--seeds", "numbers with commas, such as 0,1,2", text)
    return [int(word) for word in _words(text)]


def _root(data: str | None, out: Path) -> Path:
    from dealseg.errors import ConfigError, DataError

    if data is None:
        raise ConfigError("experiment needs --data, or --miniature to try it without")
    if out.resolve().is_relative_to(Path(data).resolve()):
        raise DataError(f"{out}: lies in the data set {data}; choose another --out")
    return Path(data)


def _print_plan(todo: Any, part: Any) -> int:
    from dealseg.experiments.results import read_result
    from dealseg.experiments.running import run_folder

    for key, job in part.part(todo.jobs):
        state = "open" if read_result(todo.out, key) is None else "finished"
        print(f"{state:>8}  {key}  {run_folder(todo.out, key, job)}")
    return 0
