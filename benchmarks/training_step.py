"""The alignment loss's share of a training step, cached and full profile, on the CPU.

    python benchmarks/training_step.py

Prints a table and one JSON line. A step is forward, losses and backward of a batch of 16 images of
416x308 with 13 classes, 2 of them present, on the default network; depth edges come from the cache
in the cached profile, and are computed in the step in the full one.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from dealseg.losses import align_cams, depth_edges, grid_size
from dealseg.models import create
from dealseg.process import keep_freed_memory
from dealseg.training.optim import freeze_batch_norm

SIZE, CLASSES, BATCH = (308, 416), 13, 16


def median_seconds(work: Callable[[], None], rounds: int) -> float:
    """Return the median time of a call, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(profile: str, rounds: int) -> dict[str, float | str]:
    """Time a whole step, and the alignment's part of it: edges, loss and their backward pass."""
    generator = torch.Generator().manual_seed(0)
    frozen = 6 if profile == "cached" else 0
    model = create("cam", classes=CLASSES, frozen_stages=frozen, generator=generator).train()
    freeze_batch_norm(model)
    model.to(memory_format=torch.channels_last)
    image = torch.rand(BATCH, 3, *SIZE, generator=generator)
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        features = model.encode(image)
    depth = 1 + torch.rand(BATCH, 1, *SIZE, generator=generator)
    valid = torch.ones_like(depth, dtype=torch.bool)
    tags = torch.zeros(BATCH, CLASSES)
    tags[:, :2] = 1
    grid = grid_size(*SIZE)
    edges = depth_edges(depth, valid, size=grid)

    def step() -> None:
        output = model.decode(features, SIZE) if profile == "cached" else model(image)
        found = edges if profile == "cached" else depth_edges(depth, valid, size=grid)
        loss = F.multilabel_soft_margin_loss(output.logits["cam"], tags)
        (loss + 0.3 * align_cams(output.cams["cam"], found, tags).loss.mean()).backward()

    cams = torch.randn(BATCH, CLASSES, 20, 26, generator=generator).requires_grad_()

    def alignment() -> None:
        found = edges if profile == "cached" else depth_edges(depth, valid, size=grid)
        align_cams(cams, found, tags).loss.mean().backward()

    whole, part = median_seconds(step, rounds), median_seconds(alignment, rounds)
    return {"profile": profile, "step_ms": 1000 * whole, "alignment_ms": 1000 * part,
            "share": part / whole}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    rows = [measure(profile, args.rounds) for profile in ("cached", "full")]
    print("| profile | step (ms) | alignment (ms) | share |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['profile']} | {row['step_ms']:.0f} | {row['alignment_ms']:.1f} "
              f"| {row['share']:.1%} |")  # fmt: skip
    print(json.dumps({"threads": args.threads, "rows": rows}))


if __name__ == "__main__":
    main()
