"""The CAM network: what it computes, what it freezes, what may be cached."""

import copy
import inspect
import itertools

import pytest
import torch
from torch import nn

from dealseg.config import ModelConfig
from dealseg.errors import ConfigError
from dealseg.models import CamModel, TimmCam
from dealseg.models.backbones import stages

DEFAULT = "tf_efficientnet_lite0"
FAMILIES = [DEFAULT, "test_resnet", "test_convnext", "test_vit", "test_vit2"]


def network(backbone=DEFAULT, classes=3, frozen=0, seed=0, **options):
    config = ModelConfig(backbone=backbone, pretrained=False, **options)
    return TimmCam(classes, config, frozen, torch.Generator().manual_seed(seed))


def images(batch=2, height=48, width=64, seed=0):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def every_freezing():
    for name in FAMILIES:
        yield from ((name, n) for n in range(len(stages(network(name).backbone))))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_cam_is_a_one_by_one_classifier_on_the_features(name):
    """Oracle: timm's own features of the normalised image, a matrix product a cell."""
    model = network(name).eval()
    facts = model.backbone.pretrained_cfg
    mean, std = (torch.tensor(facts[key])[:, None, None] for key in ("mean", "std"))
    image = images()
    weight, bias = model.classifier.weight[:, :, 0, 0], torch.tensor([0.3, -1.0, 2.0])
    with torch.no_grad():
        model.classifier.bias.copy_(bias)
        output = model(image)
        features = model.backbone.forward_features((image - mean) / std)
        if features.ndim == 3:
            features = features[:, model.backbone.num_prefix_tokens :].mT.unflatten(2, (3, 4))
        cam, logits = output.cams["cam"], output.logits["cam"]
        assert cam.shape == (2, 3, *features.shape[-2:])
        total = torch.zeros(2, 3)
        for row, column in itertools.product(*map(range, features.shape[-2:])):
            expected = features[:, :, row, column] @ weight.T + bias
            torch.testing.assert_close(cam[:, :, row, column], expected, atol=1e-5, rtol=1e-4)
            total += expected
        cells = features.shape[-2] * features.shape[-1]
        torch.testing.assert_close(logits, total / cells, atol=1e-5, rtol=1e-4)


