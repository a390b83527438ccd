"""What a training step and a labelled image of each method take: arithmetic and memory.

    python benchmarks/step_cost.py

Counted, not timed, at the sizes of the original trainings, so it needs no GPU. Operations are
those on floating-point numbers (a multiply-add is two) of forward, losses and backward, for each
image. Memory is the most bytes of tensors alive at once, in float32, found with two small batches;
larger ones are on the same line; what kernels and the CUDA context need comes on top. Labelling is
the forward pass of one 4:3 image of 500 pixels. `benchmarks/grid_hours.py --work` makes hours of
it.
"""

import argparse
from collections.abc import Callable, Iterable

import torch
from torch.utils.flop_counter import FlopCounterMode

from deal_loss import peak_megabytes
from dealseg.models import CamModel, create
from method_step import ORIGINAL, Case, training_step

LABELLED = (375, 500)
COPIES = {"cam": 2, "weaktr": 3, "seam": 2}
"""Each weight that learns, and its moments: one of SGD, two of AdamW."""
BATCHES = {"cam": (1, 2), "weaktr": (8, 16), "seam": (1, 2)}
"""Large enough for activations to be more than what else there is."""


def built(case: Case) -> CamModel:
    return create(case.method, classes=case.classes, backbone=case.backbone, pretrained=False)


def operations(work: Callable[[], object]) -> int:
    flops = FlopCounterMode(display=False)
    with flops:
        work()
    return flops.get_total_flops()


def trained(case: Case, batch: int) -> tuple[int, float]:
    """Return operations and peak GiB of a step on a batch, weights and their moments included."""
    model = built(case)
    learning = [p for p in model.parameters() if p.requires_grad]
    fixed = [p for p in model.parameters() if not p.requires_grad]
    kept = _gibibytes(fixed) + COPIES[case.method] * _gibibytes(learning)
    optimiser = torch.optim.SGD(learning, lr=1e-6)  # without moments: they are added
    step = training_step(case, model, optimiser, batch, torch.device("cpu"))
    return operations(step), peak_megabytes(step) / 1024 + kept


def labelled(case: Case) -> int:
    """Return the operations of looking at one image."""
    model = built(case).eval()
    image = torch.rand(1, 3, *LABELLED)
    with torch.no_grad():
        return operations(lambda: model.foreground(model(image), model.label_cam))


def _gibibytes(tensors: Iterable[torch.Tensor]) -> float:
    return sum(each.numel() * each.element_size() for each in tensors) / 2**30


def row(case: Case) -> list[str]:
    """Return a row of the table."""
    low, high = BATCHES[case.method]
    (flops, small), (_, large) = trained(case, low), trained(case, high)
    each = (large - small) / (high - low)
    whole = small + (case.batch - low) * each
    return [case.method, case.backbone, f"{case.size[0]}x{case.size[1]}", str(case.batch),
            f"{flops / low / 1e12:.3f}", f"{labelled(case) / 1e12:.3f}", f"{each:.2f}",
            f"{whole:.1f}"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["cam", "weaktr", "seam"])
    args = parser.parse_args()
    head = ["method", "backbone", "size", "batch", "TFLOP an image trained",
            "TFLOP an image of 500 pixels labelled", "GiB an image", "GiB a step"]  # fmt: skip
    print(f"| {' | '.join(head)} |\n" + "|---" * len(head) + "|")
    for case in ORIGINAL:
        if case.method in args.methods:
            print(f"| {' | '.join(row(case))} |", flush=True)


if __name__ == "__main__":
    main()
