import copy
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from tiny import PLAIN, config, eager, rows

from dealseg.config import DealConfig, ModelConfig, OptimConfig
from dealseg.losses import depth_edge_alignment, grid_size
from dealseg.models import CamModel, CamOutput, create
from dealseg.models.base import CamFacts
from dealseg.training.added import AddedLosses, Step
from dealseg.training.cache import build_edges, build_features
from dealseg.training.optim import freeze_batch_norm, parameter_groups
from dealseg.training.samples import CachedSamples, ImageSamples, common_size
from dealseg.training.task import CamTask

SIZE = (64, 64)

DEALS = [
    eager(trust=False),
    eager(trust=True),
    eager(trust=False, cells=9, space="log", cam_scale="minmax", mu=1.5, gain=4.0),
    eager(trust=False, cam_scale="sigmoid", localised=True, divide=True),
]


def net_for(dataset, frozen_stages=2):
    net = create(
        "cam",
        classes=len(dataset.classes),
        frozen_stages=frozen_stages,
        generator=torch.Generator().manual_seed(0),
        **vars(ModelConfig()),
    )
    return freeze(net.train())


def freeze(net):
    freeze_batch_norm(net)
    return net


def step(net, chosen, batch, *, kind="metric", steps=10):
    """Return the loss of a training step and what was logged."""
    task = CamTask(net, chosen, kind, steps, SIZE)
    logged = {}
    task.log_dict = lambda values, **_: logged.update(values)
    return task.training_step(batch, 0), logged


def image_batch(dataset, indices=(0, 5, 9, 15)):
    size = common_size(dataset, 64)
    samples = ImageSamples(dataset, size, PLAIN, 0, tuple(range(len(dataset))))
    return torch.utils.data.default_collate([samples[0, index] for index in indices])


@pytest.fixture(scope="module")
def net(dataset):
    return net_for(dataset)


@pytest.fixture(scope="module")
def batch(dataset):
    return image_batch(dataset)


@pytest.mark.parametrize("deal", DEALS)
def test_the_loss_is_the_class_loss_plus_lambda_times_the_alignment(deal, net, batch):
    total, logged = step(net, config(deal=deal), batch)
    out = net(batch["image"].float() / 255)
    by_class = F.multilabel_soft_margin_loss(out.logits["cam"], batch["tags"])
    expected = depth_edge_alignment(
        out.cams["cam"],
        batch["depth"],
        batch["tags"],
        valid=batch["valid"],
        size=grid_size(*batch["depth"].shape[-2:], deal.cells),
        mu=deal.mu,
        space=deal.space,
        cam_scale=deal.cam_scale,
        gain=deal.gain,
        divide=deal.divide,
        localised=deal.localised,
        trust=out.logits["cam"].sigmoid() if deal.trust else None,
    ).mean()
    close = {"rtol": 1e-4, "atol": 1e-6}
    assert expected.abs() > 0.01
    torch.testing.assert_close(logged["loss/class_cam"], by_class.detach(), **close)
    torch.testing.assert_close(logged["deal/alignment"], -expected.detach(), **close)
    torch.testing.assert_close(logged["loss/deal"], 0.3 * expected.detach(), **close)
    torch.testing.assert_close(total, by_class + 0.3 * expected, **close)
    torch.testing.assert_close(logged["loss/total"], total.detach())


def test_the_class_loss_is_the_mean_of_softplus(net, batch):
    logits = net(batch["image"].float() / 255).logits["cam"].double()
    signed = torch.where(batch["tags"] > 0, -logits, logits)
    _, logged = step(net, config(losses="none"), batch)
    expected = signed.exp().log1p().mean().float()
    torch.testing.assert_close(logged["loss/class_cam"], expected.detach(), rtol=1e-4, atol=1e-6)


