import json
import shutil
import socket

import numpy as np
import pytest
import torch
from tiny import (
    PLAIN,
    SMALL,
    command,
    config,
    eager,
    equal,
    foreign_lines,
    largest_difference,
    metrics,
    rows,
    start,
    weights,
)

from dealseg.config import DataConfig, ModelConfig, TrainConfig
from dealseg.data import open_dataset
from dealseg.errors import ConfigError, DataError
from dealseg.models import create
from dealseg.training import train

PROFILES = ("cached", "full")


class Changed:
    """A data set of which some methods are replaced."""

    def __init__(self, dataset, **methods):
        self.dataset = dataset
        self.__dict__.update(methods)

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)


def forbidden(*_):
    raise AssertionError("this must not be read in training")


def test_the_class_loss_falls(trained):
    learnt = rows(trained(config(epochs=3, model=ModelConfig())))
    class_loss = [row["loss/class_cam"] for row in learnt]
    assert class_loss == sorted(class_loss, reverse=True)
    assert class_loss[-1] < 0.5 * class_loss[0]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    profile, dataset, trained, features, tmp_path
):
    torch.manual_seed(99)
    again = train(dataset, tmp_path / "again", config(profile), cache_dir=features)
    assert equal(trained(config(profile)), again)
    assert metrics(trained(config(profile))) == metrics(again)
    for name, other in weights(trained(config(profile, seed=1))).items():
        drawn = other.is_floating_point() and other.unique().numel() > 2
        assert not drawn or not torch.equal(other, weights(again)[name]), name


@pytest.mark.parametrize("profile", PROFILES)
def test_the_caller_s_random_state_and_cwd_are_as_before(
    profile, dataset, features, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(dataset, tmp_path / "run", config(profile, epochs=1), cache_dir=features)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("profile", PROFILES)
def test_no_mask_is_read(profile, dataset, trained, tmp_path):
    blind = Changed(dataset, mask=forbidden)
    out = train(blind, tmp_path / "run", config(profile), cache_dir=tmp_path / "features")
    assert equal(trained(config(profile)), out)


@pytest.mark.parametrize("damage", ["deleted", "garbage"])
def test_mask_files_deleted_or_damaged_change_nothing(damage, scenes, trained, tmp_path):
    shutil.copytree(scenes, tmp_path / "scenes")
    files = [*(tmp_path / "scenes").rglob("mask_visib/*.png")]
    assert files
    for file in files:
        file.unlink() if damage == "deleted" else file.write_bytes(b"no picture")
    copy = open_dataset(tmp_path / "scenes", split="train")
    assert equal(trained(config()), train(copy, tmp_path / "run", config()))


def test_without_the_loss_no_depth_is_read(dataset, tmp_path):
    flat = Changed(dataset, depth=forbidden)
    for profile in PROFILES:
        out = train(flat, tmp_path / profile, config(profile, epochs=1, losses="none"))
        assert not any(name.startswith("deal/") or name == "loss/deal" for name in rows(out)[0])


def test_data_without_depth_is_refused_for_the_loss_before_anything_is_written(dataset, tmp_path):
    flat = Changed(dataset, depth=lambda _: None)
    with pytest.raises(DataError, match=r"no depth found.*--losses none"):
        train(flat, tmp_path / "run", config())
    assert not list(tmp_path.iterdir())


def test_depth_of_some_images_is_enough(dataset, tmp_path):
    some = Changed(dataset, depth=lambda index: dataset.depth(index) if index == 7 else None)
    for profile in PROFILES:
        (row,) = rows(train(some, tmp_path / profile, config(profile, epochs=1, deal=eager())))
        assert row["loss/deal"] != 0


def test_an_image_without_tags_is_named_before_features_are_computed(dataset, tmp_path):
    partly = Changed(dataset, tags=lambda index: None if index == 9 else dataset.tags(index))
    with pytest.raises(DataError, match="has no tags") as caught:
        train(partly, tmp_path / "run", config())
    assert str(caught.value).startswith(str(dataset.image_path(9)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("profile", PROFILES)
def test_images_of_background_only_train_and_cost_no_alignment(profile, dataset, tmp_path):
    empty = torch.zeros(len(dataset.classes))
    bare = Changed(dataset, tags=lambda _: empty)
    (row,) = rows(train(bare, tmp_path / "run", config(profile, epochs=1, deal=eager())))
    assert row["loss/deal"] == 0
    assert 0 < row["loss/total"] == row["loss/class_cam"]


def test_the_shuffled_control_gets_other_depth_but_the_same_draws(dataset, trained, features):
    cached = [rows(trained(config(deal=eager(shuffle=on))))[0] for on in (False, True)]
    full = [rows(trained(config("full", deal=eager(shuffle=on))))[0] for on in (False, True)]
    for own, other in (cached, full):
        assert own["loss/deal"] != other["loss/deal"]
        assert own["loss/class_cam"] == pytest.approx(other["loss/class_cam"], rel=0.05)


@pytest.mark.parametrize("profile", PROFILES)
def test_frozen_stages_stay_and_the_others_move(profile, dataset, trained):
    chosen = config(profile, frozen_stages=2)
    net = create(
        "cam",
        classes=len(dataset.classes),
        frozen_stages=2,
        generator=torch.Generator().manual_seed(0),
        **vars(SMALL),
    )
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert any("blocks.0" in name for name in frozen)
    for name, value in weights(trained(chosen)).items():
        moved = not torch.equal(value, net.state_dict()[name])
        is_statistic = "running_" in name or "num_batches" in name
        assert moved == (name not in frozen and not is_statistic), name


def test_batch_norm_statistics_move_only_when_they_are_let(trained):
    fresh = {"running_mean": 0.0, "running_var": 1.0}
    kept = weights(trained(config("full")))
    let = weights(trained(config("full", freeze_batch_norm=False)))
    for name in kept:
        start_value = fresh.get(name.rpartition(".")[2])
        if start_value is not None:
            assert (kept[name] == start_value).all(), name
            assert not (let[name] == start_value).all(), name


def test_two_batches_accumulated_are_one_of_twice_the_size(trained):
    """At the first step Adam divides a gradient by itself: rounding shows where it is nearly 0."""
    options = {"augment": PLAIN, "epochs": 1, "deal": eager(), "model": ModelConfig()}
    whole = trained(config(batch_size=8, **options))
    parts = trained(config(batch_size=4, optim={"accumulate": 2}, **options))
    assert rows(whole)[0]["step"] == rows(parts)[0]["step"] == 2
    assert rows(whole)[0]["loss/total"] == pytest.approx(rows(parts)[0]["loss/total"], abs=1e-5)
    assert largest_difference(whole, parts) < 1e-5


def test_processes_that_read_images_change_nothing(trained):
    assert equal(trained(config("full")), trained(config("full", workers=1)))


def test_two_processes_equal_one_with_twice_the_batch(scenes, trained, tmp_path):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--model.backbone", SMALL.backbone, "--model.pretrained", "false")
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port)
    arguments = command(scenes, tmp_path / "run", *options, profile="full", epochs=1)
    process = start([*launcher, *arguments])
    said, problems = process.communicate(timeout=240)
    assert process.returncode == 0, problems
    assert foreign_lines(problems) == []
    assert set(said.splitlines()) == {
        f"run in {tmp_path / 'run'}; next: dealseg label {tmp_path / 'run'} {scenes} --out MASKS"
    }
    alone = trained(config("full", epochs=1, batch_size=8))
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    (together,), (expected,) = rows(tmp_path / "run"), rows(alone)
    for name in ("step", "lr", "loss/class_cam", "loss/deal", "loss/total", "deal/lambda"):
        assert together[name] == pytest.approx(expected[name], abs=1e-5), name
    assert together["loss/deal"] != 0
    assert largest_difference(tmp_path / "run", alone) < 1e-5


@pytest.mark.parametrize("profile", PROFILES)
def test_bf16_trains_float32_weights(profile, trained):
    run = trained(config(profile, epochs=1, precision="bf16-mixed", deal=eager()))
    exact = trained(config(profile, epochs=1, deal=eager()))
    assert all(value.dtype != torch.bfloat16 for value in weights(run).values())
    assert rows(run)[0]["loss/total"] == pytest.approx(rows(exact)[0]["loss/total"], abs=0.02)


def test_half_precision_without_a_gpu_is_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="16-mixed needs a GPU; take bf16-mixed"):
        train(dataset, tmp_path / "run", config(precision="16-mixed"))
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_is_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="take --device cpu"):
        train(dataset, tmp_path / "run", TrainConfig(device="gpu"))


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_very_short_trainings_learn(steps, dataset, features, tmp_path):
    """torch's one-cycle divides by zero at five steps."""
    chosen = config(epochs=steps, batch_size=16)
    moved = weights(train(dataset, tmp_path / "run", chosen, cache_dir=features))
    assert rows(tmp_path / "run")[-1]["step"] == steps
    assert moved["classifier.bias"].abs().max() > 1e-3


