"""SEAM: equal to the original, gradients where they belong, and true to what is cached."""

import copy
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dealseg.config import ModelConfig
from dealseg.errors import ConfigError
from dealseg.losses import cross_equivariance, equivariance, min_pooling, multilabel_soft_margin
from dealseg.models import create
from dealseg.models.backbones import stages
from dealseg.models.seam import Seam
from goldens.deterministic import det_image, det_state
from oracles import seam as oracle

SHARED = Path(os.environ.get("DEALSEG_SHARED", Path(__file__).parents[2].parent / "shared"))
COMPLETE = SHARED / "goldens" / "seam_seed0.npz"
COMMITTED = Path(__file__).parents[1] / "goldens" / "seam.npz"

FAMILIES = ["test_resnet", "test_efficientnet", "test_convnext"]
CAMS = ("cam", "pcm", "cam_stride", "pcm_stride")
PCM_WEIGHTS = {"f8_3.weight", "f8_4.weight", "f9.weight"}
TAGS = torch.tensor([[1.0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0]])


def network(backbone="test_resnet", classes=7, frozen=0, seed=0, **options):
    config = ModelConfig(backbone=backbone, pretrained=False, **options)
    return Seam(classes, config, frozen, torch.Generator().manual_seed(seed))


def alive(model, seed=5):
    """Leave no weight at 0, as timm's last norms of blocks start, so that gradients reach all."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def images(batch=2, height=96, width=64, seed=0):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def every_freezing():
    for name in FAMILIES:
        yield from ((name, n) for n in range(len(stages(network(name).backbone))))


@pytest.fixture(scope="module")
def original():
    """The network with 105 million weights of the goldens, built once."""
    model = create("seam", classes=20, backbone="resnet38d", pretrained=False)
    state = model.state_dict()
    values = det_state({name: v.shape for name, v in state.items()}, 0, gain=1.2)
    for name, value in values.items():
        state[name].copy_(torch.from_numpy(value))
    model.set_normalisation((0, 0, 0), (1, 1, 1))
    return model.eval()


@pytest.fixture(scope="module")
def golden_outputs(original):
    image = torch.from_numpy(det_image((2, 3, 96, 128), 200))
    with torch.no_grad():
        return [original(view) for view in original.views(image)]


def close(result, expected):
    """Equal within the tolerance that the goldens' README asks for."""
    limit = 1e-4 * np.abs(expected) + 1e-5 * np.abs(expected).max()
    assert result.shape == expected.shape
    assert (np.abs(result - expected) <= limit).all()


def check_maps(outputs, golden, steps):
    """Compare maps with numbers kept at every n-th channel, row and column."""
    for number, output in enumerate(outputs, 1):
        for cam, name in (("cam", f"cam{number}"), ("pcm", f"rv{number}")):
            channel, row, column = steps[number - 1]
            close(output.cams[cam][:, ::channel, ::row, ::column].numpy(), golden[name])


def test_maps_are_those_of_the_authors_network(golden_outputs):
    """A few numbers that the authors' network printed, kept in the repository."""
    with np.load(COMMITTED) as golden:
        check_maps(golden_outputs, golden, [(4, 24, 32), (4, 9, 12)])


@pytest.mark.skipif(not COMPLETE.is_file(), reason="no shared goldens (set DEALSEG_SHARED)")
def test_all_maps_are_those_of_the_authors_network(golden_outputs):
    with np.load(COMPLETE) as golden:
        check_maps(golden_outputs, golden, [(1, 4, 4), (1, 1, 1)])


def test_losses_are_those_of_the_authors_network(original, golden_outputs):
    with np.load(COMMITTED) as golden:
        terms = original.losses(golden_outputs, torch.from_numpy(golden["labels"]), (96, 128))
        terms = {name: term.numpy() for name, term in terms.items()}
        assert set(terms) == {"class_view1", "class_view2", "min_pool", "er", "ecr"}
        close(terms["class_view1"] + terms["class_view2"], golden["loss_cls"])
        close(terms["min_pool"], golden["loss_rvmin"])
        close(terms["er"], golden["loss_er"])
        close(terms["ecr"], golden["loss_ecr"])
        close(np.sum(list(terms.values())), golden["loss_total"])


