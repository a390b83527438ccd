"""What a checkpoint is, and what of it which method can load; nothing in it is ever run."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor

from dealseg.errors import CheckpointError
from dealseg.models import resnet38d
from dealseg.models.guessing import guess_backbone
from dealseg.models.registry import METHODS
from dealseg.models.runs import CONFIG_FILE, WEIGHTS_FILE, read_config
from dealseg.models.weights import EMBEDDED_BACKBONE, read_state

LAST_CHECKPOINT = "last.ckpt"
"""What a training that is not finished goes on from."""

OLD_FUSION = (
    "its attention fusion takes other inputs than that of WeakTr's current code (V3): loaded there "
    "with strict=False it is left out in silence (issue #20 of hustvl/WeakTr: 7 % mIoU with an old "
    "checkpoint); as --init the rest loads and the fusion starts from scratch: train before use"
)
SAME_NAMES = (
    "a checkpoint of WeakTr's June 2023 code (V2) may have the same tensors, but was trained with "
    "other inputs of the attention fusion: if its masks are bad without training, it is one"
)

State = Mapping[str, Tensor]


class Found(NamedTuple):
    """What a state dict was recognised as; see :class:`CheckpointFacts`."""

    kind: str
    backbone: str | None = None
    classes: int | None = None
    fits: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckpointFacts:
    """What is to be known of a checkpoint before it is used.

    Attributes:
        path: the file, or run folder.
        kind: what it is, in words.
        backbone: the network inside, by the name `--model.backbone` takes; None if not recognised.
        classes: foreground classes of its head; None without one.
        tensors: how many there are.
        parameters: numbers in them, without those of batch norms' statistics.
        fits: for each method that can use it, the options that do so; FILE stands for `path`.
        notes: what else is to be known.
    """

    path: str
    kind: str
    backbone: str | None
    classes: int | None
    tensors: int
    parameters: int
    fits: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return {**asdict(self), "fits": dict(self.fits), "notes": list(self.notes)}

    def text(self) -> str:
        """Return the facts for a terminal; methods that cannot use it are named as well."""
        usable = dict(self.fits)
        rows = [
            ("what", self.kind),
            ("backbone", self.backbone or "not recognised"),
            ("classes", "no head of ours" if self.classes is None else str(self.classes)),
            ("tensors", f"{self.tensors} ({self.parameters:,} parameters)"),
            *((name, usable.get(name, "cannot load it")) for name in METHODS),
            *(("note", note) for note in self.notes),
        ]
        return "\n".join([self.path, *(_row(name, value) for name, value in rows)])


def inspect(path: Path) -> CheckpointFacts:
    """Say what a checkpoint or run folder is, and what of it which method can load.

    Raises:
        CheckpointError: if it cannot be read, or holds objects that only running code could make.
    """
    state = read_network(path)
    found = _of_run(path, state) or recognise(state)
    return CheckpointFacts(
        path=str(path),
        kind=found.kind,
        backbone=found.backbone,
        classes=found.classes,
        tensors=len(state),
        parameters=sum(value.numel() for name, value in state.items() if not _is_statistic(name)),
        fits=found.fits,
        notes=found.notes,
    )


def read_network(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, or of a run folder's weights.

    Raises:
        CheckpointError: if there are none, or they cannot be read.
    """
    if path.suffix == ".params" and path.is_file():
        return resnet38d.converted(path)
    if not path.is_dir():
        return read_state(path)
    files = [path / name for name in (WEIGHTS_FILE, LAST_CHECKPOINT)]
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        raise CheckpointError(f"{path}: neither a checkpoint nor a run folder with {WEIGHTS_FILE}")
    return read_state(file)


def recognise(state: State) -> Found:
    """Say what a state dict is, by the names and shapes of its tensors."""
    for recogniser in _RECOGNISERS:
        found = recogniser(state)
        if found:
            return found
    first = ", ".join(list(state)[:3]) or "none"
    return Found("not recognised", notes=(f"its first tensors: {first}",))


def _row(name: str, value: str) -> str:
    return fill(value, 100, initial_indent=f"  {name:<9} ", subsequent_indent=" " * 12)


def _is_statistic(name: str) -> bool:
    return name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")


def _of_run(path: Path, state: State) -> Found | None:
    """Recognise a run folder, or the weights in it."""
    folder = path if path.is_dir() else path.parent
    if path not in (folder, folder / WEIGHTS_FILE) or not (folder / CONFIG_FILE).is_file():
        return None
    config, facts = read_config(folder)
    name = config.model.backbone or METHODS[config.method].default_backbone
    finished = "" if (folder / WEIGHTS_FILE).is_file() else ", not finished"
    return Found(
        f"run of dealseg, method {config.method}{finished}",
        name,
        len(facts.classes),
        _fits(config.method, name, state),
        (f"classes: {', '.join(facts.classes)}",),
    )