def test_logits_are_the_mean_of_the_cam():
    output = network().eval()(images())
    assert torch.equal(output.logits["cam"], output.cams["cam"].mean(dim=(-2, -1)))
    assert TimmCam.label_cam in output.cams
    assert {*TimmCam.attach.values()} <= {*output.cams}


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_cells_are_an_output_stride_apart(stride):
    cam = network(output_stride=stride).eval()(images(1, 64, 96)).cams["cam"]
    assert cam.shape == (1, 3, 64 // stride, 96 // stride)


@pytest.mark.parametrize(("name", "frozen"), list(every_freezing()))
def test_encode_then_decode_is_forward_for_any_freezing(name, frozen):
    """In training mode too, and with the weights of a network that freezes nothing."""
    free, model = network(name), network(name, frozen=frozen)
    model.load_state_dict(free.state_dict())
    image = images()
    with torch.no_grad():
        expected = free.eval()(image).cams["cam"]
        features = model.train().encode(image)
        model.eval()
        assert torch.equal(model.decode(features, (48, 64)).cams["cam"], expected)
        assert torch.equal(model(image).cams["cam"], expected)
        assert not torch.equal(model(image.flip(-1)).cams["cam"], expected)


@pytest.mark.parametrize(("name", "frozen"), list(every_freezing()))
def test_exactly_the_trainable_parameters_get_gradient(name, frozen):
    model = network(name, frozen=frozen).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(images(4)).logits["cam"].square().sum().backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
    kept = {k for k, v in model.state_dict().items() if torch.equal(v, before[k])}
    tracked = {k for k in before if k.endswith("num_batches_tracked")}
    still = [m for stage in stages(model.backbone)[frozen:] for m in _batch_norms(stage)]
    assert len(tracked - kept) == len(still)
    if frozen == 0:
        assert not tracked & kept


def _batch_norms(stage):
    parts = getattr(stage, "parts", [stage])
    modules = [m for part in parts if isinstance(part, nn.Module) for m in part.modules()]
    return [m for m in modules if isinstance(m, nn.BatchNorm2d)]


def test_a_step_of_the_optimiser_leaves_frozen_stages_bit_for_bit():
    """Weight decay and batch-norm statistics included."""
    model = network(frozen=6).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    early = stages(model.backbone)[:6]
    states = [part.state_dict() for stage in early for part in getattr(stage, "parts", [stage])]
    before = copy.deepcopy(states)
    encoded = model.encode(images())["x"]
    for seed in range(2):
        optimiser.zero_grad()
        model(images(seed=seed)).logits["cam"].sum().backward()
        optimiser.step()
    for old, new in zip(before, states, strict=True):
        assert all(torch.equal(old[key], new[key]) for key in old)
    assert torch.equal(model.encode(images())["x"], encoded)


@pytest.mark.parametrize(("name", "frozen"), [(DEFAULT, 6), ("resnet18", 4), ("test_vit", 6)])
def test_features_cached_in_half_precision_give_nearly_the_same_cam(name, frozen):
    model = network(name, frozen=frozen).eval()
    features = model.encode(images())["x"]
    assert not features.requires_grad
    assert features.abs().max() < 1e4  # far from float16's 65504
    exact = model.decode({"x": features}, (48, 64)).cams["cam"]
    cached = model.decode({"x": features.half().float()}, (48, 64)).cams["cam"]
    assert (cached - exact).abs().max() < 5e-3 * exact.abs().max()
    assert not torch.equal(cached, exact)


@pytest.mark.parametrize(("height", "width"), [(40, 72), (33, 50)])
def test_cached_tokens_decode_with_their_image_s_size(height, width):
    """Rows and columns are not to be had from the number of tokens."""
    image = images(1, height, width)
    maker, user = network("test_vit", frozen=3).eval(), network("test_vit", frozen=3).eval()
    features, expected = maker.encode(image), maker(image).cams["cam"]
    assert expected.shape[-2:] == (-(-height // 16), -(-width // 16))
    with pytest.raises(ConfigError, match="size of the image"):
        user.decode(features, (64, 64))
    assert torch.equal(user.decode(features, (height, width)).cams["cam"], expected)


def test_images_are_scored_alone():
    model = network().eval()
    batch = images(3)
    together = model(batch).cams["cam"]
    for index in range(3):
        alone = model(batch[index : index + 1]).cams["cam"][0]
        torch.testing.assert_close(alone, together[index], atol=1e-5, rtol=1e-4)


def test_the_image_is_not_changed_and_gets_gradient_when_nothing_is_frozen():
    model, image = network().eval(), images().requires_grad_()
    before = image.detach().clone()
    model(image).logits["cam"].sum().backward()
    assert torch.equal(image, before)
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        (DEFAULT, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_images_are_normalised_as_the_backbone_was_trained(name, mean, std):
    image = images()
    expected = (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    assert torch.equal(network(name).encode(image)["x"], expected)


@pytest.mark.parametrize("frozen", [-1, 7, 100])
def test_more_frozen_stages_than_leave_one_are_refused(frozen):
    with pytest.raises(ConfigError, match=rf"frozen_stages must be in 0..6 for .*, got {frozen}"):
        network(frozen=frozen)


def test_a_backbone_of_one_stage_trains_whole_or_not_at_all():
    model = network("test_mambaout").train()
    model(images()).logits["cam"].sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with pytest.raises(ConfigError, match=r"in 0\.\.0"):
        network("test_mambaout", frozen=1)


def test_no_classes_are_refused():
    with pytest.raises(ConfigError, match="classes must be >= 1, got 0"):
        network(classes=0)


def test_the_head_is_the_classifier_alone():
    model = network(classes=5)
    assert [tuple(p.shape) for p in model.head_parameters()] == [(5, 1280, 1, 1), (5,)]


def test_a_copy_of_the_network_uses_its_own_tensors():
    """As weight averaging or a deep copy for another process would."""
    model = network("test_vit").eval()
    twin = copy.deepcopy(model)
    image, before = images(), model(images()).cams["cam"]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(model(image).cams["cam"], before)
    assert not torch.equal(twin(image).cams["cam"], before)


def test_no_method_takes_depth():
    for kind in (CamModel, TimmCam):
        for method in ("__init__", "forward", "encode", "decode"):
            names = inspect.signature(getattr(kind, method)).parameters
            assert not any("depth" in name for name in names)
    with pytest.raises(TypeError):
        network()(images(), torch.ones(2, 1, 48, 64))
    assert network().backbone.conv_stem.weight.shape[1] == 3