def test_the_original_state_dict_has_its_heads_at_the_end_and_no_other_prefix(original):
    shapes = {name: tuple(value.shape) for name, value in original.state_dict().items()}
    assert next(iter(shapes)) == "conv1a.weight"
    assert dict(list(shapes.items())[-4:]) == {
        "fc8.weight": (21, 4096, 1, 1),
        "f8_3.weight": (64, 512, 1, 1),
        "f8_4.weight": (128, 1024, 1, 1),
        "f9.weight": (192, 195, 1, 1),
    }
    assert sum(p.numel() for p in original.parameters()) == 105_358_208


def test_losses_of_the_original_train_b3_to_b7_and_the_heads(original):
    """With the first stage frozen, as its authors do; every norm stays as it is."""
    model = original.train()
    assert model.stage_count == 6
    model.freeze_stages(1)
    model.frozen_stages = 1
    tags = torch.zeros(1, 20)
    tags[:, 3] = 1
    image = images(1, 48, 64)
    outputs = [model(view) for view in model.views(image)]
    terms = model.losses(outputs, tags, (48, 64))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    weights = [p for p in model.parameters() if p.requires_grad]
    expected = {name for name in names if name not in PCM_WEIGHTS}
    assert {name.split(".")[0].split("_")[0] for name in expected} == {
        *("b3", "b4", "b5", "b6", "b7", "fc8")
    }
    for parts, reach in (
        (("min_pool", "ecr"), PCM_WEIGHTS),
        (("class_view1", "class_view2", "er"), expected),
    ):
        total = sum(terms[part] for part in parts)
        slopes = torch.autograd.grad(total, weights, allow_unused=True, retain_graph=True)
        got = {n for n, g in zip(names, slopes, strict=True) if g is not None and g.any()}
        assert got == reach
    model.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_resnet.f"])
def test_maps_equal_the_formula_number_by_number(name):
    """Seven classes, an image that is not square, and frozen stages or none."""
    model = network("test_resnet", frozen=3 * name.endswith("f")).eval()
    image = images(2, 96, 64)
    net = model.backbone
    with torch.no_grad():
        output = model(image)
        x = net.maxpool(net.act1(net.bn1(net.conv1((image - model.mean) / model.std))))
        low = net.layer2(net.layer1(x))
        high = net.layer3(low)
        cam = F.conv2d(net.layer4(high), model.fc8.weight)
        size = tuple(cam.shape[-2:])
        assert size == (6, 4)
        small = F.interpolate(
            (image - model.mean) / model.std, size, mode="bilinear", align_corners=True
        )
        low, high = (
            F.interpolate(each, size, mode="bilinear", align_corners=True) for each in (low, high)
        )
        parts = [small, F.conv2d(low, model.f8_3.weight).relu()]
        parts.append(F.conv2d(high, model.f8_4.weight).relu())
        features = F.conv2d(torch.cat(parts, dim=1), model.f9.weight)
    torch.testing.assert_close(output.cams["cam_stride"], cam)
    for index in range(2):
        winners = torch.tensor(oracle.winning_cam(cam[index].tolist())).flatten(1)
        rows = oracle.correlate(winners.tolist(), features[index].flatten(1).tolist())
        refined = torch.tensor(rows).view(8, *size)
        torch.testing.assert_close(output.cams["pcm_stride"][index], refined, atol=1e-4, rtol=1e-4)
        large = F.interpolate(refined[None], (96, 64), mode="bilinear", align_corners=True)[0]
        torch.testing.assert_close(output.cams["pcm"][index], large, atol=1e-4, rtol=1e-4)


def test_maps_are_at_image_resolution_and_at_the_stride():
    output = network().eval()(images(2, 97, 71))
    assert output.cams["cam"].shape == output.cams["pcm"].shape == (2, 8, 97, 71)
    assert output.cams["cam_stride"].shape == output.cams["pcm_stride"].shape == (2, 8, 7, 5)


def test_logits_are_the_mean_of_the_foreground_over_all_pixels():
    for size in ((96, 64), (97, 71), (33, 50)):
        output = network().eval()(images(2, *size))
        expected = output.cams["cam"][:, 1:].mean(dim=(2, 3))
        torch.testing.assert_close(output.logits["cam"], expected)


