"""Building by name: what is refused, and that randomness is the caller's."""

import pytest
import torch

from dealseg.errors import CheckpointError, ConfigError
from dealseg.models import METHODS, Seam, TimmCam, WeakTr, create


def build(seed=0, backbone="test_resnet", **options):
    generator = torch.Generator().manual_seed(seed)
    return create(
        "cam", classes=2, generator=generator, backbone=backbone, pretrained=False, **options
    )


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"\['cam', .*\], got 'gradcam'"):
        create("gradcam", classes=2)
    assert {"cam": TimmCam, "weaktr": WeakTr, "seam": Seam} == METHODS


def test_an_unknown_option_is_named():
    with pytest.raises(ConfigError, match="backbonne"):
        create("cam", classes=2, backbonne="resnet18")


@pytest.mark.parametrize("stride", [0, 4, 64])
def test_an_output_stride_that_cannot_work_is_refused(stride):
    with pytest.raises(ConfigError, match=f"8, 16 or 32, got {stride}"):
        build(output_stride=stride)


def test_an_unknown_backbone_names_near_ones():
    with pytest.raises(ConfigError, match="resnet18"):
        build(backbone="resnet-18")


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_the_generator_alone_decides_the_first_weights(name):
    torch.manual_seed(1)
    first = build(3, name)
    torch.manual_seed(2)
    assert same(first, build(3, name))
    other = build(4, name)
    assert not same(first.backbone, other.backbone)
    assert not same(first.classifier, other.classifier)


def test_two_networks_of_one_generator_differ():
    generator = torch.Generator().manual_seed(0)
    options = {"backbone": "test_vit", "pretrained": False, "generator": generator}
    first, second = (create("cam", classes=2, **options) for _ in range(2))
    assert not same(first.backbone, second.backbone)
    assert not same(first.classifier, second.classifier)


def test_without_a_generator_every_call_gives_the_same_network():
    options = {"backbone": "test_resnet", "pretrained": False}
    assert same(create("cam", classes=2, **options), create("cam", classes=2, **options))


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_the_global_random_state_is_untouched(pretrained, fails):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    weights = "missing.safetensors" if fails and pretrained else None
    options = {"pretrained": pretrained, "weights": weights, "frozen_stages": 99 * fails}
    try:
        create("cam", classes=2, **options)
    except (ConfigError, CheckpointError):
        assert fails
    else:
        assert not fails
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_classifier_has_no_opinion():
    model = create("cam", classes=40, pretrained=False)
    assert model.classifier.bias.abs().max() == 0
    assert abs(model.classifier.weight.std() / 0.01 - 1) < 0.02
    assert abs(model.classifier.weight.mean()) < 2e-4


def test_a_network_can_be_built_where_gradients_are_off():
    with torch.no_grad():
        model = build(backbone="test_convnext")
    assert all(p.requires_grad for p in model.head_parameters())
