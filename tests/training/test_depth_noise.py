"""What depth noise does to a training: to the alignment loss everything, to the rest nothing."""

import pytest
import torch
import yaml
from tiny import PLAIN, config, eager, equal, rows, weights

from dealseg.cli import main
from dealseg.data.noisy import NoisyDepth
from dealseg.noise import parse_noise
from dealseg.training.cache import build_edges
from dealseg.training.samples import ImageSamples

PROFILES = ("cached", "full")


@pytest.mark.parametrize("profile", PROFILES)
def test_noise_of_no_strength_gives_the_weights_of_a_training_without(profile, trained):
    clean = trained(config(profile, deal=eager()))
    assert equal(clean, trained(config(profile, deal=eager(), depth_noise="level:0")))


@pytest.mark.parametrize("profile", PROFILES)
def test_noise_reaches_the_alignment_and_not_the_class_loss(profile, trained):
    clean = rows(trained(config(profile, deal=eager())))[0]
    noisy = rows(trained(config(profile, deal=eager(), depth_noise="gaussian:0.3")))[0]
    lost = rows(trained(config(profile, deal=eager(), depth_noise="holes:1:4")))[0]
    assert noisy["loss/deal"] != clean["loss/deal"]
    assert lost["loss/deal"] == 0
    assert noisy["loss/class_cam"] == pytest.approx(clean["loss/class_cam"], rel=0.1)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_training_without_the_alignment_is_the_same_whatever_the_noise(profile, trained):
    runs = [trained(config(profile, losses="none", depth_noise=n)) for n in (None, "level:4")]
    assert equal(*runs)


def test_both_profiles_see_the_same_noisy_depth_in_every_epoch(dataset):
    noisy = NoisyDepth(dataset, parse_noise("gaussian:0.05,holes:0.2"), seed=0)
    samples = ImageSamples(noisy, (64, 64), PLAIN, 0, tuple(range(len(noisy))))
    edges = build_edges(noisy, eager(), (64, 64), range(len(noisy)))
    for index in (0, 5):
        first, later = samples[0, index], samples[7, index]
        assert torch.equal(first["depth"], later["depth"])
        depth, valid = noisy.depth(index)
        assert torch.equal(first["valid"], valid)
        assert torch.allclose(first["depth"], depth, atol=1e-6)
        again = build_edges(noisy, eager(), (64, 64), [index])
        assert torch.equal(again.strength[0], edges.strength[index])


def test_the_command_takes_noise_and_the_run_says_so(scenes, tmp_path, capsys):
    tiny = ["--data.long-side=48", "--optim.epochs=1", "--optim.batch-size=4"]
    tiny += ["--model.backbone=test_efficientnet", "--model.pretrained=false"]
    run = str(tmp_path / "run")
    wanted = "gaussian:0.02,holes:0.1:4"
    assert main(["train", str(scenes), "--out", run, *tiny, "--depth-noise", wanted]) == 0
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["depth_noise"] == wanted
    again = ["train", str(scenes), "--out", run, "--resume", *tiny]
    assert main([*again, "--depth-noise", "level:1"]) == 2
    assert "depth_noise" in capsys.readouterr().err
    assert main([*again, "--depth-noise", wanted]) == 0
    other = str(tmp_path / "other")
    configured = ["train", str(scenes), "--out", other, "--config", f"{run}/config.yaml"]
    assert main(configured) == 0
    assert equal(tmp_path / "run", tmp_path / "other")
    assert weights(tmp_path / "run")


def test_a_misspelt_model_ends_the_command_before_anything_is_written(scenes, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", str(scenes), "--out", str(out), "--depth-noise", "gausian:0.1"]) == 2
    assert "no model 'gausian'; did you mean gaussian?" in capsys.readouterr().err
    assert not out.exists()
    assert not (tmp_path / ".features").exists()
