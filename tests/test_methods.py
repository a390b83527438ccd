"""Every method with every added loss, through the command on the embedded data."""

import csv
import re
from pathlib import Path

import pytest

from dealseg.cli import main
from dealseg.config import DataConfig, OptimConfig, TrainConfig
from dealseg.data import open_dataset
from dealseg.models import METHODS
from dealseg.training import train

DOCS = Path(__file__).parents[1] / "docs"
TINY = {"cam": "test_efficientnet", "weaktr": "test_vit", "seam": "test_efficientnet"}
LOSSES = ["none", "deal", "isl", "fsl", "deal,isl,fsl"]
LONG_SIDE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("methods") / "data"
    sizes = ["--images", "12", "--val-images", "2", "--size", str(LONG_SIDE)]
    assert main(["synth", "--out", str(root), *sizes]) == 0
    return root


def metrics(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_every_method_is_tried():
    assert set(TINY) == set(METHODS)


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize("method", sorted(TINY))
def test_a_method_trains_with_the_added_losses_and_the_loss_falls(method, losses, data, tmp_path):
    run = tmp_path / "run"
    options = ["--method", method, "--losses", losses, "--model.backbone", TINY[method]]
    options += ["--model.pretrained", "false", "--data.long-side", str(LONG_SIDE)]
    options += ["--optim.epochs", "6", "--optim.batch-size", "4", "--optim.lr", "0.002"]
    cache = ["--cache-dir", str(data.parent / "features")]
    assert main(["train", str(data), "--out", str(run), *options, *cache]) == 0
    rows = metrics(run)
    for loss in ("deal", "isl", "fsl"):
        assert (f"loss/{loss}" in rows[0]) == (loss in losses.split(","))
    assert rows[-1]["loss/total"] < rows[0]["loss/total"]
    scores = [name for name in rows[0] if name.startswith("loss/class")]
    assert scores
    assert sum(rows[-1][n] for n in scores) < sum(rows[0][n] for n in scores)


@pytest.mark.parametrize("method", sorted(TINY))
def test_a_method_s_run_makes_masks_and_figures(method, data, tmp_path, capsys):
    run, masks = tmp_path / "run", tmp_path / "masks"
    options = ["--method", method, "--losses", "none", "--model.backbone", TINY[method]]
    options += ["--model.pretrained", "false", "--data.long-side", str(LONG_SIDE)]
    options += ["--optim.epochs", "1", "--cache-dir", str(data.parent / "features")]
    assert main(["train", str(data), "--out", str(run), *options]) == 0
    assert main(["label", str(run), str(data), "--split", "val", "--out", str(masks)]) == 0
    assert len(list(masks.rglob("*.png"))) == 2
    assert f"threshold {METHODS[method].threshold:g} (method)" in capsys.readouterr().out
    assert main(["evaluate", str(run), str(data), "--split", "val"]) == 0
    assert "ORACLE" in capsys.readouterr().out


def test_the_method_of_the_documentation_trains_with_every_loss(data, tmp_path, monkeypatch):
    monkeypatch.setattr("dealseg.models.registry.METHODS", known := dict(METHODS))
    code = re.findall(r"```python\n(.*?)```", (DOCS / "methods.md").read_text(), re.DOTALL)
    for block in code:
        exec(block, {"__name__": "documentation"})
    assert set(known) - set(METHODS) == {"peak"}
    config = TrainConfig(
        method="peak",
        losses="deal,isl,fsl",
        device="cpu",
        data=DataConfig(long_side=LONG_SIDE),
        optim=OptimConfig(epochs=2, batch_size=4),
    )
    train(open_dataset(data, split="train"), tmp_path / "run", config)
    first, last = metrics(tmp_path / "run")
    assert last["loss/total"] < first["loss/total"]
