"""A training step of each method: time, peak memory, and the alignment loss's share of it.

    python benchmarks/method_step.py                                             # small, for a CPU
    python benchmarks/method_step.py --device cuda --original --precision fp32 bf16 --compile

`--original` takes the sizes of the original trainings: WeakTr on DeiT-S, 224x224, batch 64; SEAM on
ResNet-38d, 448x448, batch 8. A step is forward of every view, the method's own losses, the
alignment loss with its depth edges, backward, and the optimiser. Prints a table and a JSON line;
peak memory is the allocator's, on a GPU only. Weights are random: they cost the same.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from dealseg.losses import align_cams, depth_edges, grid_size
from dealseg.models import CamModel, create
from dealseg.process import keep_freed_memory
from dealseg.training.optim import freeze_batch_norm


@dataclass(frozen=True)
class Case:
    """What is timed."""

    method: str
    backbone: str
    size: tuple[int, int]
    batch: int
    classes: int = 20
    precision: str = "fp32"
    compiled: bool = False


ORIGINAL = (
    Case("cam", "resnet50", (448, 448), 16),
    Case("weaktr", "deit_small_patch16_224", (224, 224), 64),
    Case("seam", "resnet38d", (448, 448), 8),
)
SMALL = (
    Case("cam", "tf_efficientnet_lite0", (224, 224), 8),
    Case("weaktr", "deit_tiny_patch16_224", (224, 224), 8),
    Case("seam", "tf_efficientnet_lite0", (224, 224), 8),
)


def median_seconds(work: Callable[[], None], rounds: int, device: torch.device) -> float:
    """Return the median time of a call, after two to warm up."""
    times = []
    for number in range(rounds + 2):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
        if number == 1 and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
    return statistics.median(times[2:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(case: Case, rounds: int, device: torch.device) -> dict[str, object]:
    """Time whole steps, and the alignment alone on CAMs of the same shape."""
    options = {"classes": case.classes, "backbone": case.backbone, "pretrained": False}
    model = create(case.method, **options).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1e-6)
    step = training_step(case, model, optimiser, case.batch, device)
    whole = median_seconds(step, rounds, device)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    part = median_seconds(_alignment(model, *_batch(case, case.batch, device)), rounds, device)
    return {**vars(case), "step_ms": 1000 * whole, "images_per_s": case.batch / whole,
            "peak_gib": peak, "deal_ms": 1000 * part, "deal_share": part / whole}  # fmt: skip


def _batch(case: Case, size: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return images, depth and tags."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(size, 3, *case.size, generator=generator).to(device)
    depth = 1 + torch.rand(size, 1, *case.size, generator=generator).to(device)
    tags = torch.zeros(size, case.classes, device=device)
    tags[:, :2] = 1
    return image.contiguous(memory_format=torch.channels_last), depth, tags


def training_step(
    case: Case, model: CamModel, optimiser: torch.optim.Optimizer, size: int, device: torch.device
) -> Callable[[], None]:
    """Return a step on `size` images: all views, all losses with DEAL, backward and optimiser."""
    freeze_batch_norm(model.train())
    image, depth, tags = _batch(case, size, device)
    run = torch.compile(model) if case.compiled else model

    def step() -> None:
        half = torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16")
        with half:
            outputs = [run(view) for view in model.views(image)]
            terms = model.losses(outputs, tags, case.size)
            cam = model.foreground(outputs[0], model.attach["deal"])
            edges = depth_edges(depth, size=grid_size(*case.size))
            terms["deal"] = align_cams(cam, edges, tags).loss.mean()
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _alignment(
    model: CamModel, image: torch.Tensor, depth: torch.Tensor, tags: torch.Tensor
) -> Callable[[], None]:
    """Return the alignment's part of a step: edges, loss and their backward pass."""
    size = (image.shape[-2], image.shape[-1])
    with torch.no_grad():
        shape = model.foreground(model(image), model.attach["deal"]).shape
    cams = torch.randn(shape, device=image.device).requires_grad_()

    def work() -> None:
        edges = depth_edges(depth, size=grid_size(*size))
        align_cams(cams, edges, tags).loss.mean().backward()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--original", action="store_true", help="the original trainings' sizes")
    parser.add_argument("--methods", nargs="+", default=["cam", "weaktr", "seam"])
    parser.add_argument("--batch", type=int, help="images a step, instead of each method's")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="torch.compile as well as without")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    rows = []
    for case in ORIGINAL if args.original else SMALL:
        for precision in args.precision if case.method in args.methods else ():
            for compiled in (False, True) if args.compile else (False,):
                chosen = replace(case, precision=precision, compiled=compiled)
                chosen = replace(chosen, batch=args.batch or case.batch)
                rows.append(measure(chosen, args.rounds, torch.device(args.device)))
    print("| method | backbone | size | batch | precision | compiled | step (ms) | images/s "
          "| peak (GiB) | DEAL (ms) | DEAL's share |\n" + "|---" * 11 + "|")  # fmt: skip
    for row in rows:
        peak = f"{row['peak_gib']:.2f}" if row["peak_gib"] is not None else "-"
        print(f"| {row['method']} | {row['backbone']} | {row['size'][0]}x{row['size'][1]} "
              f"| {row['batch']} | {row['precision']} | {row['compiled']} | {row['step_ms']:.0f} "
              f"| {row['images_per_s']:.1f} | {peak} | {row['deal_ms']:.1f} "
              f"| {row['deal_share']:.1%} |")  # fmt: skip
    print(json.dumps({"threads": args.threads, "device": args.device, "rows": rows}))


if __name__ == "__main__":
    main()
