"""Puts this folder on the path (pytest does so for a conftest), so that tests import `oracles`.

One thread for PyTorch, here and in processes that tests start: tensors are tiny, and threads that
wait for each other on a busy machine make the suite many times slower.
"""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import pytest

sys.path.append(str(Path(__file__).parent / "data"))  # make_folder and make_bop


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """What is kept between commands goes to a folder of this run, not to the user's."""
    os.environ["DEALSEG_CACHE"] = str(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A synthetic set and a run of the command on it, for tests that only read: data, run, train.

    `train` holds the options that make a training tiny.
    """
    from dealseg.cli import main

    root = tmp_path_factory.mktemp("trained")
    data, run = str(root / "data"), str(root / "run")
    tiny = ["--data.long-side=48", "--optim.epochs=1", "--optim.batch-size=4"]
    tiny += ["--model.backbone=test_efficientnet", "--model.pretrained=false"]
    sizes = ["--images", "10", "--val-images", "4", "--size", "48"]
    assert main(["synth", "--out", data, *sizes]) == 0
    assert main(["train", data, "--out", run, *tiny]) == 0
    return SimpleNamespace(data=data, run=run, train=tiny)


@pytest.fixture
def run(capsys):
    """Return a function that calls the command: its exit code, what it printed, its errors."""
    from dealseg.cli import main

    def called(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return called


@pytest.fixture
def interrupted_once(monkeypatch):
    """Press Ctrl-C when the first checkpoint has been written."""
    from dealseg.training.running import WholeCheckpoints

    pressed = []
    save = WholeCheckpoints.save_checkpoint

    def save_and_press(self, *args, **kwargs):
        save(self, *args, **kwargs)
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", save_and_press)