def test_losses_are_the_sum_of_the_formulas_on_maps_at_image_resolution():
    model = network().train()
    outputs = [model(view) for view in model.views(images())]
    (cam1, pcm1), (cam2, pcm2) = ([o.cams["cam"], o.cams["pcm"]] for o in outputs)
    terms = model.losses(outputs, TAGS, (96, 64))
    expected = {
        "class_view1": multilabel_soft_margin(outputs[0].logits["cam"], TAGS) / 2,
        "class_view2": multilabel_soft_margin(outputs[1].logits["cam"], TAGS) / 2,
        "min_pool": (min_pooling(pcm1, TAGS) + min_pooling(pcm2, TAGS)) / 2,
        "er": equivariance(cam1, cam2, TAGS),
        "ecr": cross_equivariance(cam1, cam2, pcm1, pcm2, TAGS),
    }
    assert set(terms) == set(expected)
    for name, values in expected.items():
        torch.testing.assert_close(terms[name], values.mean(), msg=name)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cam", CAMS)
def test_each_map_trains_what_its_facts_say(name, cam):
    model = alive(network(name)).train()
    model(images()).cams[cam].square().sum().backward()
    got = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    if cam.startswith("pcm"):
        assert Seam.cams[cam].reach == "f8_3, f8_4 and f9 only"
        assert got == PCM_WEIGHTS
    else:
        assert Seam.cams[cam].reach == "backbone and fc8"
        assert got == trainable - PCM_WEIGHTS


def test_each_loss_trains_what_it_should():
    model = alive(network()).train()
    outputs = [model(view) for view in model.views(images())]
    terms = model.losses(outputs, TAGS, (96, 64))
    names = dict(model.named_parameters())
    backbone = {n for n, p in names.items() if p.requires_grad} - PCM_WEIGHTS
    for name, term in terms.items():
        slopes = torch.autograd.grad(term, names.values(), allow_unused=True, retain_graph=True)
        got = {n for n, g in zip(names, slopes, strict=True) if g is not None and g.any()}
        assert got == (PCM_WEIGHTS if name in ("min_pool", "ecr") else backbone), name


def test_its_facts_fit_its_maps():
    assert set(Seam.cams) == set(CAMS)
    output = network().eval()(images())
    assert list(output.cams) == ["cam_stride", "pcm_stride", "cam", "pcm"]
    assert Seam.label_cam == "pcm"
    assert set(Seam.attach.values()) == {"cam_stride"}
    for name in CAMS:
        assert Seam.cams[name].background
        assert Seam.cams[name].signed == name.startswith("cam")
        assert network().foreground(output, name).shape[1] == 7
    assert output.cams["cam_stride"].min() < 0 <= output.cams["pcm_stride"].min()
    assert Seam.isl_mixes[0] in network().losses(
        [output, network()(images(2, 32, 32))], TAGS, (96, 64)
    )
    assert torch.equal(network().class_scores(output), output.logits["cam"])


@pytest.mark.parametrize(("name", "frozen"), list(every_freezing()))
def test_encode_then_decode_is_forward_for_any_freezing(name, frozen):
    free, model = network(name), network(name, frozen=frozen)
    model.load_state_dict(free.state_dict())
    image = images(2, 80, 64)
    with torch.no_grad():
        expected = free.eval()(image)
        features = model.train().encode(image)
        cached = model.eval().decode(features, (80, 64))
        for cam in CAMS:
            torch.testing.assert_close(cached.cams[cam], expected.cams[cam])
        torch.testing.assert_close(cached.logits["cam"], expected.logits["cam"])
    count = len(stages(model.backbone))
    taps = {f"tap{index}" for index in (count - 2, count - 1) if index < frozen}
    assert set(features) == {"x", "image"} | taps
    assert all(len(part) == 2 for part in features.values())
    assert features["image"].shape[-2:] == expected.cams["cam_stride"].shape[-2:]


@pytest.mark.parametrize("name", FAMILIES)
def test_features_cached_in_half_precision_give_nearly_the_same_maps(name):
    model = alive(network(name, frozen=network(name).stage_count - 1)).eval()
    features = model.encode(images())
    assert not any(part.requires_grad for part in features.values())
    exact = model.decode(features, (96, 64))
    halves = {key: part.half().float() for key, part in features.items()}
    cached = model.decode(halves, (96, 64))
    assert any(key.startswith("tap") for key in features)
    check_nearly(cached, exact, 5e-3)


