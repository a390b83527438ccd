"""Optimisers and schedules; `docs/recipes.md` says which the original trainings took, and why."""

import math
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from dealseg.config import OptimConfig
from dealseg.models import CamModel
from dealseg.models.segmenter import Segmenter

SHORTEST_CYCLE = 10
"""Steps of a training below which one-cycle has no room to rise: its schedule is cosine then."""


def build_optimizer(model: CamModel | Segmenter, config: OptimConfig) -> torch.optim.Optimizer:
    """Return AdamW or SGD over the trainable parameters; what starts from scratch learns faster."""
    groups = parameter_groups(model, config)
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def parameter_groups(model: CamModel | Segmenter, config: OptimConfig) -> list[dict[str, Any]]:
    """Return the trainable parameters: the backbone's, and the head's with a higher rate.

    Each is split in two where some are spared from weight decay.
    """
    fast = {id(p) for p in model.head_parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spared = not (config.decay_all or _is_matrix(name, parameter))
            groups.setdefault((id(parameter) in fast, spared), []).append(parameter)
    return [_group(members, *kind, config) for kind, members in sorted(groups.items())]


def _group(
    members: list[nn.Parameter], fast: bool, spared: bool, config: OptimConfig
) -> dict[str, Any]:
    rate = config.lr * (config.head_lr_factor if fast else 1.0)
    group = {"params": members, "lr": rate}
    return {**group, "weight_decay": 0.0} if spared else group


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Tell weights of linear layers and convolutions from biases, norms, tokens and positions."""
    return parameter.ndim >= 2 and name.endswith("weight")


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep the statistics of every batch norm as they are (its scale and shift still learn)."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def build_schedule(
    optimizer: torch.optim.Optimizer, config: OptimConfig, steps: int, steps_per_epoch: int
) -> LRScheduler:
    """Return the schedule, to be stepped after each step of the optimiser.

    All groups keep their ratio to each other throughout.

    Args:
        optimizer: what it drives.
        config: which schedule.
        steps: of the whole training.
        steps_per_epoch: of the optimiser, in each epoch.
    """
    if config.schedule == "poly":
        return LambdaLR(optimizer, partial(_poly, steps=steps, power=config.power))
    if config.schedule == "cosine-epochs":
        return LambdaLR(
            optimizer, partial(_cosine_epochs, config=config, steps_per_epoch=steps_per_epoch)
        )
    # Torch's one-cycle divides by zero at 5 steps and learns nothing at 1.
    if config.schedule == "cosine" or steps < SHORTEST_CYCLE:
        return CosineAnnealingLR(optimizer, steps)
    # One-cycle would overwrite SGD's momentum by its own, 0.95 to 0.85.
    return OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=0.2,
        cycle_momentum=config.optimiser == "adamw",
    )


def _poly(step: int, *, steps: int, power: float) -> float:
    """Return the share of the peak rate: that of the steps to come, to a power (SEAM: 0.9)."""
    return float(max(0.0, 1 - step / steps) ** power)


def _cosine_epochs(step: int, *, config: OptimConfig, steps_per_epoch: int) -> float:
    """Return the share of the peak rate at a step."""
    epoch = step // max(1, steps_per_epoch)
    return epoch_lr(config, max(0, epoch - 1) if config.late else epoch) / config.lr


def epoch_lr(config: OptimConfig, epoch: int) -> float:
    r"""Return the backbone's learning rate that timm's cosine gives for an epoch.

    $$ r_e = \begin{cases} r_w + (r - r_w) e / w & e < w \\
    r_m + (r - r_m) (1 + \cos(\pi e / E)) / 2 & \text{else} \end{cases} $$

    with peak r, warm-up rate r_w over w epochs, least rate r_m and E epochs. The cosine counts
    from the first epoch, not from the warm-up's end, so that the peak is not quite reached.

    Source: `CosineLRScheduler` of timm without warm-up prefix, as in DeiT's training. There it is
    told the epoch that has just ended, so that the rate lags an epoch behind and the first is used
    twice: `late` of :class:`dealseg.config.OptimConfig`.
    """
    if epoch < config.warmup_epochs:
        rise = (config.lr - config.warmup_lr) / config.warmup_epochs
        return config.warmup_lr + rise * epoch
    turn = math.pi * min(epoch, config.epochs) / config.epochs
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(turn)) / 2
