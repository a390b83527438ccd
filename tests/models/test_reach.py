"""Which parameters each added loss trains, for every CAM that it can act on: stated, and tried."""

import re

import pytest
import torch
from torch import nn

from dealseg.config import (
    DealConfig,
    FslConfig,
    IslConfig,
    ModelConfig,
    TrainConfig,
)
from dealseg.errors import ConfigError
from dealseg.models import METHODS, create
from dealseg.models.combinations import check_combination
from dealseg.training.added import AddedLosses, Step

CLASSIFIER = {"backbone", "classifier"}
COARSE = {"cls_token", "pos_embed", "patch_embed", "blocks", "head"}
FUSION = {"adaptive_attention_fusion"}
FC8 = {"backbone", "fc8"}
PCM = {"f8_3", "f8_4", "f9"}
REFUSED = None

REACH = {
    "cam": {
        "cam": {"deal": CLASSIFIER, "isl": CLASSIFIER, "fsl": CLASSIFIER},
    },
    "weaktr": {
        "coarse": {"deal": COARSE, "isl": COARSE, "fsl": COARSE},
        "fused": {"deal": FUSION, "isl": REFUSED, "fsl": FUSION},
        "fine": {"deal": FUSION, "isl": REFUSED, "fsl": FUSION},
    },
    "seam": {
        "cam_stride": {"deal": FC8, "isl": FC8, "fsl": FC8},
        "cam": {"deal": FC8, "isl": FC8, "fsl": FC8},
        "pcm_stride": {"deal": PCM, "isl": REFUSED, "fsl": PCM},
        "pcm": {"deal": PCM, "isl": REFUSED, "fsl": PCM},
    },
}
"""By method, CAM and loss: the parts of the network that get a gradient, all others none."""

WORDS = {
    "cam": {"backbone": {"backbone"}, "classifier": {"classifier"}},
    "weaktr": {
        "backbone": {"patch_embed", "blocks", "pos_embed"},
        "tokens": {"cls_token", "pos_embed"},
        "head": {"head"},
        "attention fusion": FUSION,
    },
    "seam": {
        "backbone": {"backbone"},
        **{name: {name} for name in ("fc8", "f8_3", "f8_4", "f9")},
    },
}
"""What the words of `CamFacts.reach` stand for."""

UNTRAINED = {"weaktr": {"norm"}}
"""Parts that no loss ever trains."""

NETWORKS = {
    "cam": ModelConfig(backbone="test_resnet", pretrained=False),
    "weaktr": ModelConfig(backbone="test_vit", pretrained=False, reduction=1),
    "seam": ModelConfig(backbone="test_efficientnet", pretrained=False),
}
SIZE = (64, 96)
PAIRS = [
    (method, cam, loss) for method, cams in REACH.items() for cam in cams for loss in cams[cam]
]


def network(method):
    """A network in training without a weight at 0, behind which no gradient could be seen."""
    torch.manual_seed(0)  # timm draws from the global generator
    net = create(method, classes=3, **vars(NETWORKS[method])).train()
    generator = torch.Generator().manual_seed(5)
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return net


def configured(method, loss, cam):
    options = {
        "deal": DealConfig(warmup=0.0, cells=16, cam=cam),
        "isl": IslConfig(cam=cam),
        "fsl": FslConfig(cam=cam),
    }
    return TrainConfig(method=method, losses=loss, **{loss: options[loss]})


def part_of(name):
    return name.partition(".")[0]


def reached(method, loss, cam):
    """Return the names of the parameters in which a loss on a CAM has a gradient that is not 0."""
    net, generator = network(method), torch.Generator().manual_seed(0)
    image = torch.randint(256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8)
    depth = 1 + torch.rand(2, 1, *SIZE, generator=generator)
    tags = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    batch = {"image": image, "tags": tags, "depth": depth, "valid": depth > 0}
    output = net(image.float() / 255)
    terms = {net.isl_mixes[0]: torch.zeros(())}
    added = AddedLosses(net, configured(method, loss, cam), "metric")
    added.apply(terms, output, batch, SIZE, Step(0.0, 0, 0))
    terms[loss].backward()
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}


def all_of(net: nn.Module, parts):
    return {name for name, _ in net.named_parameters() if part_of(name) in parts}


def test_the_table_has_every_method_cam_and_loss():
    assert set(REACH) == set(WORDS) == set(NETWORKS) == set(METHODS)
    for method, kind in METHODS.items():
        assert set(REACH[method]) == set(kind.cams)
        assert all(set(row) == set(kind.attach) for row in REACH[method].values())


@pytest.mark.parametrize(("method", "cam", "loss"), PAIRS)
def test_a_loss_trains_every_parameter_of_the_parts_that_the_table_names(method, cam, loss):
    expected = REACH[method][cam][loss]
    if expected is REFUSED:
        with pytest.raises(ConfigError, match=f"'{cam}' of method {method} is not signed"):
            check_combination(configured(method, loss, cam))
    else:
        check_combination(configured(method, loss, cam))
        assert reached(method, loss, cam) == all_of(network(method), expected)


@pytest.mark.parametrize(("method", "cam"), [(m, cam) for m in REACH for cam in REACH[m]])
def test_the_facts_of_a_cam_say_in_words_what_the_table_says(method, cam):
    facts = METHODS[method].cams[cam]
    words = re.split(r", | and ", facts.reach.removesuffix(" only"))
    said = set().union(*(WORDS[method][word] for word in words))
    row = REACH[method][cam]
    assert all(parts == said for parts in row.values() if parts is not REFUSED)
    assert facts.signed == (row["isl"] is not REFUSED)


@pytest.mark.parametrize("method", sorted(REACH))
def test_by_default_every_loss_reaches_the_whole_backbone(method):
    for loss, cam in METHODS[method].attach.items():
        assert WORDS[method]["backbone"] <= REACH[method][cam][loss]


@pytest.mark.parametrize("method", sorted(REACH))
def test_all_parts_together_are_what_is_trained(method):
    parts = set().union(*WORDS[method].values())
    trainable = {name for name, p in network(method).named_parameters() if p.requires_grad}
    assert trainable == all_of(network(method), parts)
    others = {part_of(name) for name, _ in network(method).named_parameters()} - parts
    assert others == UNTRAINED.get(method, set())
