"""What holds for one method's training holds for all: processes, interruptions, half precision."""

import socket
from pathlib import Path

import pytest
import torch
from tiny import (
    command,
    config,
    eager,
    equal,
    foreign_lines,
    interrupted_and_undisturbed,
    largest_difference,
    metrics,
    rows,
    start,
)

from dealseg.config import IslConfig, ModelConfig
from dealseg.models import METHODS, seam
from dealseg.training import train

BACKBONES = {"cam": "test_efficientnet", "weaktr": "test_vit", "seam": "test_efficientnet"}
TRAININGS = [
    (m, p) for m in BACKBONES for p in ("cached", "full") if (m, p) != ("weaktr", "cached")
]
DRIVER = Path(__file__).parent / "without_dropout.py"


def chosen(method, profile="full", *, model=None, **options):
    """Return a training of a method with every added loss, on from the first step."""
    net = ModelConfig(backbone=BACKBONES[method], pretrained=False, **(model or {}))
    every = {"losses": "deal,isl,fsl", "deal": eager(), "method": method}
    return config(profile, model=net, **{**every, **options})


def test_every_method_is_here():
    assert set(BACKBONES) == set(METHODS)


def test_two_processes_equal_one_with_twice_the_batch(scenes, dataset, tmp_path, monkeypatch):
    """What is drawn (dropped channels and blocks, sampled cells) differs by process: none is."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port)
    arguments = []
    for method in ("seam", "weaktr"):
        options = ["--method", method, "--model.backbone", BACKBONES[method]]
        options += ["--model.pretrained", "false", "--losses", "deal,isl,fsl"]
        options += ["--deal.warmup", "0", "--isl.samples", "0"]
        options += ["--model.drop_path", "0"] * (method == "weaktr")
        parts = command(scenes, tmp_path / method, *options, profile="full", epochs=1)
        arguments += [*parts[parts.index("train") :], "//"]
    process = start([*launcher, str(DRIVER), *arguments])
    _, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    assert foreign_lines(problems) == []
    monkeypatch.setattr(seam, "DROPOUT", 0.0)
    for method, model in (("seam", {}), ("weaktr", {"drop_path": 0.0})):
        exact = {"isl": IslConfig(samples=0), "epochs": 1, "batch_size": 8}
        alone = train(dataset, tmp_path / f"{method}-alone", chosen(method, model=model, **exact))
        (together,), (expected,) = rows(tmp_path / method), rows(alone)
        terms = [name for name in expected if name.startswith("loss/")]
        assert {"loss/deal", "loss/isl", "loss/fsl"} < set(terms)
        for name in ("step", "lr", *terms):
            assert together[name] == pytest.approx(expected[name], abs=1e-5), name
        assert largest_difference(tmp_path / method, alone) < 1e-5


@pytest.mark.parametrize(("method", "profile"), TRAININGS)
def test_an_interrupted_training_resumes_to_the_same_bits(
    method, profile, dataset, features, tmp_path, interrupted_once
):
    """With dropped channels and blocks, and cells drawn for importance sampling."""
    training = chosen(method, profile, epochs=2)
    run, undisturbed = interrupted_and_undisturbed(dataset, tmp_path, training, features)
    assert equal(undisturbed, run)
    assert metrics(undisturbed) == metrics(run)


@pytest.mark.parametrize(("method", "profile"), TRAININGS)
def test_losses_in_bfloat16_are_nearly_those_in_float32(
    method, profile, dataset, features, tmp_path
):
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        training = chosen(
            method,
            profile,
            epochs=1,
            precision=precision,
            isl=IslConfig(samples=0),
            optim={"lr": 1e-4},
        )
        out = train(dataset, tmp_path / precision, training, cache_dir=features)
        (found[precision],) = rows(out)
    for name, exact in found["32-true"].items():
        if name.startswith("loss/"):
            assert found["bf16-mixed"][name] == pytest.approx(exact, rel=0.03, abs=0.005), name
