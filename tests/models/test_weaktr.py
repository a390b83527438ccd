"""WeakTr: the original's numbers, what each output trains, any plain ViT and any image size.

`goldens/weaktr.npz` holds what the authors' published network (third version) gave in float32 on a
CPU, with 20 classes, for the weights `det_state(shapes, 0)` and the normalised images
`det_image(shape, 100)`, `sq` = (2, 3, 224, 224) and `rect` = (1, 3, 192, 256): all logits, and of
the CAMs every 3rd class and every 4th row and column.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_vits import KINDS, stand_in, tiny_vit

from dealseg.config import ModelConfig
from dealseg.errors import CheckpointError, ConfigError
from dealseg.models import WeakTr, create
from goldens.deterministic import det_image, det_state
from oracles import weaktr as oracle

SHARED = Path(os.environ.get("DEALSEG_SHARED", Path(__file__).parents[2].parent / "shared"))
COMPLETE = SHARED / "goldens" / "weaktr_seed0.npz"
SHAPES = SHARED / "goldens" / "weaktr_state_shapes.json"
COMMITTED = Path(__file__).parents[1] / "goldens" / "weaktr.npz"
IMAGES = {"sq": (2, 3, 224, 224), "rect": (1, 3, 192, 256)}
FUSION = "adaptive_attention_fusion."
SIZES = [(32, 32), (32, 48), (40, 40), (37, 50), (61, 43), (16, 90)]


def normalised(model, *size, batch=2, seed=0):
    """A white-noise image as the first block's embedding wants it."""
    return torch.from_numpy(det_image((batch, 3, *size), seed)).to(model.head.weight)


def run(model, image):
    return model.decode({"x": image}, tuple(image.shape[-2:]))


def flat(output):
    return {**{f"logits {n}": v for n, v in output[0].items()}, **output[1]}


def tiny(monkeypatch, classes=7, kind="plain", *, pretrained=True, **config):
    """WeakTr on a tiny ViT in float64, every parameter random."""
    stand_in(monkeypatch, **KINDS[kind])
    model = WeakTr(classes, ModelConfig(pretrained=False, **{"drop_path": 0.0, **config})).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise)
    return model


def straightforward(model, image, state=None, **options):
    state = dict(model.named_parameters()) if state is None else state
    trained = model.patch_embed.grid_size[0]
    return oracle.weaktr(image, state, model.classes, 2, trained, **options)


@pytest.fixture(scope="module")
def original_size():
    """DeiT-S with 20 classes and the goldens' weights."""
    model = create("weaktr", classes=20, pretrained=False).eval()
    state = model.state_dict()
    values = det_state({name: value.shape for name, value in state.items()}, 0)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    return model


@pytest.fixture(scope="module")
def golden_outputs(original_size):
    found = {}
    names = {"tokens": "z_tok", "coarse": "z_coarse", "fine": "z_fine"}
    for name, shape in IMAGES.items():
        with torch.no_grad():
            output = run(original_size, torch.from_numpy(det_image(shape, 100)))
        found |= {f"{name}_{names[each]}": v.numpy() for each, v in output.logits.items()}
        found |= {f"{name}_{each}": v.numpy() for each, v in output.cams.items()}
    return found


def check(result, expected):
    """Equal within the tolerance that the goldens' README asks for."""
    limit = 1e-4 * np.abs(expected) + 1e-5 * np.abs(expected).max()
    assert result.shape == expected.shape
    assert (np.abs(result - expected) <= limit).all()


def test_outputs_are_those_of_the_authors_network(golden_outputs):
    with np.load(COMMITTED) as golden:
        assert set(golden) == set(golden_outputs)
        for name, value in golden_outputs.items():
            check(value if value.ndim == 2 else value[:, ::3, ::4, ::4], golden[name])


