"""Training and labelling on a device that is not the CPU, of which these tests pretend one."""

import pytest
import torch
from away import AWAY, Away, moved, second_device
from tiny import config, eager

from dealseg.config import IslConfig
from dealseg.labeling import LabelOptions, score_image
from dealseg.models import METHODS, create
from dealseg.training.task import CamTask

BACKBONES = {"cam": "test_efficientnet", "weaktr": "test_vit", "seam": "test_efficientnet"}
SIZE = (64, 96)


def network(method):
    return create(method, classes=3, backbone=BACKBONES[method], pretrained=False).train()


def stepped(net, method, samples, batch):
    """Return the loss of a training step with every added loss, and what was logged."""
    isl = IslConfig(samples=samples)
    every = config("full", method=method, losses="deal,isl,fsl", deal=eager(), isl=isl)
    task, logged = CamTask(net, every, "metric", 10, SIZE), {}
    task.log_dict = lambda values, **_: logged.update(values)
    torch.manual_seed(0)  # of dropout
    loss = task.training_step(batch, 0)
    loss.backward()
    return loss.detach(), logged


def test_every_method_is_here():
    assert set(BACKBONES) == set(METHODS)


def test_two_devices_do_not_mix(monkeypatch):
    with second_device(monkeypatch):
        there = Away(torch.ones(3))
        assert (there + torch.zeros((), device=AWAY)).device == AWAY
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.zeros(3)
        assert torch.equal(there.cpu() + torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize("samples", [10, 0])
@pytest.mark.parametrize("method", sorted(BACKBONES))
def test_a_training_step_stays_on_the_device_and_has_the_same_numbers(method, samples, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, 3, *SIZE), generator=generator, dtype=torch.uint8)
    depth = 1 + torch.rand(3, 1, *SIZE, generator=generator)
    tags = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0]])
    batch = {"image": image, "tags": tags, "depth": depth, "valid": depth > 1.1}
    here, there = network(method), moved(network(method))
    expected, figures = stepped(here, method, samples, batch)
    with second_device(monkeypatch):
        away = {name: Away(value) for name, value in batch.items()}
        loss, logged = stepped(there, method, samples, away)
    torch.testing.assert_close(loss.inner, expected)
    assert logged.keys() == figures.keys()
    for name, value in logged.items():
        assert value.device == AWAY, name
        torch.testing.assert_close(value.inner, figures[name])
    pairs = zip(here.named_parameters(), there.parameters(), strict=True)
    for (name, one), other in pairs:
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(other.grad.inner, one.grad, msg=name)


@pytest.mark.parametrize("tags", [None, torch.tensor([1.0, 0, 1]), torch.zeros(3)])
@pytest.mark.parametrize("method", sorted(BACKBONES))
def test_masks_come_back_from_the_device(method, tags, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, 50, 70), generator=generator, dtype=torch.uint8)
    options = {"long_side": 64, "options": LabelOptions()}
    expected = score_image(network(method).eval(), image, tags, **options)
    there = moved(network(method).eval())
    with second_device(monkeypatch):
        found = score_image(there, image, tags, **options)
    for part in ("winner", "score", "tag_scores"):
        assert getattr(found, part).device.type == "cpu"
    assert (found.winner == expected.winner).float().mean() > 0.98
    torch.testing.assert_close(found.score, expected.score, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.tag_scores, expected.tag_scores)
