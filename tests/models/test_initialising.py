"""Starting a network from a checkpoint: what fits is copied, the rest is said, others refused."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dealseg.config import ModelConfig
from dealseg.errors import CheckpointError
from dealseg.models import create
from dealseg.models.initialising import initialise
from dealseg.models.weaktr import WeakTr
from fake_networks import write_run

TINY = "deit_tiny_patch16_224"
SHARED = Path(os.environ.get("DEALSEG_SHARED", Path(__file__).parents[3] / "shared"))
SHAPES = SHARED / "goldens" / "weaktr_state_shapes.json"


def network(method, classes, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return create(method, classes=classes, pretrained=False, generator=generator, **options).eval()


def changed(model, seed=9):
    """Return a state dict of other numbers for all of a network's tensors."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value
        if not value.is_floating_point()
        else torch.rand(value.shape, generator=generator)
        for name, value in model.state_dict().items()
    }


def saved(path, state, wrapper="model"):
    torch.save({wrapper: state, "epoch": 1}, path)
    return path


def vit(**options):
    """A small ViT whose tokens and positions are no zeros."""
    net = timm.create_model("test_vit", num_classes=7, **options)
    state = net.state_dict()
    generator = torch.Generator().manual_seed(3)
    for name in ("cls_token", "pos_embed"):
        state[name] = torch.randn(state[name].shape, generator=generator)
    return state


@pytest.mark.parametrize(
    ("method", "backbone"),
    [("cam", "test_resnet"), ("seam", "test_resnet"), ("weaktr", "test_vit")],
)
def test_a_network_of_the_same_classes_is_copied_whole(tmp_path, method, backbone):
    model = network(method, 3, backbone=backbone)
    state = changed(model)
    report = initialise(model, saved(tmp_path / "a.pth", state))
    assert set(report.loaded) == set(state)
    assert report.skipped == report.adapted == ()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(
    ("method", "heads"),
    [("cam", {"classifier.weight", "classifier.bias"}), ("seam", {"fc8.weight"})],
)
def test_a_head_for_other_classes_stays_as_it_starts_and_is_said(tmp_path, method, heads):
    source, model = (network(method, count, backbone="test_resnet") for count in (5, 3))
    state, before = changed(source), {n: v.clone() for n, v in model.state_dict().items()}
    report = initialise(model, saved(tmp_path / "a.pth", state, "state_dict"))
    assert {name for name, _ in report.skipped} == heads
    for name, why in report.skipped:
        assert why == f"{list(state[name].shape)} in the file, {list(before[name].shape)} here"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in heads else state[name]), name


def test_class_tokens_for_other_classes_are_the_mean_of_the_file_s(tmp_path):
    source, model = (network("weaktr", count, backbone="test_vit") for count in (5, 3))
    state = changed(source)
    report = initialise(model, saved(tmp_path / "a.pth", state))
    assert {name for name, _ in report.skipped} == {"head.weight", "head.bias"}
    assert dict(report.adapted) == {
        "cls_token": "is the mean of 5 class token(s), repeated 3 times"
    }
    tokens = state["cls_token"].mean(1, keepdim=True)
    assert torch.equal(model.cls_token, tokens.expand(-1, 3, -1))
    places = state["pos_embed"]
    assert torch.equal(
        model.pos_embed[:, :3], places[:, :5].mean(1, keepdim=True).expand(-1, 3, -1)
    )
    assert torch.equal(model.pos_embed[:, 3:], places[:, 5:])
    assert torch.equal(model.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])


@pytest.mark.parametrize("size", [160, 224])
def test_a_plain_vit_starts_weaktr_as_from_deit_does(tmp_path, size):
    state = vit(img_size=size)
    model = network("weaktr", 4, backbone="test_vit")
    wanted = WeakTr.from_deit(state, classes=4, config=ModelConfig(backbone="test_vit"))
    report = initialise(model, saved(tmp_path / "a.pth", state))
    for name, value in wanted.state_dict().items():
        if not name.startswith(("head.", "adaptive_attention_fusion.")):
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-6)
    assert ("pos_embed" in dict(report.adapted)) == (size != 160)