def check_nearly(output, exact, tolerance):
    """Compare maps; where two classes are nearly equal, rounding may let the other one win."""
    for cam in CAMS:
        difference = (output.cams[cam] - exact.cams[cam]).abs()
        assert 0 < difference.mean() < tolerance * exact.cams[cam].abs().mean()


def test_a_cell_grid_that_is_not_rounded_up_is_met():
    """ConvNeXt drops what its patches do not fill: image and stages are brought to its cells."""
    model = network("test_convnext").eval()
    image = images(1, 95, 70)
    features = model.encode(image)
    output = model.decode(features, (95, 70))
    assert features["image"].shape[-2:] != output.cams["cam_stride"].shape[-2:]
    assert output.cams["pcm"].shape == (1, 8, 95, 70)


@pytest.mark.parametrize(("name", "frozen"), [("test_resnet", 2), ("test_efficientnet", 3)])
def test_frozen_stages_stay_as_they_are(name, frozen):
    model = network(name, frozen=frozen).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    before = {key: part.clone() for key, part in model.encode(images()).items()}
    outputs = [model(view) for view in model.views(images())]
    sum(model.losses(outputs, TAGS, (96, 64)).values()).backward()
    optimiser.step()
    after = model.encode(images())
    assert all(torch.equal(after[key], part) for key, part in before.items())


def test_images_are_scored_alone():
    model = network().eval()
    batch = images(3)
    together = model(batch)
    for index, cam in itertools.product(range(3), CAMS):
        alone = model(batch[index : index + 1]).cams[cam][0]
        torch.testing.assert_close(alone, together.cams[cam][index], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((448, 448), 0.3, (134, 134)),
        ((448, 448), None, (268, 268)),
        ((416, 308), None, (249, 184)),
        ((416, 308), 0.5, (208, 154)),
        ((96, 64), 0.3, (32, 32)),
        ((20, 200), None, (20, 120)),
        ((96, 64), 1.0, (96, 64)),
    ],
)
def test_the_second_view_is_smaller_but_has_two_cells(size, scale, expected):
    assert network(view_scale=scale).view_sizes(size) == (size, expected)


@pytest.mark.parametrize(("stride", "scale"), [(8, 0.3), (16, 0.6), (32, 0.6)])
def test_by_default_the_second_view_has_the_original_s_number_of_cells(stride, scale):
    assert network(output_stride=stride).view_scale == scale


def test_views_are_resized_corner_to_corner():
    image = images()
    first, second = network().views(image)
    assert first is image
    assert torch.equal(
        second[:, :, [0, 0, -1, -1], [0, -1, 0, -1]], image[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    )


@pytest.mark.parametrize(
    ("name", "reason"), [("test_vit", "a transformer"), ("test_mambaout", r"known as 1 stage\(s\)")]
)
def test_a_backbone_without_earlier_maps_is_refused(name, reason):
    with pytest.raises(ConfigError, match=f"'{name}' is {reason}.*take resnet38d"):
        network(name)


def test_frozen_stages_must_leave_one():
    with pytest.raises(ConfigError, match=r"frozen_stages must be in 0\.\.4 for test_resnet"):
        network(frozen=5)


def test_the_embedded_weights_are_the_default():
    model = create("seam", classes=2)
    plain = create("cam", classes=2)
    for name, value in plain.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value)
    assert torch.equal(model.mean, plain.mean)


def test_the_generator_alone_decides_the_first_weights():
    first, same, other = (network(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["fc8.weight"], other["fc8.weight"])


def test_the_heads_are_the_four_that_start_from_scratch():
    shapes = [tuple(p.shape[:2]) for p in network().head_parameters()]
    assert [rows for rows, _ in shapes] == [8, 64, 128, 192]
    assert shapes[3] == (192, 195)


def test_a_copy_of_the_network_uses_its_own_tensors():
    model = network().eval()
    twin = copy.deepcopy(model)
    image, before = images(), model(images()).cams["pcm"]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert torch.equal(model(image).cams["pcm"], before)
    assert not torch.equal(twin(image).cams["pcm"], before)


def test_autocast_leaves_maps_in_single_precision_and_close():
    model = alive(network()).eval()
    image = images()
    with torch.no_grad():
        exact = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(image)
            terms = model.losses([mixed, model(images(2, 32, 32))], TAGS, (96, 64))
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    assert all(mixed.cams[cam].dtype == torch.float32 for cam in CAMS)
    check_nearly(mixed, exact, 0.05)