def _fits(method: str, backbone: str | None, state: State) -> tuple[tuple[str, str], ...]:
    """Say how a method's own weights are loaded, by it and by others with the same backbone."""
    whole = (method, _init(method, backbone))
    bare = {name.removeprefix("backbone."): value for name, value in state.items()}
    if backbone is None or guess_backbone(bare) is None:
        return (whole,)
    part = "backbone without class tokens and positions" if method == "weaktr" else "backbone"
    others = [name for name in _takers(bare) if name != method]
    return (whole, *((name, _init(name, backbone, part)) for name in others))


def _takers(backbone: State) -> tuple[str, ...]:
    """Return the methods that work on a backbone of timm whose name is known."""
    return ("cam", "weaktr") if "blocks.0.attn.qkv.weight" in backbone else ("cam", "seam")


def _init(method: str, backbone: str | None, part: str = "whole network") -> str:
    given = f" --model.backbone {backbone}" if backbone else ""
    return f"{part}: --method {method}{given} --init FILE"


def _weights(method: str, backbone: str) -> str:
    return f"backbone: --method {method} --model.backbone {backbone} --model.weights FILE"


def _weaktr(state: State) -> Found | None:
    token, head = state.get("cls_token"), state.get("head.weight")
    if token is None or head is None or head.ndim != 4 or "blocks.0.attn.qkv.weight" not in state:
        return None
    backbone, fusion = guess_backbone(state), "adaptive_attention_fusion"
    kind = "WeakTr checkpoint"
    if f"{fusion}.fc.0.weight" in state:
        kind, note = f"{kind}, April 2023 (V1)", OLD_FUSION
    elif f"{fusion}.attn_feat_ffn.0.weight" in state:
        kind, note = f"{kind}, current code (V3)", SAME_NAMES
    else:
        kind, note = f"{kind} without a known attention fusion", OLD_FUSION
    return Found(kind, backbone, token.shape[1], _fits("weaktr", backbone, state), (note,))


def _resnet38d(state: State) -> Found | None:
    """Recognise the wide ResNet-38 of PSA and SEAM, with any of its heads."""
    if "conv1a.weight" not in state or "b7.conv_branch2a.weight" not in state:
        return None
    name, head = resnet38d.NAME, state.get("fc8.weight")
    only = (("seam", _weights("seam", name)),)
    if "f8_5.weight" in state:
        note = "AffinityNet refines CAMs and makes none; its own layers are left out"
        return Found("AffinityNet of PSA or SEAM on ResNet-38", name, None, only, (note,))
    if head is None:
        return Found("ResNet-38 (resnet38d) without a head for CAMs", name, None, only)
    if "f9.weight" not in state:
        note = "its classifier has no background channel and is left out"
        return Found("CAM network of PSA on ResNet-38", name, len(head), only, (note,))
    note = "with another number of classes, fc8 starts anew"
    fits = (("seam", _init("seam", name)),)
    return Found("SEAM checkpoint on ResNet-38", name, len(head) - 1, fits, (note,))


def _own_network(state: State) -> Found | None:
    """Recognise weights of our own methods on a timm backbone."""
    prefix = "backbone."
    backbone = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    if not backbone:
        return None
    name = guess_backbone(backbone)
    if "classifier.weight" in state:
        method, classes = "cam", len(state["classifier.weight"])
    elif "fc8.weight" in state and "f9.weight" in state:
        method, classes = "seam", len(state["fc8.weight"]) - 1
    else:
        return None
    return Found(f"weights of dealseg, method {method}", name, classes, _fits(method, name, state))


def _embedded(state: State) -> Found | None:
    if "_conv_stem.weight" not in state:
        return None
    with torch.device("meta"):
        own = timm.create_model(EMBEDDED_BACKBONE).state_dict()
    if [value.shape for value in state.values()] != [value.shape for value in own.values()]:
        return None
    note = "read by its order; it is what --model.backbone takes without --model.weights"
    return Found("the embedded ImageNet weights", EMBEDDED_BACKBONE, None, (), (note,))


def _timm(state: State) -> Found | None:
    """Recognise the state dict of a timm backbone."""
    name = guess_backbone(state)
    vit = "blocks.0.attn.qkv.weight" in state and "patch_embed.proj.weight" in state
    if name is None:
        if not vit:
            return None
        width = state["patch_embed.proj.weight"].shape
        return Found(f"ViT of width {width[0]} with patches of {width[-1]} pixels, no name known")
    fits = tuple((method, _weights(method, name)) for method in _takers(state))
    note = "other networks of timm may have the same names and shapes"
    kind = "ViT (DeiT, timm)" if vit else "CNN of timm or torchvision"
    return Found(f"backbone: {kind}", name, None, fits, (note,))


_RECOGNISERS: tuple[Callable[[State], Found | None], ...] = (
    _weaktr,
    _resnet38d,
    _own_network,
    _embedded,
    _timm,
)
