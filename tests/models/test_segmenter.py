import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import dealseg
from dealseg.config.segmenter import SegmenterConfig
from dealseg.data.files import read_image
from dealseg.errors import CheckpointError, ConfigError, DataError
from dealseg.models.pixels import rgb_array
from dealseg.models.pyramids import AnyGroupNorm
from dealseg.models.segmenter import Segmenter, is_segmenter, winner_and_lead
from dealseg.models.weights import embedded_state

CLASSES = ("cup", "box", "ball")


def small(architecture="fpn", backbone="test_efficientnet", **options):
    config = SegmenterConfig(architecture, backbone, pretrained=False, width=32)
    return Segmenter(CLASSES, config, long_side=64, **options).eval()


def image(height=37, width=50, batch=1, seed=0):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    small().save_pretrained(folder)
    return folder


ALL = [("fpn", "test_efficientnet"), ("unet", "test_resnet"), ("deeplabv3plus", "test_convnext")]


@pytest.mark.parametrize(("architecture", "backbone"), [*ALL, ("mask_transformer", "test_vit")])
def test_logits_have_the_images_size_whatever_it_is(architecture, backbone):
    if architecture == "deeplabv3plus":
        backbone = "test_efficientnet"
    model = small(architecture, backbone)
    for size in ((37, 50), (64, 64), (1, 33)):
        with torch.no_grad():
            assert model(image(*size, batch=2)).shape == (2, 4, *size)


@pytest.mark.parametrize(
    ("architecture", "backbone"),
    [*ALL[:2], ("fpn", "test_convnext"), ("mask_transformer", "test_vit")],
)
def test_freezing_and_taking_apart_change_nothing_but_what_learns(architecture, backbone):
    whole = small(architecture, backbone)
    with torch.no_grad():
        expected = whole(image())
    for count in range(1, whole.stage_count):
        model = small(architecture, backbone, frozen_stages=count).eval()
        model.load_state_dict(whole.state_dict())
        model.train().eval()
        with torch.no_grad():
            assert torch.equal(model(image()), expected)
        model(image()).sum().backward()
        frozen = {id(p) for m in model.net.stage_modules(count) for p in m.parameters()}
        assert frozen
        for name, parameter in model.named_parameters():
            if id(parameter) in frozen:
                assert not parameter.requires_grad, name
                assert parameter.grad is None, name
            elif parameter.requires_grad:
                assert parameter.grad is not None, name


def test_frozen_levels_stay_in_evaluation_mode_in_training():
    model = small(frozen_stages=3).train()
    modes = {m.training for each in model.net.stage_modules(3) for m in each.modules()}
    assert modes == {False}
    assert model.net.decoder.training


def test_the_default_encoder_is_timms_with_the_embedded_weights():
    model = Segmenter(CLASSES).eval()
    assert model.config.backbone == "tf_efficientnet_lite0"
    assert not model.training
    net = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    own = net.state_dict()
    net.load_state_dict({name: t for name, t in embedded_state().items() if name in own})
    x = image(64, 96)
    with torch.no_grad():
        found = model.net.encoder((x - model.mean) / model.std)[1:]
        expected = net((x - model.mean) / model.std)
    assert len(found) == 5
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_is_beyond_the_image_has_little_say_and_the_image_is_not_moved():
    model = small()
    with torch.no_grad():
        whole = model(image(64, 64))
    assert model(image(64, 64)[..., :40, :]).shape[-2:] == (40, 64)
    padded = torch.nn.functional.pad(image(40, 64), (0, 0, 0, 24), mode="replicate")
    with torch.no_grad():
        assert torch.equal(model(image(40, 64)), model(padded)[..., :40, :])
    assert whole.shape[-2:] == (64, 64)


@pytest.mark.parametrize(("architecture", "backbone"), ALL)
@pytest.mark.parametrize("size", [(32, 32), (1, 1)])
def test_an_image_of_one_cell_is_seen(architecture, backbone, size):
    with torch.no_grad():
        found = small(architecture, backbone)(image(*size))
    assert found.shape == (1, 4, *size)
    assert found.isfinite().all()


