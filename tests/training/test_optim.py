from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from dealseg.config import ModelConfig, OptimConfig
from dealseg.errors import ConfigError
from dealseg.models.base import CamModel, CamOutput
from dealseg.training.optim import build_optimizer, build_schedule, epoch_lr, freeze_batch_norm

WEAKTR = OptimConfig(
    epochs=60,
    lr=7.5e-5,
    head_lr_factor=1.0,
    weight_decay=0.03,
    schedule="cosine-epochs",
    warmup_epochs=5,
    warmup_lr=1e-6,
    min_lr=1e-5,
    late=True,
)
SEAM = OptimConfig(
    optimiser="sgd", lr=0.01, head_lr_factor=10.0, momentum=5e-4, weight_decay=5e-4, schedule="poly"
)


class Net(CamModel):
    """A parameter of each kind: frozen, kernel, bias, norm, token, position, head."""

    default_backbone = "none"
    cams: ClassVar = {}

    def __init__(self):
        super().__init__(2, ModelConfig(pretrained=False))

    def build(self, classes, config):
        self.stem = nn.Conv2d(3, 4, 1).requires_grad_(config.pretrained)
        self.conv = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.token = nn.Parameter(torch.zeros(1, 2, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 6, 4))
        self.head = nn.Linear(4, classes)

    def encode(self, image):
        return {"stem": self.stem(image)}

    def decode(self, features, size):
        cells = self.norm(self.conv(features["stem"]))
        return CamOutput({}, {"cells": nn.functional.interpolate(cells, size)})

    def head_parameters(self):
        return list(self.head.parameters())


def rates(config, steps, steps_per_epoch=1, group=0):
    """Return the learning rate of every step."""
    optimizer = build_optimizer(Net(), config)
    schedule = build_schedule(optimizer, config, steps, steps_per_epoch)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[group]["lr"])
        optimizer.step()
        schedule.step()
    return found


def groups_by_name(config):
    """Return (learning rate, decay) of each trainable parameter by name."""
    net = Net()
    names = {id(p): name for name, p in net.named_parameters()}
    optimizer = build_optimizer(net, config)
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def timm_rates(epochs, tell):
    """Return timm's own rate in each epoch if its schedule is told `tell(epoch)` before it."""
    from timm.scheduler import CosineLRScheduler

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=7.5e-5)
    schedule = CosineLRScheduler(
        optimizer, t_initial=epochs, lr_min=1e-5, warmup_t=5, warmup_lr_init=1e-6
    )
    found = []
    for epoch in range(epochs):
        if tell(epoch) is not None:
            schedule.step(tell(epoch))
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_weaktr_s_late_cosine_has_the_rates_of_its_training():
    found = rates(WEAKTR, 60)
    published = [1e-6, 1e-6, 1.58e-5, 3.06e-5, 4.54e-5, 6.02e-5, 7.39e-5, 7.34e-5]
    assert found[:8] == pytest.approx(published, rel=1e-3)
    assert found[59] == pytest.approx(1.02e-5, rel=3e-3)
    assert max(found) == found[6]


@pytest.mark.parametrize("late", [True, False])
def test_the_cosine_by_epochs_is_timm_s(late):
    tell = (lambda epoch: epoch - 1 if epoch else None) if late else (lambda epoch: epoch)
    assert rates(replace(WEAKTR, late=late), 60) == pytest.approx(timm_rates(60, tell), rel=1e-12)


def test_without_the_delay_each_epoch_has_the_rate_that_the_late_one_has_an_epoch_later():
    late, right = rates(WEAKTR, 60), rates(replace(WEAKTR, late=False), 60)
    assert right[:-1] == late[1:]
    assert right[1] > late[1]


def test_the_cosine_by_epochs_is_constant_within_an_epoch():
    found = rates(WEAKTR, 60 * 3, steps_per_epoch=3)
    assert found == [rate for rate in rates(WEAKTR, 60) for _ in range(3)]


def test_a_training_without_warm_up_starts_at_its_peak():
    assert epoch_lr(replace(WEAKTR, warmup_epochs=0), 0) == pytest.approx(7.5e-5)


def test_poly_is_seam_s_share_of_steps_to_come_to_the_power():
    found = rates(SEAM, 50)
    assert found == pytest.approx([0.01 * (1 - i / 50) ** 0.9 for i in range(50)], rel=1e-12)


def test_poly_is_torch_s_own_polynomial():
    weights = [nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(weights, lr=0.01)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, 20, power=0.9)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates(SEAM, 20) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "poly", "cosine-epochs"])
def test_the_head_keeps_its_ratio_throughout(schedule):
    config = replace(WEAKTR, schedule=schedule, head_lr_factor=10.0)
    slow, fast = rates(config, 60), rates(config, 60, group=-1)
    assert fast == pytest.approx([10 * rate for rate in slow], rel=1e-9)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "poly", "cosine-epochs"])