class TwoHeaded(CamModel):
    """Two kinds of logits, as some methods have."""

    default_backbone = "none"
    cams: ClassVar = {"fine": CamFacts("nothing")}
    label_cam = "fine"
    attach: ClassVar = {"deal": "fine"}
    score_logits = ("one", "two")

    def __init__(self):
        super().__init__(3, ModelConfig())

    def build(self, classes, config):
        pass

    def encode(self, image):
        return {"x": image}

    def decode(self, features, size):
        cams = features["x"].flatten(1)[:, :12].reshape(-1, 3, 2, 2)
        logits = {"one": cams.mean((-2, -1)), "two": 2 * cams.amax((-2, -1))}
        return CamOutput(logits, {"fine": cams})

    def head_parameters(self):
        return []


def test_every_kind_of_logits_has_a_class_loss_and_the_total_is_their_sum():
    features = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    tags = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    total, logged = step(
        TwoHeaded(), config(losses="none"), {"features.0.x": features, "tags": tags}
    )
    assert set(logged) == {"loss/class_one", "loss/class_two", "loss/total"}
    torch.testing.assert_close(total, logged["loss/class_one"] + logged["loss/class_two"])


def test_an_alignment_of_weight_zero_leaves_the_gradient_of_the_class_loss(dataset, batch):
    gradients = []
    for chosen in (config(losses="none"), config(deal=eager(weight=0.0))):
        net = net_for(dataset)
        step(net, chosen, batch)[0].backward()
        gradients.append(net.classifier.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_the_alignment_s_gradient_reaches_the_backbone_but_no_frozen_stage(dataset, batch):
    net = net_for(dataset)
    added, terms = AddedLosses(net, config(deal=eager()), "metric"), {}
    added.apply(terms, net(batch["image"].float() / 255), batch, SIZE, Step(0.0, 0, 0))
    terms["deal"].backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("backbone.blocks.3") for name in reached)
    assert all(p.grad is None for p in net.parameters() if not p.requires_grad)
    assert not any(name.startswith("backbone.blocks.0") for name in reached)


@pytest.mark.parametrize(
    ("deal", "expected"),
    [
        (DealConfig(weight=0.4, start=0.0, warmup=0.0), [0.4, 0.4, 0.4, 0.4, 0.4]),
        (DealConfig(weight=0.4, start=0.0, warmup=1.0), [0.0, 0.1, 0.2, 0.3, 0.4]),
        (DealConfig(weight=0.4, start=0.5, warmup=0.5), [0.0, 0.0, 0.0, 0.2, 0.4]),
        (DealConfig(weight=0.4, start=0.25, warmup=0.25), [0.0, 0.0, 0.4, 0.4, 0.4]),
        (DealConfig(weight=0.4, start=0.5, warmup=0.0), [0.0, 0.0, 0.4, 0.4, 0.4]),
    ],
)
def test_lambda_is_off_then_rises_then_stays(deal, expected):
    assert [deal.lambda_at(share / 4) for share in range(5)] == pytest.approx(expected)


def test_lambda_in_training_follows_the_optimiser_s_steps(trained):
    """Eight steps; 0.3 is reached after a quarter of them, and accumulation is no step."""
    deal = DealConfig(weight=0.3, start=0.0, warmup=0.25)
    first, second = rows(trained(config(deal=deal)))
    assert first["deal/lambda"] == pytest.approx((0 + 0.15 + 0.3 + 0.3) / 4, abs=1e-6)
    assert second["deal/lambda"] == pytest.approx(0.3, abs=1e-6)
    first, second = rows(trained(config(deal=deal, optim={"accumulate": 2})))
    assert first["deal/lambda"] == pytest.approx((0 + 0 + 0.3 + 0.3) / 4, abs=1e-6)
    assert (first["step"], second["step"]) == (2, 4)


def test_cached_features_and_edges_give_the_loss_of_the_images(dataset, tmp_path):
    size, chosen = common_size(dataset, 64), config(deal=eager())
    net = net_for(dataset)
    features = build_features(tmp_path / "f", dataset, net, size)
    edges = build_edges(dataset, chosen.deal, size, range(len(dataset)))
    tags = torch.stack([dataset.tags(index) for index in range(len(dataset))])
    cached = CachedSamples(features, tags, edges, None, 0.0, 0)
    indices = (0, 5, 9, 15)
    by_features = torch.utils.data.default_collate([cached[0, index] for index in indices])
    found, logged = step(freeze(net), chosen, by_features)
    expected, wanted = step(net, chosen, image_batch(dataset, indices))
    assert logged.keys() == wanted.keys()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    for name, value in logged.items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=5e-3)