def test_group_norms_are_pytorchs_and_give_their_bias_for_one_value():
    plain = torch.nn.GroupNorm(4, 8)
    torch.nn.init.normal_(plain.weight)
    torch.nn.init.normal_(plain.bias)
    norm, x = AnyGroupNorm(plain), torch.randn(2, 8, 3, 5)
    assert torch.equal(norm(x), plain(x))
    assert norm.state_dict().keys() == plain.state_dict().keys()
    single = torch.nn.GroupNorm(8, 8)
    torch.nn.init.normal_(single.bias)
    found = AnyGroupNorm(single)(torch.randn(1, 8, 1, 1)).flatten()
    torch.testing.assert_close(found, single.bias, atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_network_and_the_global_state_is_kept():
    before = torch.get_rng_state()
    one, two = small().state_dict(), small().state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = small(generator=torch.Generator().manual_seed(5)).state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_saved_and_loaded_it_is_the_same(saved):
    assert {path.name for path in saved.iterdir()} == {"config.json", "model.safetensors"}
    assert is_segmenter(saved)
    loaded = dealseg.Segmenter.from_pretrained(saved, "cpu")
    with torch.no_grad():
        assert torch.equal(loaded(image()), small()(image()))
    assert (loaded.classes, loaded.long_side, loaded.training) == (CLASSES, 64, False)
    facts = json.loads((saved / "config.json").read_text())
    assert facts["classes"] == list(CLASSES)
    assert facts["backbone"] == "test_efficientnet"


def test_the_normalisation_of_the_file_counts(saved, tmp_path):
    facts = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**facts, "mean": [0.1, 0.2, 0.3]}))
    (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    model = Segmenter.from_pretrained(tmp_path, "cpu")
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_mask_from_an_array_a_picture_and_a_file_is_the_same(saved, tmp_path):
    model = Segmenter.from_pretrained(saved, "cpu")
    array = np.random.default_rng(0).integers(0, 256, (45, 90, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "x.png")
    mask = model.predict(array)
    assert mask.shape == (45, 90)
    assert mask.dtype == np.uint8
    assert mask.max() <= 3
    for same in (Image.fromarray(array), tmp_path / "x.png", str(tmp_path / "x.png")):
        assert np.array_equal(model.predict(same), mask)


def test_a_pictures_turn_in_its_exif_is_applied(saved, tmp_path):
    model = Segmenter.from_pretrained(saved, "cpu")
    picture = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[274] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert model.predict(tmp_path / "turned.jpg").shape == (30, 20)


def test_winner_and_lead_are_the_argmax_of_the_enlarged_logits():
    logits = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
    winner, lead = winner_and_lead(logits, (13, 21))
    enlarged = torch.nn.functional.interpolate(logits[None], (13, 21), mode="bilinear")[0]
    mask = winner.masked_fill(lead <= 0, 0)
    assert torch.equal(mask.long(), enlarged.argmax(0))
    assert torch.equal(winner.long(), enlarged[1:].argmax(0) + 1)
    torch.testing.assert_close(lead, enlarged[1:].amax(0) - enlarged[0])


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_an_array_that_is_no_image_is_refused(wrong):
    with pytest.raises(DataError, match="uint8 RGB"):
        rgb_array(wrong)


def drawn(mode):
    """Return a picture of a mode of Pillow whose colours fill its range."""
    draw = np.random.default_rng(0)
    if mode == "I;16":
        return Image.fromarray(draw.integers(0, 2**16, (6, 8), np.uint16))
    return Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_a_picture_has_the_colours_that_the_reader_of_data_sets_sees(tmp_path, mode):
    file = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    drawn(mode).save(file)
    expected = read_image(file).permute(1, 2, 0).numpy()
    assert np.array_equal(rgb_array(file), expected)
    with Image.open(file) as opened:
        assert opened.mode == mode
        assert np.array_equal(rgb_array(opened), expected)
    assert 0 < expected.mean() < 255


@pytest.mark.parametrize("reader", [rgb_array, read_image])
def test_numbers_without_a_range_and_half_a_file_are_refused_by_both_readers(tmp_path, reader):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "metres.tif")
    drawn("RGB").resize((99, 99)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    drawn("RGB").save(tmp_path / "x.eps")
    said = {"metres.tif": "8-bit image, got mode F", "half.png": "trunc", "x.eps": "JPEG, PNG or"}
    for name, expected in said.items():
        with pytest.raises(DataError, match=rf"{name}: .*{expected}"):
            reader(tmp_path / name)
    with Image.open(tmp_path / "metres.tif") as opened, pytest.raises(DataError, match="8-bit"):
        rgb_array(opened)


def test_a_file_that_is_no_image_is_refused(saved, tmp_path):
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(DataError, match=r"x\.png"):
        Segmenter.from_pretrained(saved, "cpu").predict(tmp_path / "x.png")


def other_format(folder):
    (folder / "config.json").write_text('{"architectures": ["Bert"]}')


def newer_version(folder):
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**facts, "version": 99}))