def test_a_training_interrupted_at_any_step_goes_on_with_the_same_rates(schedule):
    config = replace(WEAKTR, schedule=schedule, epochs=12)
    whole = rates(config, 24, 2)
    optimizer = build_optimizer(Net(), config)
    schedule = build_schedule(optimizer, config, 24, 2)
    for _ in range(7):
        optimizer.step()
        schedule.step()
    state = optimizer.state_dict(), schedule.state_dict()
    optimizer = build_optimizer(Net(), config)
    schedule = build_schedule(optimizer, config, 24, 2)
    optimizer.load_state_dict(state[0])
    schedule.load_state_dict(state[1])
    resumed = []
    for _ in range(7, 24):
        resumed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert resumed == whole[7:]


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "poly", "cosine-epochs"])
def test_the_state_of_a_schedule_is_plain_data(schedule, tmp_path):
    config = replace(WEAKTR, schedule=schedule)
    optimizer = build_optimizer(Net(), config)
    state = build_schedule(optimizer, config, 60, 1).state_dict()
    torch.save(state, tmp_path / "state")
    loaded = torch.load(tmp_path / "state", weights_only=True)
    build_schedule(optimizer, config, 60, 1).load_state_dict(loaded)
    assert loaded.keys() == state.keys()


@pytest.mark.parametrize("steps", range(1, 12))
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "poly"])
def test_a_training_of_few_steps_starts_with_a_rate(schedule, steps):
    found = rates(OptimConfig(schedule=schedule), steps)
    assert all(0 < rate <= 5e-4 * (1 + 1e-9) for rate in found)
    assert max(found) > 1e-4


def test_adamw_on_two_groups_is_the_default():
    optimizer = build_optimizer(Net(), OptimConfig())
    body, head = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (body["betas"], body["eps"]) == ((0.9, 0.999), 1e-8)
    assert (body["lr"], head["lr"]) == (5e-4, 2.5e-3)
    assert body["weight_decay"] == head["weight_decay"] == 0.01


def test_decay_on_everything_reaches_biases_norms_and_tokens():
    found = groups_by_name(replace(WEAKTR, decay_all=True))
    assert {decay for _, decay in found.values()} == {0.03}
    assert {"token", "pos_embed", "norm.weight", "conv.bias"} <= found.keys()


def test_spared_from_decay_are_biases_norms_tokens_and_positions():
    found = groups_by_name(replace(WEAKTR, decay_all=False, head_lr_factor=10.0))
    decayed = {name for name, (_, decay) in found.items() if decay}
    assert decayed == {"conv.weight", "head.weight"}
    assert {decay for _, decay in found.values()} == {0.0, 0.03}
    assert found["head.bias"][0] == found["head.weight"][0] == pytest.approx(7.5e-4)
    assert found["token"][0] == found["conv.bias"][0] == 7.5e-5


@pytest.mark.parametrize("decay_all", [True, False])
def test_every_trainable_parameter_is_in_one_group(decay_all):
    net = Net()
    optimizer = build_optimizer(net, OptimConfig(decay_all=decay_all))
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    expected = [id(p) for p in net.parameters() if p.requires_grad]
    assert sorted(found) == sorted(expected)
    assert id(net.stem.weight) not in found


def test_a_network_that_is_all_head_has_one_group():
    net = Net()
    for parameter in (*net.conv.parameters(), *net.norm.parameters(), net.token, net.pos_embed):
        parameter.requires_grad_(False)
    assert [g["lr"] for g in build_optimizer(net, OptimConfig()).param_groups] == [2.5e-3]


def test_sgd_has_the_momentum_it_is_told():
    optimizer = build_optimizer(Net(), SEAM)
    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["momentum"] for group in optimizer.param_groups} == {5e-4}
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]


def test_one_cycle_leaves_the_momentum_of_sgd_alone():
    config = OptimConfig(optimiser="sgd", momentum=0.5)
    optimizer = build_optimizer(Net(), config)
    schedule = build_schedule(optimizer, config, 30, 10)
    for _ in range(15):
        optimizer.step()
        schedule.step()
    assert {group["momentum"] for group in optimizer.param_groups} == {0.5}


def descended(lr, momentum, steps=200):
    """Return how far a constant slope of 1 carries a weight."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    return -weight.item()


def test_a_tenth_of_the_rate_with_momentum_0_9_goes_as_far_as_seam_s_rate_with_next_to_none():
    assert descended(0.001, 0.9, 2000) == pytest.approx(descended(0.01, 5e-4, 2000), rel=0.01)


def test_frozen_batch_norms_keep_their_statistics_and_learn_their_scale():
    net = Net().train()
    freeze_batch_norm(net)
    net.norm(torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)) + 5)
    assert torch.equal(net.norm.running_mean, torch.zeros(4))
    assert net.norm.weight.requires_grad
    assert net.conv.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"optim.momentum must be in \[0, 1\), got 1.0"),
        ({"power": 0.0}, "optim.power must be > 0, got 0.0"),
        (
            {"schedule": "cosine-epochs", "epochs": 5},
            "optim.warmup_epochs must be less than the 5 optim.epochs, got 5",
        ),
        (
            {"schedule": "cosine-epochs", "lr": 1e-6, "warmup_lr": 1e-6},
            r"optim.min_lr must be in \[0, optim.lr = 1e-06\], got 1e-05",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        OptimConfig(**options)


def test_bounds_of_a_schedule_that_is_not_taken_do_not_matter():
    assert OptimConfig(epochs=1, lr=1e-7).schedule == "one-cycle"