@pytest.mark.parametrize("losses", ["deal", "isl,fsl"])
def test_a_loss_that_is_no_number_stops_with_a_remedy(losses, dataset, features, tmp_path):
    wild = config(epochs=3, losses=losses, optim={"lr": 1e30, "schedule": "cosine"})
    with pytest.raises(ConfigError, match=r"the loss is (nan|inf).*--optim.lr"):
        train(dataset, tmp_path / "run", wild, cache_dir=features)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_the_run_folder_says_what_was_done(trained):
    run = trained(config())
    assert {p.name for p in run.iterdir()} == {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "tensorboard",
        "weights.safetensors",
    }
    facts = json.loads((run / "environment.json").read_text())
    assert facts["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert facts["images"] == 16
    assert facts["seconds"] > 0
    assert facts["threads"] == torch.get_num_threads()
    assert "command" in facts


def test_an_unknown_backbone_leaves_no_run_folder(dataset, tmp_path):
    wrong = config(model=ModelConfig(backbone="test_efficientnett", pretrained=False))
    with pytest.raises(ConfigError, match="test_efficientnet"):
        train(dataset, tmp_path / "run", wrong)
    assert not list(tmp_path.iterdir())


def test_no_image_and_no_class_are_refused(dataset, tmp_path):
    class Empty(Changed):
        def __len__(self):
            return 0

    with pytest.raises(DataError, match="no images"):
        train(Empty(dataset), tmp_path / "run", config())
    with pytest.raises(DataError, match="no classes"):
        train(Changed(dataset, classes=()), tmp_path / "run", config())


def test_the_default_configuration_is_decided_for_this_machine(dataset, trained):
    text = (trained(config()) / "config.yaml").read_text()
    assert "profile: cached" in text
    assert "frozen_stages: 4" in text  # all but the last of five
    assert DataConfig().long_side != 64 or "long_side: 64" in text