def other_network(folder):
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**facts, "width": 64}))


def other_classes(folder):
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**facts, "classes": ["cup"]}))


def no_such_backbone(folder):
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**facts, "backbone": "nonesuch"}))


def no_json(folder):
    (folder / "config.json").write_text("{")


def no_config(folder):
    (folder / "config.json").unlink()


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def one_tensor_less(folder):
    state = load_file(folder / "model.safetensors")
    state.pop("net.head.weight")
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (other_format, "not of a dealseg segmenter"),
        (newer_version, "version 99"),
        (other_network, "both files from the same run"),
        (other_classes, "both files from the same run"),
        (no_such_backbone, "nonesuch"),
        (no_json, "not readable"),
        (no_config, "train-segmenter"),
        (no_weights, "--resume"),
        (cut_weights, "not readable"),
        (one_tensor_less, "both files from the same run"),
    ],
)
def test_a_folder_that_is_no_segmenter_is_refused_with_the_way_out(saved, tmp_path, spoil, said):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=said) as caught:
        Segmenter.from_pretrained(tmp_path, "cpu")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_first_stage_run_is_told_from_a_segmenter(tmp_path):
    (tmp_path / "config.yaml").write_text("method: cam\n")
    assert not is_segmenter(tmp_path)
    assert not is_segmenter(tmp_path / "none")
    with pytest.raises(CheckpointError, match="first-stage run"):
        Segmenter.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "backbone", "said"),
    [
        ("fpn", "nonesuch", "timm knows no"),
        ("fpn", "test_vit", "mask_transformer"),
        ("mask_transformer", "test_resnet", "no plain ViT"),
        ("fpn", "swin_tiny_patch4_window7_224", "any size"),
    ],
)
def test_backbones_that_do_not_suit_are_refused(architecture, backbone, said):
    with pytest.raises(ConfigError, match=said):
        small(architecture, backbone)


def test_classes_are_one_to_254():
    for classes in ((), tuple(map(str, range(255)))):
        with pytest.raises(ConfigError, match="1 to 254"):
            Segmenter(classes, SegmenterConfig(backbone="test_efficientnet", pretrained=False))


def test_pretrained_weights_of_pyramids_with_other_names_are_found(tmp_path):
    for name in ("test_convnext", "test_resnet"):
        donor = timm.create_model(name, num_classes=7)
        save_file(donor.state_dict(), tmp_path / f"{name}.safetensors")
        config = SegmenterConfig(backbone=name, weights=str(tmp_path / f"{name}.safetensors"))
        model = Segmenter(CLASSES, config).eval()
        x = image(64, 64)
        expected = donor.eval().forward_intermediates(x, intermediates_only=True)[-1]
        assert torch.equal(model.net.encoder(x)[-1], expected)
    wrong = SegmenterConfig(
        backbone="test_resnet", weights=str(tmp_path / "test_convnext.safetensors")
    )
    with pytest.raises(CheckpointError, match="do not fit"):
        Segmenter(CLASSES, wrong)


def test_the_package_alone_imports_no_torch():
    code = "import dealseg, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert dealseg.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="nothing"):
        dealseg.nothing  # noqa: B018


@pytest.mark.filterwarnings("ignore")  # PyTorch advises other exporters
def test_traced_for_one_size_it_is_right_for_others():
    model = small()
    traced = torch.jit.trace(model, image(50, 70, batch=2))
    with torch.no_grad():
        torch.testing.assert_close(traced(image(33, 101)), model(image(33, 101)))
