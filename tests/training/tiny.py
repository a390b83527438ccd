"""Small trainings, the command as a process, and comparisons of runs."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dealseg.config import (
    AugmentConfig,
    DataConfig,
    DealConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from dealseg.training import train

SRC = Path(__file__).parents[2] / "src"
SMALL = ModelConfig(backbone="test_efficientnet", pretrained=False)
"""timm's network for tests, 100 thousand parameters."""

PLAIN = AugmentConfig(scale=(1.0, 1.0), flip=0.0, colour=0.0)
PATIENCE = 280.0
"""Seconds after which a process counts as hanging. On an idle machine it needs a few: how fast it
is, is not what is tested, and a machine that many share was seen to be 20 times slower."""
OUR_LINES = ("WARNING: ", "interrupted; ", "dealseg: error: ")


def config(profile="cached", *, epochs=2, batch_size=4, model=SMALL, optim=None, **options):
    """Return what `command` asks for when it is given the same numbers."""
    return TrainConfig(
        profile=profile,
        device="cpu",
        data=DataConfig(split="train", long_side=64),
        model=model,
        optim=replace(OptimConfig(epochs=epochs, batch_size=batch_size), **(optim or {})),
        **options,
    )


def eager(**options):
    """Return a loss that is on from the first step."""
    return DealConfig(warmup=0.0, **options)


def command(data, out, *options, profile="cached", epochs=2, batch_size=4):
    return [
        *("-m", "dealseg", "train", str(data), "--out", str(out), "--device", "cpu"),
        *("--profile", profile, "--data.long_side", "64"),
        *("--optim.epochs", str(epochs), "--optim.batch_size", str(batch_size), *options),
    ]


def start(arguments, **variables):
    """Start a Python process with as many threads as this one, its output caught."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(SRC),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file, process):
    """Wait until a process has written a file; fail at once if it ends before."""
    end = time.monotonic() + PATIENCE
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{file} did not appear"
        time.sleep(0.005)


def interrupted_and_undisturbed(dataset, folder, chosen, features):
    """Train in `folder` with one Ctrl-C (`interrupted_once`) and again without; return both."""
    with pytest.raises(KeyboardInterrupt):
        train(dataset, folder / "run", chosen, cache_dir=features)
    train(dataset, folder / "run", chosen, resume=True, cache_dir=features)
    train(dataset, folder / "undisturbed", chosen, cache_dir=features)
    return folder / "run", folder / "undisturbed"


def foreign_lines(text):
    """Return the lines of stderr that are not ours."""
    return [line for line in text.splitlines() if not line.startswith(OUR_LINES)]


def weights(run):
    return load_file(run / "weights.safetensors")


def equal(run, other):
    one, two = weights(run), weights(other)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def largest_difference(run, other):
    one, two = weights(run), weights(other)
    return max(float((one[name].double() - two[name].double()).abs().max()) for name in one)


def metrics(run):
    return (run / "metrics.csv").read_text()


def rows(run):
    names, *lines = (line.split(",") for line in metrics(run).splitlines())
    return [{name: float(v) for name, v in zip(names, line, strict=True)} for line in lines]