@pytest.mark.skipif(not COMPLETE.is_file(), reason="no shared goldens (set DEALSEG_SHARED)")
def test_all_cells_are_those_of_the_authors_network(golden_outputs, original_size):
    with np.load(COMPLETE) as golden:
        assert set(golden) == set(golden_outputs)
        for name, value in golden_outputs.items():
            check(value, golden[name])
    shapes = {name: list(value.shape) for name, value in original_size.state_dict().items()}
    assert shapes == json.loads(SHAPES.read_text())


def test_the_original_has_as_many_parameters(original_size):
    assert sum(each.numel() for each in original_size.parameters()) == 21_751_221
    head = sum(each.numel() for each in original_size.head_parameters())
    assert head == 69_140 + 1_825


@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_what_the_straightforward_form_gives(monkeypatch, size):
    model = tiny(monkeypatch)
    image = normalised(model, *size)
    output = run(model, image)
    assert output.cams["fine"].shape == (2, 7, size[0] // 8, size[1] // 8)
    torch.testing.assert_close(
        flat(output), flat(straightforward(model, image)), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("gated mlp", "norm before")]
)
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_any_plain_vit_gives_what_the_straightforward_form_gives(monkeypatch, kind, pool):
    model = tiny(monkeypatch, 3, kind, pool=pool)
    image = normalised(model, 60, 75)
    torch.testing.assert_close(
        flat(run(model, image)),
        flat(straightforward(model, image, pool=pool)),
        rtol=1e-9,
        atol=1e-12,
    )


def test_training_gives_every_parameter_the_straightforward_forms_gradient(monkeypatch):
    model = tiny(monkeypatch, kind="registers").train()
    image = normalised(model, 40, 48)
    tags = torch.eye(7, dtype=torch.float64)[:2]
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def gradients(logits):
        terms = (torch.nn.functional.multilabel_soft_margin_loss(z, tags) for z in logits.values())
        return dict(zip(trained, torch.autograd.grad(sum(terms), trained.values()), strict=True))

    ours = gradients(run(model, image).logits)
    expected = gradients(straightforward(model, image)[0])
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-14)
    assert all(slope.abs().max() > 0 for name, slope in ours.items())


def groups_reached(model, value):
    """Which parts of the network a value depends on with a slope other than 0."""
    named = dict(model.named_parameters())
    kept = [name for name in named if named[name].requires_grad]
    slopes = torch.autograd.grad(value, [named[n] for n in kept], allow_unused=True)
    reached = {n for n, slope in zip(kept, slopes, strict=True) if slope is not None}
    heads = {name for name in kept if name.startswith("head.")}
    fusion = {name for name in kept if name.startswith(FUSION)}
    assert len(fusion) == 6
    parts = {"head": heads, "fusion": fusion, "backbone and tokens": set(kept) - heads - fusion}
    for names in parts.values():
        assert not names & reached or names <= reached
    moving = {n for n, s in zip(kept, slopes, strict=True) if s is not None and s.abs().max() > 0}
    assert {part for part in parts if parts[part] & moving} == {
        part for part in parts if parts[part] & reached
    }
    return {part for part, names in parts.items() if names & reached}


@pytest.mark.parametrize(
    ("kind", "name", "reached"),
    [
        ("logits", "tokens", {"backbone and tokens"}),
        ("logits", "coarse", {"backbone and tokens", "head"}),
        ("logits", "fine", {"fusion"}),
        ("cams", "coarse", {"backbone and tokens", "head"}),
        ("cams", "fused", {"fusion"}),
        ("cams", "fine", {"fusion"}),
    ],
)
def test_what_a_loss_on_each_output_trains(monkeypatch, kind, name, reached):
    model = tiny(monkeypatch, kind="registers").train()
    value = getattr(run(model, normalised(model, 32, 40)), kind)[name]
    assert groups_reached(model, value.square().sum()) == reached


def test_only_the_final_norm_is_not_trained(monkeypatch):
    model = tiny(monkeypatch)
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert still == {"norm.weight", "norm.bias"}
    assert model.stage_count == 1