def test_images_without_any_tag_cost_no_alignment_and_have_a_finite_gradient(dataset, batch):
    bare = {**batch, "tags": torch.zeros_like(batch["tags"])}
    net = net_for(dataset)
    total, logged = step(net, config(deal=eager()), bare)
    total.backward()
    assert logged["loss/deal"] == 0
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_images_without_valid_depth_cost_no_alignment(net, batch):
    blind = {**batch, "depth": batch["depth"] * torch.nan, "valid": batch["valid"] & False}
    total, logged = step(net, config(deal=eager()), blind)
    assert logged["loss/deal"] == 0
    assert total.isfinite()


def test_two_halves_of_a_batch_have_its_gradient_on_average(dataset):
    whole = image_batch(dataset, range(8))
    halves = [{k: v[start : start + 4] for k, v in whole.items()} for start in (0, 4)]
    net = net_for(dataset)
    other = copy.deepcopy(net)
    step(net, config(deal=eager()), whole)[0].backward()
    for half in halves:
        (step(freeze(other), config(deal=eager()), half)[0] / 2).backward()
    for (name, one), two in zip(net.named_parameters(), other.parameters(), strict=True):
        if one.grad is not None:
            scale = float(one.grad.abs().max())
            torch.testing.assert_close(two.grad, one.grad, rtol=0, atol=1e-4 * scale, msg=name)


def test_a_new_epoch_freezes_statistics_and_frozen_stages_only(dataset):
    for kept in (True, False):
        net = net_for(dataset)
        task = CamTask(net, config(freeze_batch_norm=kept), "metric", 10, SIZE)
        net.eval()
        with torch.random.fork_rng([]):
            task.on_train_epoch_start()
        assert net.training
        assert not net.backbone.blocks[0][0].training
        assert not net.backbone.bn1.training
        assert net.backbone.bn2.training == (not kept)


def test_dropout_s_seed_depends_on_seed_and_epoch_and_takes_large_seeds(dataset, monkeypatch):
    drawn = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (2**62, 0)):
        task = CamTask(net_for(dataset), config(seed=seed), "metric", 10, SIZE)
        monkeypatch.setattr(CamTask, "current_epoch", epoch)
        with torch.random.fork_rng([]):
            task.on_train_epoch_start()
            drawn.append(float(torch.rand(())))
    assert len(set(drawn)) == 4


def test_the_classifier_learns_faster_and_frozen_parameters_are_left_out(dataset):
    net = net_for(dataset)
    body, head = parameter_groups(net, OptimConfig(lr=0.01, head_lr_factor=7.0))
    assert (body["lr"], head["lr"]) == (0.01, pytest.approx(0.07))
    assert {id(p) for p in head["params"]} == {id(p) for p in net.classifier.parameters()}
    trainable = [p for p in net.parameters() if p.requires_grad]
    assert len(body["params"]) + len(head["params"]) == len(trainable)
    assert {id(p) for p in body["params"]} <= {id(p) for p in trainable}


@pytest.mark.parametrize("steps", range(1, 31))
@pytest.mark.parametrize("name", ["one-cycle", "cosine"])
def test_schedules_end_near_zero_never_exceed_the_peak_and_move_at_the_first_step(name, steps):
    class Line(TwoHeaded):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

    chosen = config(optim={"lr": 0.1, "schedule": name})
    found = CamTask(Line(), chosen, "metric", steps, SIZE).configure_optimizers()
    optimizer, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] > 1e-3
    assert max(rates) == pytest.approx(0.1, rel=0.1)
    assert rates[-1] <= rates[0]
    assert rates[-1] < 0.002 or steps < 20
