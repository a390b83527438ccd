"""Time and peak memory of the feature similarity loss against its dense form, forward and backward.

Usage: `python benchmarks/fsl.py [--size 56 56] [--classes 21] [--batch 4] [--device cpu]`.

`dense` is HFPL's formula as written: three matrices of all pairs of cells by `cdist` (places,
colours, predictions), the gate by log and tanh, gradient by autograd. `exact` is our loss over all
pairs, `window` ours within 3 sigma. Dense and exact must agree first. Beside random predictions
in all channels, `tagged` predictions are those of training: 2 classes present and the background,
all other channels 0. A column `x dense` says how many times what a form needs dense needs.

Time is the best of the rounds, in which the forms take turns, so that load from elsewhere falls on
all alike. Memory is measured in a process of its own for each form. On a CPU it is what the process
needs at most in a step above what it had with inputs made and libraries warm (the kernel's
high-water mark of resident memory, Linux only); on CUDA the allocator's peak above the inputs.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dealseg.losses import feature_similarity

FORMS = ("dense", "exact", "window")
KINDS = ("random", "tagged")
MU, SIGMA, WINDOW, EPS = 2.5, 5.0, 3.0, 1e-5

Form = Callable[[Tensor, Tensor], Tensor]


def dense(image: Tensor, predictions: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    lines = (torch.arange(n, device=image.device, dtype=image.dtype) for n in (height, width))
    places = torch.cartesian_prod(*lines)
    x, y = (maps.flatten(2).transpose(1, 2).contiguous() for maps in (image, predictions))
    colour = (torch.cdist(x, x, p=1) / 3).clamp(0, 1)
    gate = torch.tanh(MU + torch.log((colour + EPS) / (1 - colour + EPS)))
    reach = torch.exp(-0.5 * (torch.cdist(places, places) / SIGMA) ** 2) / (2 * math.pi * SIGMA**2)
    apart = 0.5 * torch.cdist(y, y) ** 2
    return -(reach * gate * apart).sum(dim=(1, 2)) / (height * width)


def form_named(name: str) -> Form:
    window = WINDOW if name == "window" else None
    return (
        dense
        if name == "dense"
        else lambda x, y: feature_similarity(x, y, mu=MU, sigma=SIGMA, window=window)
    )


def inputs(args: argparse.Namespace, kind: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return pictures of smooth patches with noise, and predictions in [0, 1]."""
    generator = torch.Generator().manual_seed(args.seed)
    patches = torch.rand(args.batch, 3, 6, 8, generator=generator)
    image = F.interpolate(patches, size, mode="bilinear")
    image = (image + 0.05 * torch.rand(image.shape, generator=generator)).clamp(0, 1)
    predictions = torch.rand(args.batch, args.classes, *size, generator=generator)
    if kind == "tagged":
        predictions[:, 3:] = 0
    return image.to(args.device), predictions.to(args.device)


def step(form: Form, image: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient in the predictions."""
    y = predictions.detach().requires_grad_()
    loss = form(image, y).mean()
    (slope,) = torch.autograd.grad(loss, y)
    return loss.detach(), slope


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def resident_mebibytes(field: str) -> float:
    """Return resident memory: `VmRSS` now, `VmHWM` the most since the mark was last reset."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 2**10


def peak_mebibytes(args: argparse.Namespace) -> float:
    """Return what the step needs at most above what is there before it."""
    form, size = form_named(args.form), tuple(args.size)
    image, predictions = inputs(args, args.kind, size)
    step(form, *inputs(args, args.kind, (8, 8)))
    if args.device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(form, image, predictions)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark
    before = resident_mebibytes("VmRSS")
    step(form, image, predictions)
    return resident_mebibytes("VmHWM") - before


def memory_in_own_process(form: str, kind: str, threads: int) -> float:
    flags = ["--form", form, "--kind", kind, "--threads", str(threads)]
    command = [sys.executable, __file__, *sys.argv[1:], *flags]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def best_milliseconds(args: argparse.Namespace, kind: str) -> dict[str, float]:
    """Return the best time of each form; they take turns."""
    pictures = inputs(args, kind, tuple(args.size))
    best = dict.fromkeys(FORMS, math.inf)
    for _ in range(args.rounds):
        for name in FORMS:
            synchronise(args.device)
            start = time.perf_counter()
            step(form_named(name), *pictures)
            synchronise(args.device)
            best[name] = min(best[name], 1000 * (time.perf_counter() - start))
    return best


def check_agreement(args: argparse.Namespace) -> None:
    """Stop if the forms over all pairs compute different losses or gradients."""
    image, predictions = inputs(args, "random", (20, 24))
    expected = step(dense, image, predictions)
    found = step(form_named("exact"), image, predictions)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=0)
    scale = float(expected[1].abs().max())
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-4 * scale)


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    """Return one row for each kind of predictions and number of threads."""
    rows = []
    for kind in KINDS:
        for threads in (1, 2) if args.device == "cpu" else (1,):
            memory = {form: memory_in_own_process(form, kind, threads) for form in FORMS}
            torch.set_num_threads(threads)
            times = best_milliseconds(args, kind)
            rows.append({"kind": kind, "threads": threads, "ms": times, "mib": memory})
    return rows


def print_table(rows: list[dict]) -> None:
    print(f"{'predictions':<12}{'threads':>8}{'form':>8}", end="")
    print(f"{'ms':>10}{'x dense':>9}{'MiB':>10}{'x dense':>9}")
    for row in rows:
        for form in FORMS:
            print(f"{row['kind']:<12}{row['threads']:>8}{form:>8}", end="")
            for figure in (row["ms"], row["mib"]):
                print(f"{figure[form]:>10.1f}{figure['dense'] / figure[form]:>9.1f}", end="")
            print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(56, 56), metavar=("H", "W"))
    for name, value in (("batch", 4), ("classes", 21), ("rounds", 7), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--form", choices=FORMS, help="only print what this one needs in memory")
    parser.add_argument("--kind", choices=KINDS, default="random", help="with --form")
    parser.add_argument("--threads", type=int, default=1, help="with --form")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.form:
        print(peak_mebibytes(args))
        return
    check_agreement(args)
    rows = measure(args)
    print_table(rows)
    settings = {k: v for k, v in vars(args).items() if k not in ("form", "kind", "threads")}
    print(json.dumps({"benchmark": "fsl", **settings, "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
