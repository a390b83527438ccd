"""What cannot be used is said in one line, with the way out."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_networks import transformers

from dealseg.errors import CheckpointError, ConfigError
from dealseg.estimating import Output, load_estimator


def refused(model, kind=CheckpointError, **options) -> str:
    with pytest.raises(kind) as error:
        load_estimator(str(model), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def copy(networks, tmp_path):
    """A copy of a tiny network that a test may damage."""
    return shutil.copytree(networks("relative"), tmp_path / "copy")


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_kind_is_that_of_the_files_unless_the_user_says_otherwise(networks):
    assert load_estimator(str(networks("metric"))).output == Output("metric", 20)
    assert load_estimator(str(networks("relative"))).output == Output("relative")
    assert load_estimator(str(networks("relative")), kind="metric").output == Output("metric")


def test_the_digest_is_of_the_weights_not_of_their_place(networks, copy):
    digest = load_estimator(str(networks("relative"))).digest
    assert load_estimator(str(copy)).digest == digest
    change_weights(copy, lambda weights: weights["head.conv3.bias"].add_(1e-6))
    assert load_estimator(str(copy)).digest != digest


def test_without_transformers_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'dealseg[depth]'" in refused(tmp_path, ConfigError)


def test_a_name_that_is_not_at_hand_when_the_hub_cannot_be_reached():
    said = refused("nobody/no-such-depth-model")
    assert said.startswith("nobody/no-such-depth-model: is neither a folder nor downloaded yet")
    assert "give its folder" in said


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such", "no such"])
def test_what_can_be_no_name_on_the_hub_is_no_model(name):
    assert "there is no such folder, and no such model" in refused(name)


def test_a_name_the_hub_does_not_know(monkeypatch):
    error = type("RepositoryNotFoundError", (OSError,), {})

    def ask(*_, local_files_only, **__):
        raise OSError("not cached") if local_files_only else error("404\nlong story")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", ask)
    assert "no such model on the Hugging Face hub" in refused("some/one")


def test_what_was_downloaded_is_taken_without_asking_the_hub(networks, tmp_path, monkeypatch):
    asked = []
    own = transformers.AutoConfig.from_pretrained

    def from_cache(model, *, local_files_only, **options):
        asked.append(local_files_only)
        return own(networks("relative"), local_files_only=local_files_only, **options)

    for kind in ("AutoConfig", "AutoImageProcessor", "AutoModelForDepthEstimation"):
        load = getattr(transformers, kind).from_pretrained
        monkeypatch.setattr(
            getattr(transformers, kind),
            "from_pretrained",
            lambda _, load=load, **options: load(networks("relative"), **options),
        )
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", from_cache)
    load_estimator("some/one")
    assert set(asked) == {True}


def test_an_empty_folder_is_no_model(tmp_path):
    assert "no config.json here" in refused(tmp_path)


def test_a_network_for_another_purpose_is_refused_with_an_example(tmp_path):
    transformers.ViTConfig().save_pretrained(tmp_path)
    said = refused(tmp_path, ConfigError)
    assert "is a vit network, not one for depth estimation; take for example depth-any" in said


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_folder_is_a_checkpoint_error(copy, file, damage):
    path = copy / file
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b"[1, 2, 3]")
    assert str(copy) in refused(copy)


def test_an_unknown_kind_of_network_is_a_checkpoint_error(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "of_tomorrow"}))
    assert "cannot be loaded" in refused(copy)


def test_weights_of_another_size_are_refused(copy):
    change_weights(copy, lambda w: w.update({"head.conv3.weight": torch.zeros(1, 7, 1, 1)}))
    assert "cannot be loaded" in refused(copy)


def test_weights_that_lack_what_counts_are_refused_not_made_up(copy):
    change_weights(copy, lambda weights: weights.pop("head.conv2.weight"))
    assert "the weights lack 1 parameters of the network, such as head.conv2.weight" in refused(
        copy
    )


def test_weights_that_lack_what_is_never_used_are_fine(copy, networks):
    """Intel's DPT files lack the first fusion's residual layer, which has nothing to add."""
    unused = "neck.fusion_stage.layers.0.residual_layer1."

    def drop(weights):
        for name in [name for name in weights if name.startswith(unused)]:
            del weights[name]

    change_weights(copy, drop)
    image = torch.arange(3 * 42 * 42).reshape(3, 42, 42).to(torch.uint8)
    maps = []
    for folder in (copy, networks("relative")):
        estimator = load_estimator(str(folder))
        maps += estimator.estimates(estimator.prepared(image)[None], [(42, 42)], [(42, 42)])
    torch.testing.assert_close(*maps)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, "there is none"),
        ({"precision": "16-mixed"}, "precision 16-mixed needs a GPU"),
    ],
)
def test_what_needs_a_gpu_says_so_before_anything_is_loaded(options, said):
    assert said in refused("nobody/no-such-depth-model", ConfigError, **options)


def test_transformers_is_left_as_talkative_as_it_was(networks, capfd):
    log = transformers.utils.logging
    before = log.get_verbosity(), log.is_progress_bar_enabled()
    load_estimator(str(networks("relative")))
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")
