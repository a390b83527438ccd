"""Time and memory of SEAM's siamese losses against their straightforward forms, both passes.

Usage: `python benchmarks/seam_losses.py [--rounds 3] [--threads 1] [--device cpu]`.

All forms start from the network's maps at its stride and compute equivariance, cross and
min-pooling losses of two views, forward and backward. `plain` upsamples and calls the three public
functions, which each normalise for themselves. `original` does what the authors' training script
does, line by line: all channels at full resolution, each map normalised once, sorting top-k. All
forms must agree first, in the losses and in the gradient of every map. Columns `x plain` and
`x original` say how many times what ours needs they need.

Time is the best of the rounds, in which the forms take turns, so that load from elsewhere falls on
all alike. Memory on a CPU is the largest sum of bytes that tensors hold at one moment, on a GPU
what its allocator says; inputs not counted. Shapes: batch 16 of 416x308 pixels, 13 classes and the
background, 3 present on average, stride 16; batch 8 of 448x448, 20 classes, 2 present, stride 8.
"""

import argparse
import json
from collections.abc import Callable

import torch
from torch import Tensor

from deal_loss import best_milliseconds, peak_on
from dealseg.losses import View, cross_equivariance, equivariance, min_pooling, siamese_losses
from dealseg.losses.bilinear import at_size

CASES = (
    {"batch": 16, "size": (416, 308), "classes": 13, "present": 3, "stride": 16},
    {"batch": 8, "size": (448, 448), "classes": 20, "present": 2, "stride": 8},
)

Losses = tuple[Tensor, ...]
Form = Callable[[View, View, Tensor], Losses]


def ours(view1: View, view2: View, tags: Tensor) -> Losses:
    return tuple(loss.mean() for loss in siamese_losses(view1, view2, tags))


def plain(view1: View, view2: View, tags: Tensor) -> Losses:
    cam1, pcm1 = (at_size(maps, view1.size) for maps in view1[:2])
    cam2, pcm2 = (at_size(maps, view2.size) for maps in view2[:2])
    return (
        equivariance(cam1, cam2, tags).mean(),
        cross_equivariance(cam1, cam2, pcm1, pcm2, tags).mean(),
        min_pooling(pcm1, tags).mean(),
        min_pooling(pcm2, tags).mean(),
    )


def original(view1: View, view2: View, tags: Tensor) -> Losses:
    cam1, rv1 = (at_size(maps, view1.size) for maps in view1[:2])
    cam2, rv2 = (at_size(maps, view2.size) for maps in view2[:2])
    label = torch.cat([tags.new_ones(len(tags), 1), tags], dim=1)[:, :, None, None]
    low1, low2 = (lowest((rv * label)[:, 1:]) for rv in (rv1, rv2))
    cam1, rv1 = (at_size(max_norm(maps), view2.size) * label for maps in (cam1, rv1))
    cam2, rv2 = (max_norm(maps) * label for maps in (cam2, rv2))
    er = (cam1[:, 1:] - cam2[:, 1:]).abs().mean()
    for cam in (cam1, cam2):
        cam[:, 0] = 1 - cam[:, 1:].max(dim=1)[0]
    ecr = hardest((max_onehot(cam2.detach()) - rv1).abs())
    ecr = ecr + hardest((max_onehot(cam1.detach()) - rv2).abs())
    return er, ecr, low1, low2


def max_norm(maps: Tensor, e: float = 1e-5) -> Tensor:
    maps = maps.relu()
    high = maps.flatten(2).max(dim=-1)[0][:, :, None, None]
    low = maps.flatten(2).min(dim=-1)[0][:, :, None, None]
    return (maps - low - e).relu() / (high - low + e)


def max_onehot(maps: Tensor) -> Tensor:
    top = maps[:, 1:].max(dim=1, keepdim=True)[0]
    maps[:, 1:][maps[:, 1:] != top] = 0
    return maps


def hardest(errors: Tensor) -> Tensor:
    return errors.flatten(1).topk(int(errors[0].numel() * 0.2), dim=-1)[0].mean()


def lowest(maps: Tensor) -> Tensor:
    top = maps.max(dim=1)[0].flatten(1)
    return top.topk(top.shape[1] // 4, dim=-1, largest=False)[0].relu().mean()


FORMS: dict[str, Form] = {"ours": ours, "plain": plain, "original": original}


def random_inputs(case: dict, device: str, dtype: torch.dtype) -> tuple[View, View, Tensor]:
    """Return two views with independent random maps (the PCM's not negative), and tags."""
    generator = torch.Generator().manual_seed(0)
    batch, classes = case["batch"], case["classes"]
    chance = torch.rand(batch, classes, generator=generator, dtype=torch.float64)
    tags = (chance < case["present"] / classes).to(device, dtype)
    views = []
    for scale in (1.0, 0.3):
        size = tuple(int(side * scale) for side in case["size"])
        cells = [-(-side // case["stride"]) for side in size]
        shape = (2, batch, 1 + classes, *cells)
        cam, pcm = torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)
        views.append(View(cam, pcm.abs(), size))
    return views[0], views[1], tags


def step(form: Form, inputs: tuple[View, View, Tensor]) -> tuple[Losses, Losses]:
    """Return the losses and the gradient of every map."""
    maps = [each.detach().requires_grad_() for view in inputs[:2] for each in view[:2]]
    views = (View(*maps[:2], inputs[0].size), View(*maps[2:], inputs[1].size))
    losses = form(*views, inputs[2])
    return tuple(loss.detach() for loss in losses), torch.autograd.grad(sum(losses), maps)


def check_agreement(case: dict, device: str) -> None:
    """Stop if a form computes another loss or gradient."""
    inputs = random_inputs({**case, "batch": 2}, device, torch.float64)
    expected = step(ours, inputs)
    for name, form in FORMS.items():
        torch.testing.assert_close(
            step(form, inputs), expected, atol=1e-12, rtol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def measure(case: dict, device: str, rounds: int) -> dict[str, object]:
    """Return time and memory of each form."""
    check_agreement(case, device)
    inputs = random_inputs(case, device, torch.float32)

    def work(form: Form) -> Callable[[], object]:
        def run() -> None:
            step(form, inputs)
            if device != "cpu":
                torch.cuda.synchronize()

        return run

    works = {name: work(form) for name, form in FORMS.items()}
    memory = {name: peak_on(each, device) for name, each in works.items()}
    return {"case": case, "ms": best_milliseconds(works, rounds), "mib": memory}


def print_table(rows: list[dict]) -> None:
    print(f"{'case':<20}", end="")
    for title in ("ours ms", "x plain", "x original", "ours MiB", "x plain", "x original"):
        print(f"{title:>11}", end="")
    print()
    for row in rows:
        case = row["case"]
        height, width = case["size"]
        title = f"{case['batch']}x{1 + case['classes']}x{height}x{width}"
        print(f"{title:<20}", end="")
        for figure in (row["ms"], row["mib"]):
            ratios = (figure[name] / figure["ours"] for name in ("plain", "original"))
            print(f"{figure['ours']:>11.1f}", *(f"{ratio:>10.1f}" for ratio in ratios), end="")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [measure(case, args.device, args.rounds) for case in CASES]
    print_table(rows)
    print(
        json.dumps(
            {"benchmark": "seam_losses", **vars(args), "torch": torch.__version__, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
