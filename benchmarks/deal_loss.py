"""Time and memory of the alignment loss against its straightforward forms, forward and backward.

Usage: `python benchmarks/deal_loss.py [--batch 16] [--classes 20] [--tags 2] [--rounds 9]`.

`loop` is the formula as written: for each image and each present class, Sobel by convolution,
tanh(mu + log(a / (1 - a))) with a clamped by an epsilon. `dense` is the same without loops, over
all classes, the absent ones multiplied by 0. Measured are step 4 alone (`edge_alignment`, edges
given) and the whole CAM side (`align_cams`: resize, Sobel, gate, mean; CAMs at a quarter of the
grid), with the depth edges computed before; the depth side, from 480x640 pixels, is timed by
itself. All forms must agree first. Figures in the columns `x loop` and `x dense` say how many
times what ours needs they need.

Time is the best of the rounds, in which the forms take turns, so that load from elsewhere falls on
all alike. Memory is the largest sum of bytes that tensors hold at one moment of forward and
backward, from the allocator's own log, temporaries inside kernels included, inputs not.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dealseg.losses import DepthEdges, align_cams, depth_edges, edge_alignment

GRIDS = ((48, 64), (96, 128))
THREADS = (1, 2)
EPS = 1e-6
MU = 2.5
KERNEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
SOBEL = torch.stack([KERNEL, KERNEL.T])[:, None]

Inputs = tuple[Tensor, DepthEdges, Tensor]
Form = Callable[[Tensor, DepthEdges, Tensor], Tensor]


def gate(edges: Tensor) -> Tensor:
    edges = edges.clamp(EPS, 1 - EPS)
    return torch.tanh(MU + torch.log(edges / (1 - edges)))


def edges_of(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return edges of maps (n, 1, h, w) by convolution, with the loss's default choices."""
    maps = F.interpolate(maps, grid, mode="bilinear", align_corners=False, antialias=True).relu()
    maps = maps / (maps.amax(dim=(-2, -1), keepdim=True) + EPS)
    gx, gy = F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), SOBEL).split(1, dim=1)
    return (2 * torch.sqrt(gx**2 + gy**2 + EPS**2)).clamp(max=1)


def loop(
    maps: Tensor, edges: DepthEdges, tags: Tensor, prepare: Callable[[Tensor], Tensor]
) -> Tensor:
    losses = []
    for b in range(len(maps)):
        valid, target = edges.valid[b, 0], gate(edges.strength[b, 0])
        total = maps.new_zeros(())
        for k in range(maps.shape[1]):
            if tags[b, k] == 1:
                activation = gate(prepare(maps[b, k][None, None])[0, 0])
                total = total + (activation * target * valid).sum() / valid.sum()
        losses.append(-total / tags[b].sum())
    return torch.stack(losses)


def dense(
    maps: Tensor, edges: DepthEdges, tags: Tensor, prepare: Callable[[Tensor], Tensor]
) -> Tensor:
    strength = prepare(maps.flatten(0, 1)[:, None]).unflatten(0, maps.shape[:2])[:, :, 0]
    agreement = gate(strength) * gate(edges.strength) * edges.valid
    each = agreement.sum(dim=(2, 3)) / edges.valid.sum(dim=(2, 3))
    return -(each * tags).sum(dim=1) / tags.sum(dim=1)


def forms(part: str, grid: tuple[int, int]) -> dict[str, Form]:
    """Return the loss and its straightforward forms: of given edges, or of raw CAMs."""

    def prepare(maps: Tensor) -> Tensor:
        return maps if part == "step 4" else edges_of(maps, grid)

    def ours(maps: Tensor, edges: DepthEdges, tags: Tensor) -> Tensor:
        if part == "step 4":
            return edge_alignment(maps, edges.strength, tags, valid=edges.valid, mu=MU)
        return align_cams(maps, edges, tags, mu=MU).loss

    return {
        "ours": ours,
        "loop": lambda *inputs: loop(*inputs, prepare),
        "dense": lambda *inputs: dense(*inputs, prepare),
    }