def test_facts_agree_with_the_outputs(monkeypatch):
    model = tiny(monkeypatch)
    image = normalised(model, 32, 40)
    output = run(model, image)
    assert list(output.cams) == list(WeakTr.cams)
    for name, facts in WeakTr.cams.items():
        assert bool((output.cams[name] < 0).any()) == facts.signed
    means = {name: output.cams[name].mean((-2, -1)) for name in ("coarse", "fine")}
    for name, mean in means.items():
        torch.testing.assert_close(output.logits[name], mean)
    expected = (output.logits["tokens"] + output.logits["coarse"]) / 2
    torch.testing.assert_close(model.class_scores(output), expected)
    losses = model.losses([output], torch.eye(7)[:2], (32, 40))
    assert list(losses) == ["class_tokens", "class_coarse", "class_fine"]
    assert WeakTr.isl_mixes[0] in losses


def test_forward_normalises_as_the_backbone_wants_it(original_size):
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    inner = (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(flat(original_size(image)), flat(run(original_size, inner)))


def test_an_image_smaller_than_a_patch_is_refused(monkeypatch):
    model = tiny(monkeypatch)
    with pytest.raises(ConfigError, match=r"7x40 pixels is smaller than a patch \(8x8\)"):
        model(torch.rand(1, 3, 7, 40).double())


def test_pixels_beyond_the_last_whole_patch_do_not_count(monkeypatch):
    model = tiny(monkeypatch)
    image = normalised(model, 37, 50)
    other = image.clone()
    other[..., 32:, :] = other[..., 48:] = 9.0
    assert torch.equal(run(model, image).cams["fine"], run(model, other).cams["fine"])


def test_mixed_precision_keeps_the_refinement_in_float32_and_trains_the_fusion(monkeypatch):
    model = tiny(monkeypatch, reduction=1).float().train()
    image = normalised(model, 40, 48)
    exact = run(model, image)
    with torch.autocast("cpu", torch.bfloat16):
        output = run(model, image)
    assert output.cams["coarse"].dtype == torch.bfloat16
    assert output.cams["fine"].dtype == output.cams["fused"].dtype == torch.float32
    for name, cam in exact.cams.items():
        assert (output.cams[name] - cam).abs().max() < 0.05 * cam.abs().max()
    sum(model.losses([output], torch.eye(7)[:2], (40, 48)).values()).backward()
    for parameter in model.parameters():
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all()
            assert parameter.grad.abs().max() > 0


def test_blocks_are_skipped_in_training_alone_and_as_torchs_seed_says(monkeypatch):
    model = tiny(monkeypatch, drop_path=0.9)
    image = normalised(model, 32, 32, batch=8)
    assert torch.equal(run(model.eval(), image).cams["fine"], run(model, image).cams["fine"])
    outputs = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            outputs.append(run(model.train(), image).logits["tokens"])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no class token"])
def test_from_a_vit_with_one_class_the_tokens_are_timms_own(monkeypatch, kind):
    """Theorem: one class token is the ViT's own, so its mean is that of timm's last block."""
    net = tiny_vit(5, **KINDS[kind]).eval()
    stand_in(monkeypatch, **KINDS[kind])
    model = WeakTr.from_deit(net.state_dict(), classes=1).eval()
    image = normalised(model, *net.patch_embed.img_size)
    net.norm = torch.nn.Identity()
    with torch.no_grad():
        tokens = net.forward_features(image)
        output = run(model, image)
    torch.testing.assert_close(output.logits["tokens"][:, 0], tokens[:, 0].mean(-1))
    patches = tokens[:, net.num_prefix_tokens :].mT.unflatten(2, output.cams["coarse"].shape[-2:])
    torch.testing.assert_close(output.cams["coarse"], model.head(patches), rtol=1e-4, atol=1e-5)


def test_from_a_vit_all_classes_start_alike_and_the_head_is_the_generators(monkeypatch):
    stand_in(monkeypatch, num_classes=11)
    state = tiny_vit(5, num_classes=11).state_dict()
    stand_in(monkeypatch)
    first, second = (
        WeakTr.from_deit(given, classes=4, generator=torch.Generator().manual_seed(seed))
        for given, seed in ((state, 0), ({"model": state}, 1))
    )
    tokens = run(first.eval(), normalised(first, 32, 32)).logits["tokens"]
    torch.testing.assert_close(tokens, tokens[:, :1].expand_as(tokens))
    assert torch.equal(first.cls_token, state["cls_token"].expand(1, 4, 16))
    assert torch.equal(first.pos_embed[:, 3:], state["pos_embed"])
    assert torch.equal(first.blocks[2].mlp.fc1.weight, second.blocks[2].mlp.fc1.weight)
    assert not torch.equal(first.head.weight, second.head.weight)
    assert first.classes == 4


def test_a_weights_file_starts_the_network_as_from_deit(monkeypatch, tmp_path):
    state = tiny_vit(5, img_size=48).state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    stand_in(monkeypatch)
    created = create("weaktr", classes=3, weights=str(tmp_path / "vit.safetensors"))
    expected = WeakTr.from_deit(state, classes=3).state_dict()
    assert created.pos_embed.shape == (1, 3 + 16, 16)
    assert all(torch.equal(value, expected[name]) for name, value in created.state_dict().items())


def test_weights_of_another_network_are_refused(monkeypatch):
    stand_in(monkeypatch)
    model = WeakTr(3, ModelConfig(pretrained=False))
    with pytest.raises(CheckpointError, match=r"3 class tokens, so it is a WeakTr checkpoint"):
        WeakTr.from_deit(model.state_dict())
    with pytest.raises(CheckpointError, match=r"do not fit the backbone: 12 tensors missing"):
        WeakTr.from_deit(tiny_vit(depth=2).state_dict() | {"blocks.2.x": torch.zeros(1)})


def test_from_scratch_tokens_and_layers_are_drawn_as_in_the_original():
    model = create("weaktr", classes=20, pretrained=False)
    for drawn in (model.cls_token, model.pos_embed, model.blocks[3].mlp.fc1.weight):
        assert abs(drawn.std().item() / 0.02 - 1) < 0.05
        assert drawn.abs().max() < 0.12
    bound = (384 * 9) ** -0.5  # torch's own for a convolution
    assert 0.98 * bound < model.head.weight.abs().max() <= bound
    weights = model.adaptive_attention_fusion(torch.rand(1, 12, 384))
    assert (weights - 0.5).abs().max() < 0.1


def test_the_generator_alone_decides_the_first_weights(monkeypatch):
    def build(seed):
        generator = torch.Generator().manual_seed(seed)
        options = {"backbone": "test_vit", "pretrained": False}
        return create("weaktr", classes=2, generator=generator, **options).state_dict()

    first, same, other = build(0), build(0), build(1)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["cls_token"], other["cls_token"])


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit4", "vit_tiny_patch16_224"])
def test_plain_vits_of_timm_work_by_name(name):
    model = create("weaktr", classes=3, backbone=name, pretrained=False).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 40, 70))
    assert {cam.shape for cam in output.cams.values()} == {(1, 3, 2, 4)}


def test_dinov2_with_registers_works_by_name():
    name = "vit_small_patch14_reg4_dinov2"
    model = create("weaktr", classes=3, backbone=name, pretrained=False).eval()
    assert (model.reg_token.shape, model.pos_embed.shape) == ((1, 4, 384), (1, 3 + 37 * 37, 384))
    with torch.no_grad():
        output = model(torch.rand(1, 3, 28, 42))
    assert output.cams["fine"].shape == (1, 3, 2, 3)


def test_options_of_other_methods_are_refused():
    with pytest.raises(ConfigError, match="'weaktr' has no such option"):
        create("weaktr", classes=2, view_scale=0.3)
    with pytest.raises(ConfigError, match="no plain ViT"):
        create("weaktr", classes=2, backbone="resnet18", pretrained=False)
