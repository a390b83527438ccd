"""Start a whole network from a checkpoint: official weights, own ones, or a backbone's."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dealseg.errors import CheckpointError
from dealseg.models.base import CamModel
from dealseg.models.inspecting import read_network, recognise
from dealseg.models.plain_vit import as_map
from dealseg.models.registry import METHODS
from dealseg.models.weaktr import WeakTr

LEAST_SHARE = 0.5
"""Share of the backbone's parameters that must be in a checkpoint."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitReport:
    """What a checkpoint filled.

    Attributes:
        path: the checkpoint.
        kind: what it is.
        loaded: names of the tensors that come from it.
        adapted: those of them that were made to fit, and how.
        skipped: tensors that stay as they start, and why.
    """

    path: str
    kind: str
    loaded: tuple[str, ...]
    adapted: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]

    def line(self) -> str:
        """Return the report on one line."""
        count = len(self.loaded) + len(self.skipped)
        parts = [f"{self.path} ({self.kind}): {len(self.loaded)} of {count} tensors loaded"]
        parts += [f"{name} {how}" for name, how in self.adapted]
        if self.skipped:
            shown = ", ".join(f"{name} ({why})" for name, why in self.skipped[:4])
            more = f" and {len(self.skipped) - 4} more" if len(self.skipped) > 4 else ""
            parts.append(f"from scratch: {shown}{more}")
        return "; ".join(parts)


def initialise(model: CamModel, path: Path) -> InitReport:
    """Copy every tensor of a checkpoint whose name and shape fit the network; log what was done.

    A head for other classes stays as it starts. WeakTr's class tokens are made for other classes
    by repeating their mean, so that a plain ViT's single token is repeated, as WeakTr does with
    DeiT's; positions are resized (bicubic) to the network's grid.

    Args:
        model: network to fill, in place.
        path: checkpoint (also a plain backbone's), or run folder.

    Raises:
        CheckpointError: if it cannot be read, or less than half of the backbone's parameters fit;
            the network is left as it was.
    """
    content = read_network(path)
    kind = recognise(content).kind
    own = model.state_dict()
    state = _renamed(content, own)
    adapted: dict[str, str] = {}
    if isinstance(model, WeakTr):
        state, adapted = _fit_tokens(model, state)
    fitting = {n: state[n] for n, v in own.items() if n in state and state[n].shape == v.shape}
    _require_enough(model, fitting, f"{path} ({kind})")
    model.load_state_dict({**own, **fitting})
    report = InitReport(
        path=str(path),
        kind=kind,
        loaded=tuple(fitting),
        adapted=tuple((name, how) for name, how in adapted.items() if name in fitting),
        skipped=tuple(_skipped(own, state, fitting)),
    )
    _LOG.log(logging.WARNING if report.skipped else logging.INFO, report.line())
    return report


def _renamed(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under the names of which most fit: its own, or a backbone's."""
    prefix = "backbone."
    variants = [
        dict(state),
        {prefix + name: value for name, value in state.items()},
        {name.removeprefix(prefix): value for name, value in state.items()},
    ]
    return max(variants, key=lambda each: sum(name in own for name in each))


def _fit_tokens(
    model: WeakTr, state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Make class tokens and positions of a WeakTr or a plain ViT fit the network.

    A table of positions holds those of the class tokens, or of class tokens and registers, or
    of no token, and then those of the patches.
    """
    tokens, table = state.get("cls_token"), state.get("pos_embed")
    if tokens is None or table is None or tokens.shape[-1] != model.cls_token.shape[-1]:
        return state, {}
    count, registers = tokens.shape[1], state.get("reg_token")
    extra = 0 if registers is None else registers.shape[1]
    side, first = _square(table.shape[1], (count, count + extra, 0))
    if side == 0:
        return state, {}
    at_tokens = table[:, :count] if first else torch.zeros_like(tokens)
    if registers is not None and first > count:
        state = {**state, "reg_token": registers + table[:, count:first]}
    how: dict[str, str] = {}
    if count != model.classes:
        tokens, at_tokens = (_repeated(each, model.classes) for each in (tokens, at_tokens))
        how["cls_token"] = f"is the mean of {count} class token(s), repeated {model.classes} times"
    patches, grid = table[:, first:], model.patch_embed.grid_size
    if (side, side) != grid:
        patches = F.interpolate(as_map(patches, (side, side)), grid, mode="bicubic").flatten(2).mT
        how["pos_embed"] = f"is resized from {side}x{side} to {grid[0]}x{grid[1]} patches"
    return {**state, "cls_token": tokens, "pos_embed": torch.cat([at_tokens, patches], 1)}, how


def _square(count: int, prefixes: tuple[int, ...]) -> tuple[int, int]:
    """Return side of the patches' grid, and the positions before them; 0, 0 if none fits."""
    for prefix in prefixes:
        side = round(max(count - prefix, 0) ** 0.5)
        if side and side**2 == count - prefix:
            return side, prefix
    return 0, 0


def _repeated(tokens: Tensor, count: int) -> Tensor:
    return tokens.mean(dim=1, keepdim=True).expand(-1, count, -1)


def _require_enough(model: CamModel, fitting: Mapping[str, Tensor], source: str) -> None:
    """Refuse a checkpoint of another network."""
    heads = {id(parameter) for parameter in model.head_parameters()}
    sizes = {n: p.numel() for n, p in model.named_parameters() if id(p) not in heads}
    share = sum(size for name, size in sizes.items() if name in fitting) / max(
        1, sum(sizes.values())
    )
    if share < LEAST_SHARE:
        raise CheckpointError(
            f"{source}: only {share:.0%} of the backbone's parameters fit this network "
            f"({_method_name(model)}); `dealseg weights inspect` says what fits it, perhaps "
            "another --method or --model.backbone"
        )


def _method_name(model: CamModel) -> str:
    """Return what users call a network; of one that is not registered, its class."""
    kind = type(model)
    return next((f"method {name}" for name, k in METHODS.items() if k is kind), kind.__name__)


def _skipped(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], fitting: Mapping[str, Tensor]
) -> list[tuple[str, str]]:
    """Return the tensors that stay as they start, and why; batch norms' counters aside."""
    names = [n for n in own if n not in fitting and not n.endswith("num_batches_tracked")]
    return [
        (name, f"{list(state[name].shape)} in the file, {list(own[name].shape)} here")
        if name in state
        else (name, "not in the file")
        for name in names
    ]
