"""How much a grid of the package takes: trainings, steps, images, and hours at a given speed.

    python benchmarks/grid_hours.py
    python benchmarks/grid_hours.py --train weaktr=900 seam=60 --label weaktr=40 seam=4
    python benchmarks/grid_hours.py --work weaktr=0.032/0.047 --rate weaktr=29

Speeds are images a second: of training steps as `benchmarks/method_step.py` prints them, of
labelling as `benchmarks/labelling.py` does. Instead of them, `--work` takes the TFLOP of an image
trained and of a view labelled, as `benchmarks/step_cost.py` counts them, and `--rate` the TFLOP a
second that a GPU sustains. Without either the column of hours is left out. Numbers of images are
those of the real data sets; HOPE's is its least, 120 frames in each of 56 sequences.
"""

import argparse

from dealseg.experiments import expand, grid_of
from dealseg.experiments.expanding import Job, PlannedTable

IMAGES = {"voc": (10_582, 1_449), "coco": (82_081, 40_137), "hope": (5_376, 1_344)}
"""Images that are trained on and judged."""


def speeds(words: list[str]) -> dict[str, float]:
    return {name: float(value) for name, _, value in (word.partition("=") for word in words)}


def steps(job: Job, images: int) -> int:
    """Return the steps of a training; its last, smaller batch is dropped."""
    return job.config.optim.epochs * (images // job.config.optim.batch_size)


def views(job: Job) -> float:
    """Return what labelling an image costs, in images of `label.long_side`."""
    label = job.config.label
    return sum(scale**2 for scale in label.scales) * (2 if label.flip else 1)


def from_work(words: list[str], rates: dict[str, float], side: int) -> dict[str, float]:
    """Return speeds in images, or for labelling in views, a second."""
    split = (word.partition("=") for word in words)
    return {name: rates[name] / float(work.split("/")[side]) for name, _, work in split}


def rows(
    name: str, train: dict[str, float], label: dict[str, float], view: dict[str, float]
) -> list[list[str]]:
    """Return a row for each table and method: what it needs beyond the tables before it."""
    found, seen = [], set()
    plan, (images, judged) = expand(grid_of(name)), IMAGES[name]
    for table in plan.tables:
        for method in table.spec.methods:
            jobs = [job for job in _of(table, plan.jobs, method) if job not in seen]
            seen.update(jobs)
            passes = sum(job.config.optim.epochs for job in jobs) * images
            cells = [name, table.spec.name, method, str(len(jobs)), f"{passes / 1e6:.1f}",
                     f"{sum(steps(job, images) for job in jobs):,}",
                     f"{len(jobs) * judged / 1e3:.1f}", f"{views(jobs[0]):.1f}"]  # fmt: skip
            speed = label.get(method) or view.get(method, 0.0) / views(jobs[0])
            if method in train and speed:
                hours = passes / train[method] / 3600 + len(jobs) * judged / speed / 3600
                cells.append(f"{hours:.0f}")
            found.append(cells)
    return found


def _of(table: PlannedTable, jobs: tuple[Job, ...], method: str) -> list[Job]:
    return [job for job in jobs if job.variant in table.variants and job.variant.method == method]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", nargs="*", default=[], help="images/s of training, by method")
    parser.add_argument("--label", nargs="*", default=[], help="images/s of labelling, by method")
    parser.add_argument("--work", nargs="*", default=[], help="TFLOP, METHOD=TRAINED/LABELLED")
    parser.add_argument("--rate", nargs="*", default=[], help="TFLOP/s of the GPU, METHOD=RATE")
    args = parser.parse_args()
    rates = speeds(args.rate)
    train = from_work(args.work, rates, 0) | speeds(args.train)
    label, view = speeds(args.label), from_work(args.work, rates, 1)
    head = ["grid", "table", "method", "trainings", "images, million", "steps",
            "judged, thousand", "views each"]  # fmt: skip
    head += ["hours"] if train and (label or view) else []
    print(f"| {' | '.join(head)} |\n" + "|---" * len(head) + "|")
    for name in IMAGES:
        for cells in rows(name, train, label, view):
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
