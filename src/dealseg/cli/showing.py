"""Commands that show what came out."""

from functools import partial
from pathlib import Path
from typing import Literal

from dealseg.cli.data import Format, TagsFrom, open_as_trained


def report(
    runs: list[str],
    data: str | None = None,
    split: str | None = None,
    out: str = "report.html",
    examples: int = 6,
    format: Format | None = None,
    depth_folder: str | None = None,
    tags_from: TagsFrom | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> int:
    """Write one self-contained HTML page that compares runs, with pictures.

    Args:
        runs: run folders, e.g. of a baseline and of DEAL.
        data: data set for the pictures; by default the one the first run was trained on.
        split: named part of it.
        out: HTML file; figures go to a folder beside it.
        examples: images shown.
        format: layout; auto looks; by default the first run's `data.format`.
        depth_folder: folder of the depth shown; by default the first run's `data.depth_folder`.
        tags_from: as in `label`, of the first run.
        device: where the networks work; auto takes a GPU where there is one.
    """
    from dealseg.models.runs import read_config
    from dealseg.report import write_report

    config, facts = read_config(Path(runs[0]))
    images = open_as_trained(
        data or facts.data_root, config.data, split,
        format=format, depth_folder=depth_folder, tags_from=tags_from,
    )  # fmt: skip
    page = write_report(
        [Path(run) for run in runs], Path(out), data=images, examples=examples, device=device
    )
    print(f"report in {page}")
    return 0


def demo(out: str = "runs/demo", seed: int = 0, images: int = 240, epochs: int = 6) -> int:
    """Do the main job on embedded data: train with and without DEAL, label, evaluate, report.

    Args:
        out: folder to write; call again to go on after an interruption.
        seed: of data and training.
        images: training images to render.
        epochs: passes over them, for each of the two trainings.
    """
    from dealseg.demo import run_demo

    result = run_demo(
        Path(out), seed=seed, images=images, epochs=epochs, say=partial(print, flush=True)
    )
    print(result)
    return 0
