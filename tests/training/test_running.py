import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from tiny import (
    PATIENCE,
    command,
    config,
    equal,
    foreign_lines,
    interrupted_and_undisturbed,
    metrics,
    start,
    wait_for,
)
from torch import nn

from dealseg.config import ModelConfig
from dealseg.errors import CheckpointError
from dealseg.training import fit, running, train
from dealseg.training.running import CtrlC, WholeCheckpoints

LITE = ModelConfig()
"""Slow enough that there is time to be killed."""


def test_a_killed_process_resumes_to_the_same_bits(scenes, dataset, trained, tmp_path):
    process = start(command(scenes, tmp_path / "run", profile="full", epochs=3))
    wait_for(tmp_path / "run" / "last.ckpt", process)
    process.kill()
    _, problems = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert foreign_lines(problems) == []
    chosen = config("full", epochs=3, model=LITE)
    train(dataset, tmp_path / "run", chosen, resume=True)
    assert equal(trained(chosen), tmp_path / "run")
    assert metrics(trained(chosen)) == metrics(tmp_path / "run")
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_ctrl_c_ends_with_130_and_one_line_and_resumes_to_the_same_bits(
    scenes, dataset, trained, features, tmp_path
):
    options = ("--cache_dir", str(features))
    chosen = config(epochs=6, model=LITE)
    process = start(command(scenes, tmp_path / "run", *options, epochs=6))
    wait_for(tmp_path / "run" / "last.ckpt", process)
    process.send_signal(signal.SIGINT)
    said, problems = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said == ""
    assert foreign_lines(problems) == []
    assert problems.splitlines()[-1].startswith("interrupted; ")
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    train(dataset, tmp_path / "run", chosen, resume=True, cache_dir=features)
    assert equal(trained(chosen), tmp_path / "run")
    assert metrics(trained(chosen)) == metrics(tmp_path / "run")


@pytest.mark.parametrize("profile", ["cached", "full"])
def test_dropout_resumes_to_the_same_bits(
    profile, dataset, features, tmp_path, monkeypatch, interrupted_once
):
    def with_dropout(*args, **kwargs):
        net = plain(*args, **kwargs)
        net.classifier = nn.Sequential(nn.Dropout2d(0.5), net.classifier)
        return net

    plain = fit.create
    monkeypatch.setattr(fit, "create", with_dropout)
    chosen = config(profile, epochs=3)
    run, undisturbed = interrupted_and_undisturbed(dataset, tmp_path, chosen, features)
    assert equal(undisturbed, run)
    assert metrics(undisturbed) == metrics(run)
    if profile == "full":
        return
    monkeypatch.setattr(fit, "create", plain)
    train(dataset, tmp_path / "without", chosen, cache_dir=features)
    assert metrics(tmp_path / "without") != metrics(run)


def test_after_ctrl_c_the_process_still_listens_to_ctrl_c(
    dataset, features, tmp_path, interrupted_once
):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", config(), cache_dir=features)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_training_cut_off_before_its_weights_only_writes_them(
    dataset, trained, features, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    write = fit.save_weights
    monkeypatch.setattr(fit, "save_weights", full)
    with pytest.raises(OSError, match="No space"):
        train(dataset, tmp_path / "run", config(), cache_dir=features)
    monkeypatch.setattr(fit, "save_weights", write)
    train(dataset, tmp_path / "run", config(), resume=True, cache_dir=features)
    assert equal(trained(config()), tmp_path / "run")
    assert metrics(trained(config())) == metrics(tmp_path / "run")


def test_a_checkpoint_is_renamed_into_place_and_a_failed_one_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    keeper = WholeCheckpoints()
    keeper.save_checkpoint({"epoch": 1}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]

    def full(content, file):
        file.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file\nmore")

    monkeypatch.setattr(running.torch, "save", full)
    with pytest.raises(CheckpointError, match=r"last.ckpt: cannot be written .*failed writing"):
        keeper.save_checkpoint({"epoch": 2}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert keeper.load_checkpoint(path) == {"epoch": 1}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_a_checkpoint_is_never_run_and_a_broken_one_says_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.ckpt"
    for content in (b"", b"half a file", pickle.dumps(Evil())):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="delete it to begin anew") as caught:
            WholeCheckpoints().load_checkpoint(path)
        assert "\n" not in str(caught.value)
    torch.save({"state": Evil()}, path)
    with pytest.raises(CheckpointError, match="not readable"):
        WholeCheckpoints().load_checkpoint(path)
    assert not (tmp_path / "pwned").exists()


def test_a_broken_checkpoint_deleted_begins_anew(
    dataset, trained, features, tmp_path, interrupted_once
):
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", config(), cache_dir=features)
    checkpoint = tmp_path / "run" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="delete it"):
        train(dataset, tmp_path / "run", config(), resume=True, cache_dir=features)
    checkpoint.unlink()
    train(dataset, tmp_path / "run", config(), resume=True, cache_dir=features)
    assert equal(trained(config()), tmp_path / "run")
    assert metrics(trained(config())) == metrics(tmp_path / "run")


def test_off_a_terminal_a_training_says_nothing(dataset, features, tmp_path, capfd, caplog):
    train(dataset, tmp_path / "run", config(epochs=1, losses="none"), cache_dir=features)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_ctrl_c_waits_for_the_next_step_and_pressed_twice_does_not():
    ctrl_c, reached = CtrlC(), []
    trainer, task = Mock(spec=Trainer), Mock(spec=LightningModule)

    def steps():
        ctrl_c.on_train_batch_start(trainer, task, {}, 0)
        signal.raise_signal(signal.SIGINT)
        reached.append("the end of the step")
        ctrl_c.on_train_batch_start(trainer, task, {}, 1)
        reached.append("another step")

    with pytest.raises(KeyboardInterrupt), ctrl_c.listening():
        steps()
    assert reached == ["the end of the step"]
    with pytest.raises(KeyboardInterrupt):
        ctrl_c._press()


def pressed():
    signal.raise_signal(signal.SIGINT)


def pressed_then_failed():
    pressed()
    fail()


def fail():
    raise RuntimeError("a worker was interrupted as well")


@pytest.mark.parametrize("block", [pressed, pressed_then_failed])
def test_ctrl_c_amid_a_failure_or_after_the_last_step_is_still_ctrl_c(block):
    with pytest.raises(KeyboardInterrupt), CtrlC().listening():
        block()


def test_a_failure_without_ctrl_c_stays_what_it_is():
    with pytest.raises(RuntimeError, match="as well"), CtrlC().listening():
        fail()


def test_a_training_in_another_thread_listens_to_nothing(dataset, trained, features, tmp_path):
    with ThreadPoolExecutor() as pool:
        arguments = dataset, tmp_path / "run", config()
        pool.submit(train, *arguments, cache_dir=features).result()
    assert equal(trained(config()), tmp_path / "run")