def test_the_registers_of_a_vit_are_kept_and_its_class_token_repeated(tmp_path):
    name = "vit_small_patch14_reg4_dinov2"
    options = {"img_size": 56, "depth": 1}
    state = timm.create_model(name, num_classes=0, **options).state_dict()
    state["reg_token"] = torch.randn(state["reg_token"].shape)
    model = network("weaktr", 3, backbone=name)
    full = {**model.state_dict(), **state}
    initialise(model, saved(tmp_path / "a.pth", full))
    assert torch.equal(model.reg_token, state["reg_token"])
    assert torch.equal(model.pos_embed[:, :3], torch.zeros(1, 3, 384))  # timm's has no place for it
    assert torch.equal(model.cls_token, state["cls_token"].expand(-1, 3, -1))


def test_a_plain_backbone_and_a_run_of_another_method_start_the_backbone(tmp_path):
    net = timm.create_model("test_resnet", num_classes=10)
    nn.init.normal_(net.fc.weight)
    report = initialise(
        model := network("cam", 3, backbone="test_resnet"),
        saved(tmp_path / "a.pth", net.state_dict()),
    )
    assert {name for name, _ in report.skipped} == {"classifier.weight", "classifier.bias"}
    assert torch.equal(model.backbone.layer1[0].conv1.weight, net.layer1[0].conv1.weight)
    run = write_run(tmp_path / "run")
    report = initialise(model := network("seam", 3, backbone="test_resnet"), run.path)
    assert {name.partition(".")[0] for name, _ in report.skipped} == {"fc8", "f8_3", "f8_4", "f9"}
    assert torch.equal(
        model.backbone.layer1[0].conv1.weight, run.model.backbone.layer1[0].conv1.weight
    )
    assert all(why == "not in the file" for _, why in report.skipped)


def test_a_checkpoint_of_another_network_is_refused_and_nothing_is_changed(tmp_path):
    model = network("cam", 3, backbone="test_resnet")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    other = saved(tmp_path / "a.pth", network("weaktr", 3, backbone="test_vit").state_dict())
    with pytest.raises(CheckpointError) as caught:
        initialise(model, other)
    said = str(caught.value)
    assert said.startswith(f"{other} (WeakTr checkpoint, current code (V3)): only 0% of")
    assert "method cam" in said
    assert "TimmCam" not in said
    assert "weights inspect" in said
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("kept", "fits"), [(0.3, False), (0.7, True)])
def test_half_of_the_backbone_s_parameters_must_be_there(tmp_path, kept, fits):
    model = network("cam", 3, backbone="test_resnet")
    sizes = {n: p.numel() for n, p in model.named_parameters() if n.startswith("backbone.")}
    state, total = {}, 0
    for name, size in sizes.items():
        if total + size <= kept * sum(sizes.values()):
            state[name], total = model.state_dict()[name], total + size
    path = saved(tmp_path / "a.pth", state)
    if fits:
        assert set(initialise(model, path).loaded) == set(state)
    else:
        with pytest.raises(CheckpointError, match=f"only {total / sum(sizes.values()):.0%} of"):
            initialise(model, path)


def test_one_line_is_logged_and_counters_of_batch_norms_are_no_loss(tmp_path, caplog):
    model = network("cam", 3, backbone="test_resnet")
    state = {n: v for n, v in changed(model).items() if not n.endswith("num_batches_tracked")}
    with caplog.at_level(logging.INFO, "dealseg"):
        report = initialise(model, saved(tmp_path / "a.pth", state))
    assert report.skipped == ()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", report.line())
    ]
    assert f"{len(state)} of {len(state)} tensors loaded" in report.line()


def test_frozen_stages_stay_frozen(tmp_path):
    model = network("cam", 3, backbone="test_resnet", frozen_stages=2)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    initialise(model, saved(tmp_path / "a.pth", changed(model)))
    assert frozen
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == frozen


@pytest.mark.skipif(not SHAPES.is_file(), reason="no shared goldens (set DEALSEG_SHARED)")
def test_a_checkpoint_as_weaktr_s_own_program_writes_it_loads_whole(tmp_path):
    shapes = json.loads(SHAPES.read_text())
    state = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    content = {"model": state, "epoch": 59, "miou": np.float64(67.7)}
    torch.save(content, tmp_path / "checkpoint_best_mIoU.pth")
    model = network("weaktr", 20)
    report = initialise(model, tmp_path / "checkpoint_best_mIoU.pth")
    assert (set(report.loaded), report.skipped, report.adapted) == (set(shapes), (), ())
    assert all(bool((parameter == 0.5).all()) for parameter in model.parameters())
