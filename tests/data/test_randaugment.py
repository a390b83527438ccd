import math
import random

import numpy as np
import pytest
import timm.data.auto_augment as theirs
import torch
from PIL import Image

from dealseg.data.randaugment import OPERATIONS, RAND_DRAWS, operate, rand_augment

FILL = (124, 116, 104)
HEIGHT, WIDTH = 60, 72
WARPS = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
COLOURS = tuple(name for name in OPERATIONS if name not in WARPS)


def picture():
    """Return a smooth picture of all colours."""
    noise = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise, (HEIGHT, WIDTH), mode="bilinear")[0]
    return ((smooth * 0.8 + 0.1) * 255).to(torch.uint8)


def scene():
    """Red is 3 x, green 4 y, blue 250 inside the picture; depth 1 + x + 2 y; the label x."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return {
        "image": torch.stack([3 * x, 4 * y, torch.full_like(x, 250)]).to(torch.uint8),
        "depth": (1.0 + x + 2 * y)[None],
        "valid": torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool),
        "mask": x.to(torch.uint8),
        "tags": torch.tensor([1.0, 0.0]),
    }


def draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(RAND_DRAWS, generator=generator, dtype=torch.float64).tolist()


def timm_s(name, level, monkeypatch):
    """Return what timm's own operation makes of the picture, warped bilinearly."""
    monkeypatch.setattr(theirs, "_randomly_negate", lambda value: math.copysign(value, level))
    to_argument = theirs.LEVEL_TO_ARG[name]
    arguments = to_argument(abs(level), {}) if to_argument else ()
    image = Image.fromarray(picture().permute(1, 2, 0).numpy())
    options = {"fillcolor": FILL, "resample": Image.Resampling.BILINEAR}
    found = theirs.NAME_TO_OP[name](image, *arguments, **options)
    return torch.from_numpy(np.array(found)).permute(2, 0, 1)


def test_the_operations_are_timm_s_increasing_ones():
    assert set(OPERATIONS) == set(theirs._RAND_INCREASING_TRANSFORMS)
    assert len(OPERATIONS) == 15


@pytest.mark.parametrize("level", [-9.4, -3.0, 0.0, 5.5, 9.0])
@pytest.mark.parametrize("name", COLOURS)
def test_colours_change_as_in_timm_to_a_grey_level(name, level, monkeypatch):
    found = operate({"image": picture()}, name, level, FILL)["image"]
    expected = timm_s(name, level, monkeypatch)
    assert (found.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("level", [-9.4, -3.0, 0.0, 5.5, 9.0])
@pytest.mark.parametrize("name", WARPS)
def test_warps_move_as_in_timm_to_a_grey_level_but_for_the_picture_s_border(
    name, level, monkeypatch
):
    found = operate({"image": picture()}, name, level, FILL)["image"]
    off = (found.int() - timm_s(name, level, monkeypatch).int()).abs().amax(0) > 1
    border = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    border[:, 2:-2, 2:-2] = 1
    moved = operate({"image": picture(), "mask": border[0]}, name, level, FILL)["mask"]
    assert not off[moved == 1].any()
    assert off.double().mean() < 0.04


def test_the_strongest_posterizing_leaves_a_bit_where_timm_would_leave_a_black_image():
    found = operate({"image": picture()}, "PosterizeIncreasing", 10.0, FILL)["image"]
    assert set(found.unique().tolist()) == {0, 128}


@pytest.mark.parametrize("level", [-9.0, -2.0, 4.0, 10.0])
@pytest.mark.parametrize("name", WARPS)
def test_image_depth_and_mask_move_together(name, level):
    out = operate(scene(), name, level, (0, 0, 0))
    red, green, blue = out["image"].double()
    inside = out["valid"][0] & (blue == 250) & (out["mask"] != 255)
    assert inside.double().mean() > 0.3
    x, y = red / 3, green / 4
    # The nearest pixel stands half a pixel off in x and in y, and a rotated step covers at most
    # 1.4 of them; grey levels are a third of a pixel.
    assert (out["mask"] - x)[inside].abs().max() <= 1.05
    assert (out["depth"][0] - (1 + x + 2 * y))[inside].abs().max() <= 3 * 1.05
    # All pixels of a shift are off by the same part of a pixel, those of the others by any.
    most = 0.5 if name.startswith("Translate") else 0.2
    assert (out["mask"] - x)[inside].mean().abs() < most


@pytest.mark.parametrize("name", WARPS)
def test_what_comes_into_the_picture_is_invalid_unlabelled_and_mean_grey(name):
    out = operate(scene(), name, 9.0, FILL)
    outside = out["mask"] == 255
    assert outside.double().mean() > 0.05
    assert torch.equal(out["valid"][0], ~outside)
    assert (out["depth"][~out["valid"]] == 0).all()
    far = torch.nn.functional.max_pool2d((~outside)[None].float(), 5, 1, 2)[0] == 0
    assert (out["image"][:, far] == torch.tensor(FILL, dtype=torch.uint8)[:, None]).all()


@pytest.mark.parametrize("name", COLOURS)
def test_colours_leave_depth_and_mask_alone(name):
    sample = scene()
    out = operate(sample, name, 9.0, FILL)
    for part in ("depth", "valid", "mask", "tags"):
        assert out[part] is sample[part]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_given_sample_is_not_changed(name):
    sample = scene()
    operate(sample, name, 9.0, FILL)
    assert all(torch.equal(sample[part], scene()[part]) for part in sample)


def applied(seed, monkeypatch):
    """Return the names and levels of the operations that a draw stands for."""
    found = []

    def noted(sample, *operation):
        found.append(operation[:2])
        return sample

    monkeypatch.setattr("dealseg.data.randaugment.operate", noted)
    rand_augment({"image": picture()[:, :2, :2]}, 9.0, draws(seed), FILL)
    return found


def test_operations_are_drawn_as_in_timm(monkeypatch):
    drawn = [applied(seed, monkeypatch) for seed in range(3000)]
    counts = np.bincount([len(each) for each in drawn], minlength=3) / 3000
    assert counts == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    flat = [operation for each in drawn for operation in each]
    shares = [sum(name == wanted for name, _ in flat) / len(flat) for wanted in OPERATIONS]
    assert shares == pytest.approx([1 / 15] * 15, abs=0.02)
    assert any(len(each) == 2 and each[0][0] == each[1][0] for each in drawn)
    levels = np.array([level for _, level in flat])
    random.seed(0)
    expected = np.clip([random.gauss(9, 0.5) for _ in range(20000)], 0, 10)
    assert (levels < 0).mean() == pytest.approx(0.5, abs=0.03)
    assert np.abs(levels).mean() == pytest.approx(expected.mean(), abs=0.03)
    assert np.abs(levels).std() == pytest.approx(expected.std(), abs=0.03)
    assert np.abs(levels).max() == 10


def test_the_least_of_all_draws_is_a_level_still():
    out = rand_augment(scene(), 9.0, [0.0] * RAND_DRAWS, FILL)
    assert out["image"].shape == (3, HEIGHT, WIDTH)


def test_the_same_numbers_give_the_same_sample():
    for seed in range(20):
        first, second = (rand_augment(scene(), 9.0, draws(seed), FILL) for _ in range(2))
        assert all(torch.equal(first[part], second[part]) for part in first)