def random_inputs(
    part: str, args: argparse.Namespace, grid: tuple[int, int]
) -> tuple[Inputs, Tensor]:
    """Return smooth maps or edges, depth edges with holes and tags; and the depth itself."""
    generator = torch.Generator().manual_seed(args.seed)
    size = grid if part == "step 4" else (grid[0] // 4, grid[1] // 4)
    maps = torch.rand(args.batch, args.classes, *size, generator=generator)
    depth = 0.5 + 3 * torch.rand(args.batch, 1, 6, 8, generator=generator)
    depth = F.interpolate(depth, (480, 640))
    depth[torch.rand(depth.shape, generator=generator) < 0.1] = 0
    chosen = torch.rand(args.batch, args.classes, generator=generator).topk(args.tags).indices
    tags = torch.zeros(args.batch, args.classes).scatter(1, chosen, 1)
    return (maps, depth_edges(depth, size=grid), tags), depth


def step(form: Form, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return the losses and the gradient of the maps."""
    maps = inputs[0].detach().requires_grad_()
    losses = form(maps, *inputs[1:])
    (slope,) = torch.autograd.grad(losses.mean(), maps)
    return losses.detach(), slope


def check_agreement(candidates: dict[str, Form], inputs: Inputs) -> None:
    """Stop if a form computes another loss."""
    expected, _ = step(candidates["ours"], inputs)
    for name, form in candidates.items():
        torch.testing.assert_close(step(form, inputs)[0], expected, atol=1e-4, rtol=0, msg=name)


def best_milliseconds(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the best time of each work; they take turns."""
    best = dict.fromkeys(works, math.inf)
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            best[name] = min(best[name], 1000 * (time.perf_counter() - start))
    return best


def peak_megabytes(work: Callable[[], object]) -> float:
    """Return the most that tensors made by `work` hold at once."""
    work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = work()
    del result
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    held = peak = 0
    for event in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak / 2**20


def peak_on(work: Callable[[], object], device: str) -> float:
    """Return the mebibytes that tensors made by `work` hold at once, on a CPU or a GPU."""
    if device == "cpu":
        return peak_megabytes(work)
    work()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return (torch.cuda.max_memory_allocated() - held) / 2**20


def measure(part: str, args: argparse.Namespace, grid: tuple[int, int]) -> list[dict[str, object]]:
    """Return one row for each number of threads."""
    inputs, depth = random_inputs(part, args, grid)
    candidates = forms(part, grid)
    check_agreement(candidates, inputs)
    works = {name: (lambda form=form: step(form, inputs)) for name, form in candidates.items()}
    memory = {name: peak_megabytes(work) for name, work in works.items()}
    rows = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        times = best_milliseconds(
            {**works, "depth": lambda: depth_edges(depth, size=grid)}, args.rounds
        )
        rows.append({"part": part, "grid": grid, "threads": threads, "ms": times, "mib": memory})
    return rows


def print_table(rows: list[dict]) -> None:
    print(f"{'part':<9}{'grid':>8}{'threads':>8}", end="")
    for title in ("ours ms", "x loop", "x dense", "ours MiB", "x loop", "x dense", "depth ms"):
        print(f"{title:>10}", end="")
    print()
    for row in rows:
        ms, mib = row["ms"], row["mib"]
        print(f"{row['part']:<9}{row['grid'][0]:>5}x{row['grid'][1]:<3}{row['threads']:>7}", end="")
        for figure in (ms, mib):
            print(f"{figure['ours']:>10.2f}", end="")
            print(
                "".join(f"{figure[n] / figure['ours']:>10.2f}" for n in ("loop", "dense")), end=""
            )
        print(f"{ms['depth']:>10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("batch", 16), ("classes", 20), ("tags", 2), ("rounds", 9), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for part in ("step 4", "CAM side")
        for grid in GRIDS
        for row in measure(part, args, grid)
    ]
    print_table(rows)
    print(
        json.dumps(
            {"benchmark": "deal_loss", **vars(args), "torch": torch.__version__, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
