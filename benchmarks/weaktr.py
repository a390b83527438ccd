"""WeakTr's memory and time, in training and at labelling, against the straightforward form.

    python benchmarks/weaktr.py [--batch 8] [--size 224 224] [--label-size 375 500]
                                [--precision fp32|bf16|fp16] [--device cpu|cuda] [--compile]

The straightforward form is `tests/oracles/weaktr.py`: all attention maps are made, kept, stacked,
cloned and weighed, as the published code does. Both have the same weights and images, and must
agree in their logits and in the gradients of the attention fusion first. A training step is
forward, the three class losses and backward (no drop path, so that the forms can be compared);
labelling is one forward pass without gradients.

Time is the best of the rounds, in which the forms take turns. Memory is what a step adds at its
peak, gradients included, weights and images not: the device's own figure on CUDA, and on the CPU
the sum of bytes in the allocator's log.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deal_loss import best_milliseconds, peak_on
from dealseg.models import WeakTr, create

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from oracles import weaktr as oracle

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Logits = Mapping[str, Tensor]
Form = Callable[[Tensor], Logits]


def forms(model: WeakTr, compiled: bool) -> dict[str, Form]:
    """Return the network and its straightforward form, from normalised images to logits."""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    heads, trained = model.blocks[0].attn.num_heads, model.patch_embed.grid_size[0]

    def ours(image: Tensor) -> Logits:
        return model.decode({"x": image}, (image.shape[-2], image.shape[-1])).logits

    def straightforward(image: Tensor) -> Logits:
        pool = model.adaptive_attention_fusion.pool
        return oracle.weaktr(image, state, model.classes, heads, trained, pool)[0]

    found = {"ours": ours, "straightforward": straightforward}
    return {name: torch.compile(form) for name, form in found.items()} if compiled else found


def train_step(model: WeakTr, form: Form, image: Tensor, tags: Tensor, precision: str) -> Logits:
    model.zero_grad(set_to_none=True)
    with torch.autocast(image.device.type, PRECISIONS[precision], enabled=precision != "fp32"):
        logits = form(image)
    losses = [F.multilabel_soft_margin_loss(each.float(), tags) for each in logits.values()]
    torch.stack(losses).sum().backward()
    return logits


def label_step(form: Form, image: Tensor, precision: str) -> Logits:
    with (
        torch.inference_mode(),
        torch.autocast(image.device.type, PRECISIONS[precision], enabled=precision != "fp32"),
    ):
        return form(image)


def check_agreement(model: WeakTr, works: dict[str, Callable[[], Logits]], precision: str) -> None:
    """Stop if the forms differ in logits or, in training, in the fusion's gradients."""
    found = []
    for work in works.values():
        logits = {name: each.detach().float() for name, each in work().items()}
        fusion = model.adaptive_attention_fusion.parameters()
        found.append((logits, [p.grad for p in fusion if p.grad is not None]))
    share = 1e-4 if precision == "fp32" else 0.1
    for mine, theirs in zip(flat(found[0]), flat(found[1]), strict=True):
        if (mine - theirs).abs().max() > share * theirs.abs().max():
            raise SystemExit("the two forms do not agree")


def flat(result: tuple[Logits, list[Tensor]]) -> list[Tensor]:
    return [*result[0].values(), *result[1]]


def timed(work: Callable[[], object], device: str) -> Callable[[], None]:
    def run() -> None:
        work()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def measure(name: str, works: dict[str, Callable[[], Logits]], model: WeakTr, args) -> dict:
    """Check, then measure memory and time of one part of the work."""
    model.zero_grad(set_to_none=True)
    check_agreement(model, works, args.precision)
    memory = {}
    for form, work in works.items():
        model.zero_grad(set_to_none=True)
        memory[form] = peak_on(
            lambda work=work: (work(), model.zero_grad(set_to_none=True)), args.device
        )
    times = best_milliseconds(
        {form: timed(work, args.device) for form, work in works.items()}, args.rounds
    )
    return {"part": name, "mib": memory, "ms": times}


def print_table(rows: list[dict]) -> None:
    print(f"{'':<10}{'ours MiB':>10}{'straight.':>11}{'share':>7}", end="")
    print(f"{'ours ms':>11}{'straight.':>11}{'share':>7}")
    for row in rows:
        print(f"{row['part']:<10}", end="")
        for figure in (row["mib"], row["ms"]):
            mine, other = figure["ours"], figure["straightforward"]
            print(f"{mine:>10.1f}{other:>11.1f}{mine / other:>7.2f}", end=" ")
        print()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("batch", 8), ("label-batch", 1), ("classes", 20), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--size", type=int, nargs=2, default=(224, 224))
    parser.add_argument("--label-size", type=int, nargs=2, default=(375, 500))
    parser.add_argument("--backbone", default=WeakTr.default_backbone)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=tuple(PRECISIONS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    options = {"backbone": args.backbone, "pretrained": False, "drop_path": 0.0}
    model = create("weaktr", classes=args.classes, **options).train().to(args.device)
    candidates = forms(model, args.compile)

    def noise(batch: int, size: tuple[int, int]) -> Tensor:
        return torch.randn(batch, 3, *size, generator=generator).to(args.device)

    images, photo = noise(args.batch, args.size), noise(args.label_batch, args.label_size)
    tags = (torch.rand(args.batch, args.classes, generator=generator) < 0.1).float()
    tags = tags.to(args.device)
    parts = {
        "training": lambda form: train_step(model, form, images, tags, args.precision),
        "labelling": lambda form: label_step(form, photo, args.precision),
    }
    rows = [
        measure(
            part,
            {name: (lambda form=form, step=step: step(form)) for name, form in candidates.items()},
            model,
            args,
        )
        for part, step in parts.items()
    ]
    print_table(rows)
    record = {"benchmark": "weaktr", **vars(args), "torch": torch.__version__, "rows": rows}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
