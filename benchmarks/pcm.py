"""Time and peak memory of SEAM's pixel correlation: the matrix of all pairs against blocks of it.

Usage: `python benchmarks/pcm.py [--classes 20] [--threads 1] [--rounds 3]`.

`whole` is the module as the original writes it, with the (p, p) affinities of every image; `blocks`
is `dealseg.models.pcm.correlate`. Cases: a training step at 448 pixels (56x56 cells, batch 4,
forward and backward to the features) and inference at scale 2 of a 500x375 image (125x94 cells,
one image). Each form runs in a process of its own, whose peak resident memory is read at the end,
less what it held before the first call; time is the processor's, best of the rounds. Both forms are
compared first. `x` columns say how many times what blocks need the whole needs.
"""

import argparse
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dealseg.models.pcm import correlate

Form = Callable[[Tensor, Tensor], Tensor]
Result = TypeVar("Result")


class Case(NamedTuple):
    """Batch, cells, and whether there is a backward pass."""

    batch: int
    rows: int
    columns: int
    backward: bool


CASES = {
    "training, 448x448, batch 4": Case(4, 56, 56, True),
    "inference, 500x375 at scale 2": Case(1, 125, 94, False),
}


def whole(maps: Tensor, features: Tensor) -> Tensor:
    """Return the refined maps as the original computes them."""
    units = features / (torch.norm(features, dim=1, keepdim=True) + 1e-5)
    affinity = torch.relu(torch.matmul(units.transpose(1, 2), units))
    affinity = affinity / (torch.sum(affinity, dim=1, keepdim=True) + 1e-5)
    return torch.matmul(maps, affinity)


FORMS: dict[str, Form] = {"whole": whole, "blocks": correlate}


def inputs(case: Case, classes: int) -> tuple[Tensor, Tensor]:
    """Return a normalised CAM and features of 192 channels."""
    generator = torch.Generator().manual_seed(0)
    cells = case.rows * case.columns
    maps = torch.rand(case.batch, 1 + classes, cells, generator=generator)
    features = torch.randn(case.batch, 192, cells, generator=generator)
    return maps, features.requires_grad_(case.backward)


def step(form: Form, maps: Tensor, features: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the refined maps and the gradient of the features, where there is one."""
    refined = form(maps, features)
    if not features.requires_grad:
        return refined, None
    (slope,) = torch.autograd.grad((refined * maps).sum(), features)
    return refined.detach(), slope


def peak() -> float:
    """Return this process's largest resident memory so far, in MiB (ru_maxrss is in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(name: str, case: Case, options: argparse.Namespace) -> tuple[float, float]:
    """Return the best seconds of a step, and the MiB that the steps took."""
    torch.set_num_threads(options.threads)
    small = Case(1, 4, 4, case.backward)
    step(FORMS[name], *inputs(small, options.classes))
    maps, features = inputs(case, options.classes)
    before, best = peak(), math.inf
    for _ in range(options.rounds):
        start = time.process_time()
        step(FORMS[name], maps, features)
        best = min(best, time.process_time() - start)
    return best, peak() - before


def check_agreement(options: argparse.Namespace) -> None:
    """Stop if the forms disagree in value or gradient."""
    torch.set_num_threads(options.threads)
    arguments = inputs(Case(2, 30, 20, True), options.classes)
    expected = step(whole, *arguments)
    result = step(lambda *each: correlate(*each, block=70), *arguments)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


def alone(work: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function gives in a new process, which starts no larger than this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def main() -> None:
    """Measure both forms in both cases and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("classes", 20), ("threads", 1), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    alone(check_agreement, options)
    record = {"benchmark": "pcm", **vars(options), "torch": torch.__version__}
    print(f"{'case':<32}{'seconds: whole':>15}{'blocks':>9}{'x':>6}", end="")
    print(f"{'MiB: whole':>12}{'blocks':>9}{'x':>6}")
    for title, case in CASES.items():
        found = {name: alone(measured, name, case, options) for name in FORMS}
        (seconds, mib), (fast, small) = found["whole"], found["blocks"]
        print(f"{title:<32}{seconds:>15.2f}{fast:>9.2f}{seconds / fast:>6.1f}", end="")
        print(f"{mib:>12.0f}{small:>9.0f}{mib / small:>6.1f}")
        record[title] = found
    print(json.dumps(record))


if __name__ == "__main__":
    main()
