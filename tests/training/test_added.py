"""DEAL, ISL and FSL on the CAMs of a method: what is added, where it attaches, what it reaches."""

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from tiny import config, eager
from torch import nn

from dealseg.config import FslConfig, IslConfig, ModelConfig
from dealseg.losses import Alignment, feature_similarity, importance_sampling, predictions_from_cams
from dealseg.models import CamModel, CamOutput
from dealseg.models.base import CamFacts
from dealseg.training.added import AddedLosses, Step, attached_cam, colours_at

SIZE = (32, 48)
START = Step(0.0, 0, 0)


class TwoMaps(CamModel):
    """A map of logits with a background channel at stride 4, and a detached copy without."""

    default_backbone = "none"
    cams: ClassVar = {
        "logits": CamFacts("everything", background=True),
        "copy": CamFacts("nothing", signed=False),
    }
    label_cam = "copy"
    attach: ClassVar = {"deal": "logits", "isl": "logits", "fsl": "logits"}
    score_logits = ("pooled",)
    isl_mixes = ("class_pooled", 0.5)

    def build(self, classes, config):
        self.mix = nn.Conv2d(3, 1 + classes, 1)

    def encode(self, image):
        return {"x": F.avg_pool2d(image, 4)}

    def decode(self, features, size):
        maps = 5 * self.mix(features["x"])
        pooled = maps[:, 1:].mean((-2, -1))
        return CamOutput({"pooled": pooled}, {"logits": maps, "copy": maps[:, 1:].detach()})

    def head_parameters(self):
        return list(self.mix.parameters())


@pytest.fixture
def net():
    return TwoMaps(3, ModelConfig(), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8)
    depth = 1 + torch.rand(2, 1, *SIZE, generator=generator)
    tags = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    return {"image": image, "tags": tags, "depth": depth, "valid": depth > 0}


def added(net, batch, *, step=START, **options):
    """Return the method's own terms, those with the added ones, and the figures."""
    output = net(batch["image"].float() / 255)
    own = net.losses([output], batch["tags"], SIZE)
    terms = dict(own)
    figures = AddedLosses(net, config(**options), "metric").apply(terms, output, batch, SIZE, step)
    return output, own, terms, figures


def test_none_adds_nothing(net, batch):
    _, own, terms, figures = added(net, batch, losses="none")
    assert terms == own
    assert figures == {}


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_importance_sampling_shares_the_class_term_s_weight(weight, net, batch):
    """Exactly convex for a term that one whole image makes; here that is half of the term."""
    isl = IslConfig(weight=weight, samples=0)
    output, own, terms, figures = added(net, batch, losses="isl", isl=isl)
    exact = importance_sampling(output.cams["logits"][:, 1:], batch["tags"], samples=None).mean()
    torch.testing.assert_close(terms["class_pooled"], (1 - weight) * own["class_pooled"])
    torch.testing.assert_close(terms["isl"], weight * 0.5 * exact)
    torch.testing.assert_close(figures["isl/loss"], exact)


def test_drawn_cells_depend_on_seed_epoch_and_batch_alone(net, batch):
    def loss(seed=0, step=START):
        torch.manual_seed(int(torch.randint(99, ())))
        return float(added(net, batch, losses="isl", seed=seed, step=step)[2]["isl"].detach())

    first = loss()
    assert loss() == first
    assert len({first, loss(seed=1), loss(step=Step(0, 1, 0)), loss(step=Step(0, 0, 1))}) == 4


def test_the_global_random_state_is_untouched_by_drawing(net, batch):
    before = torch.get_rng_state()
    added(net, batch, losses="isl,fsl,deal")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("window", [0.0, 3.0])
def test_feature_similarity_takes_pixels_and_makes_them_cells(window, net, batch):
    """40 pixels are 10 cells at stride 4; the background channel is the predictions' own."""
    fsl = FslConfig(weight=0.7, sigma=40.0, mu=2.0, window=window)
    output, _, terms, figures = added(net, batch, losses="fsl", fsl=fsl)
    colours = colours_at(batch["image"].float() / 255, (8, 12))
    cams = predictions_from_cams(output.cams["logits"][:, 1:], batch["tags"])
    expected = feature_similarity(colours, cams, mu=2.0, sigma=10.0, window=window or None).mean()
    torch.testing.assert_close(terms["fsl"], 0.7 * expected)
    torch.testing.assert_close(figures["fsl/loss"], expected)
    assert expected.abs() > 1e-3


def test_colours_from_the_cache_are_taken_as_they_are(net, batch):
    colours = (colours_at(batch["image"].float() / 255, (8, 12)) * 255).round().to(torch.uint8)
    direct = added(net, batch, losses="fsl")[2]["fsl"]
    cached = added(net, {**batch, "colours": colours}, losses="fsl")[2]["fsl"]
    torch.testing.assert_close(cached, direct, rtol=0.02, atol=1e-4)
    other = added(net, {**batch, "colours": 0 * colours}, losses="fsl")[2]["fsl"]
    assert (other - direct).abs() > 1e-3


def test_a_cell_s_colour_is_the_mean_of_its_pixels_not_one_of_them():
    image = torch.zeros(1, 3, 8, 8)
    image[..., ::2] = 1
    assert (colours_at(image, (2, 2)) - 0.5).abs().max() < 0.05


def test_every_figure_is_on_the_device_of_the_maps(net, batch, monkeypatch):
    """Processes on GPUs sum them by NCCL, which takes no tensor of the CPU."""
    away = torch.zeros(2, device="meta"), *(torch.zeros((), device="meta") for _ in range(3))
    monkeypatch.setattr("dealseg.training.added.align_cams", lambda *_, **__: Alignment(*away))
    figures = added(net, batch, losses="deal")[3]
    assert {name: value.device.type for name, value in figures.items()} == dict.fromkeys(
        figures, "meta"
    )
    assert "deal/lambda" in figures


def test_losses_come_together_and_each_keeps_its_own_value(net, batch):
    alone = {}
    for name in ("deal", "isl", "fsl"):
        alone[name] = added(net, batch, losses=name, deal=eager())[2][name]
    every = added(net, batch, losses="deal,isl,fsl", deal=eager())[2]
    assert set(every) == {"class_pooled", "deal", "isl", "fsl"}
    for name, value in alone.items():
        torch.testing.assert_close(every[name], value)


@pytest.mark.parametrize("loss", ["deal", "isl", "fsl"])
def test_a_loss_attaches_where_the_method_or_else_the_user_says(loss, net, batch):
    group = type(getattr(config(), loss))
    assert attached_cam(TwoMaps, config(), loss) == "logits"
    chosen = config(losses=loss, **{loss: group(cam="copy")})
    assert attached_cam(TwoMaps, chosen, loss) == "copy"
    terms = added(net, batch, losses=loss, **{loss: group(cam="copy")})[2]
    assert not terms[loss].requires_grad
    assert added(net, batch, losses=loss)[2][loss].requires_grad
