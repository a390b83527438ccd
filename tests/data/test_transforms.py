import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dealseg.data.transforms import (
    Augmentation,
    augment,
    fitted_size,
    resize_sample,
    sample_generator,
    to_size,
)
from dealseg.errors import ConfigError, DataError

HEIGHT, WIDTH = 48, 60
NOTHING = {
    "scale": (1.0, 1.0),
    "flip": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "rotation": 0.0,
    "shear": 0.0,
}
GEOMETRIES = {
    "zoom in": {"scale": (1.2, 2.0)},
    "zoom out": {"scale": (0.4, 0.9)},
    "other shape": {"size": (40, 40), "scale": (1.0, 1.5)},
    "smaller": {"size": (20, 25)},
    "flip": {"flip": 1.0},
    "area": {"size": (40, 40), "crop": "area", "area": (0.3, 1.0)},
    "area of another shape": {"size": (25, 47), "crop": "area", "area": (0.2, 0.6), "flip": 1.0},
    "long": {"size": (48, 48), "crop": "long", "long": (0.8, 1.5), "flip": 0.5},
    "long and turned": {"size": (44, 44), "crop": "long", "long": (0.8, 1.4), "rotation": 30.0},
    "rotation": {"rotation": 45.0},
    "shear": {"shear": 20.0},
    "all": {"size": (32, 44), "scale": (0.6, 1.6), "flip": 0.5, "rotation": 30.0, "shear": 10.0},
}
PLANTED = [math.nan, math.inf, -math.inf, 1e9, -1e9]


def only(**options):
    return Augmentation(**{**NOTHING, **options})


def coordinates(height=HEIGHT, width=WIDTH):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return y, x


def coordinate_sample():
    """Red is 4 x, green 4 y, blue 250 inside the picture; depth 1 + x + 2 y; the label x."""
    y, x = coordinates()
    return {
        "image": torch.stack([4 * x, 4 * y, torch.full_like(x, 250)]).to(torch.uint8),
        "depth": (1.0 + x + 2 * y)[None],
        "valid": torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool),
        "mask": x.to(torch.uint8),
        "tags": torch.tensor([1.0, 0.0]),
        "name": "grid",
    }


def holed_sample(planted, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sample = coordinate_sample()
    sample["valid"] = torch.rand(1, HEIGHT, WIDTH, generator=generator) > 0.3
    sample["valid"][:, 10:25, 10:30] = False
    sample["depth"] = sample["depth"].masked_fill(~sample["valid"], planted)
    return sample


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key]
        for key in a
    )


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("seed", range(4))
def test_image_depth_and_mask_show_the_same_place_in_every_pixel(geometry, seed):
    augmentation = only(**GEOMETRIES[geometry], fill=(0, 0, 0))
    out = augment(coordinate_sample(), augmentation, sample_generator(seed, 0, 0))
    red, green, blue = out["image"].double()
    inside = out["valid"][0] & (blue == 250) & (out["mask"] != 255)
    assert inside.double().mean() > 0.1
    x, y = red / 4, green / 4
    # Nearest stands up to half a pixel off in x and y, times the pixels a step covers (at most 2.5
    # here), and the image is rounded to a quarter of a pixel.
    reach = 0.5 * 2.5 + 0.25
    assert (out["mask"] - x)[inside].abs().max() <= reach
    assert (out["depth"][0] - (1 + x + 2 * y))[inside].abs().max() <= 3 * reach
    assert (out["mask"] - x)[inside].mean().abs() < 0.15
    assert (out["depth"][0] - (1 + x + 2 * y))[inside].mean().abs() < 0.3


@pytest.mark.parametrize("geometry", ["rotation", "shear", "zoom out", "all"])
def test_depth_is_valid_and_labels_are_given_on_the_same_pixels_of_the_picture(geometry):
    out = augment(coordinate_sample(), only(**GEOMETRIES[geometry]), sample_generator(3, 0, 0))
    disagree = out["valid"][0] != (out["mask"] != 255)
    assert not out["valid"].all()
    assert disagree.double().mean() < 0.03  # one row and column of a zoomed border
    assert (out["depth"][~out["valid"]] == 0).all()


@pytest.mark.parametrize("size", [(48, 60), (24, 30), (96, 120), (31, 77)])
def test_resizing_keeps_a_plane_on_its_plane(size):
    out = resize_sample(coordinate_sample(), size)
    y, x = coordinates(*size)
    x, y = (x + 0.5) * WIDTH / size[1] - 0.5, (y + 0.5) * HEIGHT / size[0] - 0.5
    inner = (slice(3, -3), slice(3, -3))
    # A triangle filter at a ratio such as 48 to 31 keeps a ramp to 3 % of a pixel only.
    torch.testing.assert_close(out["depth"][0][inner], (1 + x + 2 * y)[inner], atol=0.1, rtol=0)
    assert (out["mask"] - x).abs().max() <= 0.5


def test_zoom_spreads_the_depth_over_more_pixels_and_keeps_its_values():
    out = augment(coordinate_sample(), only(scale=(2.0, 2.0)), sample_generator(0, 0, 0))
    inner = out["depth"][0, 2:-2, 2:-2]
    torch.testing.assert_close(inner.diff(dim=1), torch.full((44, 55), 0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(inner.diff(dim=0), torch.full((43, 56), 1.0), atol=1e-4, rtol=0)


def test_a_zoom_of_one_half_pads_three_quarters():
    augmentation = only(scale=(0.5, 0.5), fill=(1, 2, 3))
    out = augment(coordinate_sample(), augmentation, sample_generator(1, 0, 0))
    outside = out["mask"] == 255
    assert outside.double().mean() == pytest.approx(0.75, abs=0.02)
    assert not out["valid"][0][outside].any()
    far = torch.nn.functional.max_pool2d((~outside)[None].float(), 5, 1, 2)[0] == 0
    assert (out["image"][:, far] == torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None]).all()


def test_windows_move_over_the_whole_image_and_never_leave_it():
    sample = coordinate_sample()
    corners = set()
    for index in range(60):
        out = augment(sample, only(size=(24, 30), scale=(2.0, 2.0)), sample_generator(0, 0, index))
        assert out["valid"].all()
        corners.add((int(out["mask"][0, 0]), int(out["image"][1, 0, 0]) // 4))
    lefts, tops = zip(*corners, strict=True)
    assert min(lefts) < 6
    assert max(lefts) > 24
    assert min(tops) < 5
    assert max(tops) > 19


def test_zoom_is_drawn_log_uniformly():
    sample = {"image": torch.zeros(3, 128, 128, dtype=torch.uint8)}
    sample |= {"mask": torch.ones(128, 128, dtype=torch.uint8)}
    shares = [
        (augment(sample, only(scale=(0.25, 1.0)), sample_generator(0, 0, i))["mask"] == 1)
        for i in range(300)
    ]
    zooms = torch.stack([s.double().mean().sqrt() for s in shares])
    assert (zooms < 0.5).double().mean() == pytest.approx(0.5, abs=0.1)
    assert zooms.min() > 0.24


def test_the_canvas_of_a_small_picture_keeps_the_mean_colour_whatever_colours_change():
    options = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}
    augmentation = only(size=(60, 60), crop="long", long=(0.5, 0.5), randaugment=9.0, **options)
    fill = torch.tensor(Augmentation().fill, dtype=torch.uint8)[:, None, None]
    for seed in range(12):
        out = augment(coordinate_sample(), augmentation, sample_generator(seed, 0, 0))
        assert (out["image"] == fill).all(0).sum() >= 60 * 60 - 24 * 30


def test_the_padding_of_a_stretched_picture_is_seam_s_zeros_but_for_rounding():
    colour = torch.tensor(Augmentation().fill) / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    assert ((colour - mean) / std).abs().max() < 0.01


@pytest.mark.parametrize("crop", ["area", "long"])
def test_the_whole_picture_is_resized_as_pillow_does_bicubically(crop):
    from PIL import Image

    noise = torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(0))
    image = (noise * 255).to(torch.uint8)
    everything = {"area": (1.0, 1.0), "ratio": (1.0, 1.0), "long": (1.0, 1.0)}
    augmentation = only(size=(45, 45), crop=crop, **everything)
    out = augment({"image": image}, augmentation, sample_generator(0, 0, 0))
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((45, 45), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(out["image"].permute(1, 2, 0).numpy() - expected).max() <= 1


def test_erasing_hides_the_image_and_spares_depth_and_mask():
    plain = augment(coordinate_sample(), only(), sample_generator(0, 0, 0))
    out = augment(coordinate_sample(), only(erase=1.0), sample_generator(0, 0, 0))
    changed = (out["image"] != plain["image"]).any(0).double().mean()
    assert 0.015 < changed < 0.34
    for part in ("depth", "valid", "mask"):
        assert torch.equal(out[part], plain[part])


def test_erasing_moves_no_window_and_changes_no_operation():
    for seed in range(8):
        base = {**GEOMETRIES["area"], "flip": 0.5, "randaugment": 9.0}
        plain = augment(coordinate_sample(), only(**base), sample_generator(seed, 0, 0))
        out = augment(coordinate_sample(), only(**base, erase=1.0), sample_generator(seed, 0, 0))
        assert torch.equal(out["mask"], plain["mask"])
        assert (out["image"] == plain["image"]).all(0).double().mean() > 0.65


def jacobian(image):
    """Return d(source x, y) / d(x, y) over the middle of a warped coordinate image."""
    x, y = image[:2].double() / 4
    top, left = HEIGHT // 2 - 6, WIDTH // 2 - 6
    corner, right, below = (0, 0), (0, 12), (12, 0)
    at = {d: torch.stack([x, y])[:, top + d[0], left + d[1]] for d in (corner, right, below)}
    return torch.stack([at[right] - at[corner], at[below] - at[corner]], dim=1) / 12


def test_rotation_is_rigid_and_reaches_its_limit_both_ways():
    sample, angles = coordinate_sample(), []
    for index in range(40):
        moved = augment(sample, only(rotation=20.0), sample_generator(0, 0, index))
        change = jacobian(moved["image"])
        torch.testing.assert_close(change @ change.T, torch.eye(2).double(), atol=0.06, rtol=0)
        angles.append(math.degrees(math.atan2(change[1, 0], change[0, 0])))
    assert -21.5 < min(angles) < -15
    assert 15 < max(angles) < 21.5


def test_shear_keeps_areas_and_not_angles():
    changes = [
        jacobian(augment(coordinate_sample(), only(shear=25.0), sample_generator(0, 0, i))["image"])
        for i in range(40)
    ]
    areas = torch.stack([change.det() for change in changes])
    skew = torch.stack([change[0] @ change[1] for change in changes]).abs()
    torch.testing.assert_close(areas, torch.ones(40).double(), atol=0.06, rtol=0)
    assert skew.max() > 0.2


def test_flip_twice_is_the_identity():
    sample = holed_sample(0.0)
    once = augment(sample, only(flip=1.0), sample_generator(0, 0, 0))
    assert torch.equal(once["mask"], sample["mask"].flip(-1))
    assert equal(augment(once, only(flip=1.0), sample_generator(0, 0, 1)), sample)


@pytest.mark.parametrize("geometry", ["zoom in", "zoom out", "rotation", "shear"])
def test_an_option_changes_no_other_draw(geometry):
    options = {**GEOMETRIES[geometry], "brightness": 0.4}
    plain = augment(holed_sample(0.0), only(**options), sample_generator(7, 0, 0))
    flipped = augment(holed_sample(0.0), only(**options, flip=1.0), sample_generator(7, 0, 0))
    for part in ("image", "depth", "valid", "mask"):
        assert torch.equal(flipped[part], plain[part].flip(-1))


def test_flips_come_with_their_probability():
    sample = {"image": torch.tensor([0, 255], dtype=torch.uint8).expand(3, 1, 2)}
    flips = [
        augment(sample, only(flip=0.25), sample_generator(0, 0, i))["image"][0, 0, 0] == 255
        for i in range(400)
    ]
    assert sum(flips) / 400 == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("geometry", [*GEOMETRIES, "operations"])
def test_what_an_invalid_pixel_holds_never_matters(geometry, planted):
    augmentation = only(**GEOMETRIES.get(geometry, {"randaugment": 9.0}))
    out = augment(holed_sample(planted), augmentation, sample_generator(5, 1, 2))
    reference = augment(holed_sample(0.0), augmentation, sample_generator(5, 1, 2))
    assert equal(out, reference)
    assert out["valid"].any()
    seen = out["depth"][out["valid"]]
    assert seen.min() >= 1
    assert seen.max() <= 1 + (WIDTH - 1) + 2 * (HEIGHT - 1)
    assert (out["depth"][~out["valid"]] == 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 90), st.integers(3, 90), st.integers(0, 2**31), st.sampled_from(PLANTED))
def test_resizing_to_any_size_reads_valid_depth_only(height, width, seed, planted):
    sample = holed_sample(planted, seed)
    sample["depth"] = torch.where(sample["valid"], 3.0, sample["depth"])
    out = resize_sample(sample, (height, width))
    seen = out["depth"][out["valid"]]
    torch.testing.assert_close(seen, torch.full_like(seen, 3.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("planted", PLANTED)
def test_not_finite_depth_is_never_valid(planted):
    sample = holed_sample(planted)
    sample["valid"] = torch.ones_like(sample["valid"])
    out = augment(sample, only(), sample_generator(0, 0, 0))
    assert torch.equal(out["valid"], sample["depth"].isfinite())
    assert out["depth"].isfinite().all()


@pytest.mark.parametrize("factor", [0.5, 2, 3])
def test_a_straight_border_of_validity_stays_in_its_place(factor):
    sample = coordinate_sample()
    sample["valid"][..., : WIDTH // 2] = False
    size = (int(HEIGHT * factor), int(WIDTH * factor))
    out = resize_sample(sample, size)
    assert not out["valid"][..., : size[1] // 2].any()
    assert out["valid"][..., size[1] // 2 :].all()


def test_a_hole_of_one_pixel_stays_when_enlarged_and_closes_when_reduced():
    sample = coordinate_sample()
    sample["valid"][0, 20, 20] = False
    large = resize_sample(sample, (3 * HEIGHT, 3 * WIDTH))["valid"]
    holes = (~large[0]).nonzero()
    assert 1 <= len(holes) <= 9
    assert ((holes >= 60) & (holes < 63)).all()
    assert resize_sample(sample, (HEIGHT // 2, WIDTH // 2))["valid"].all()


def test_no_valid_pixel_gives_no_valid_pixel():
    sample = holed_sample(math.nan)
    sample["valid"] = torch.zeros_like(sample["valid"])
    for seed in range(3):
        out = augment(sample, only(**GEOMETRIES["all"]), sample_generator(seed, 0, 0))
        assert not out["valid"].any()
        assert (out["depth"] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_labels_stay_a_subset_of_the_given_and_ignore(seed):
    sample = coordinate_sample()
    sample["mask"] = torch.where(coordinates()[1] < 20, 3, 200).to(torch.uint8)
    out = augment(sample, only(**GEOMETRIES["all"]), sample_generator(seed, 0, 0))
    assert set(out["mask"].unique().tolist()) <= {3, 200, 255}


def test_zero_strengths_are_the_identity():
    assert equal(augment(holed_sample(0.0), only(), sample_generator(0, 0, 0)), holed_sample(0.0))


def test_colour_changes_the_image_only():
    sample = holed_sample(0.0)
    colours = only(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)
    out = augment(sample, colours, sample_generator(0, 0, 0))
    assert not torch.equal(out["image"], sample["image"])
    assert equal({**out, "image": sample["image"]}, sample)


@pytest.mark.parametrize("strength", [0.2, 0.8])
def test_brightness_scales_grey_within_its_strength(strength):
    sample = {"image": torch.full((3, 2, 2), 100, dtype=torch.uint8)}
    values = [
        float(
            augment(sample, only(brightness=strength), sample_generator(0, 0, i))["image"][0, 0, 0]
        )
        for i in range(60)
    ]
    assert 100 * (1 - strength) - 1 <= min(values) < 100 * (1 - 0.8 * strength)
    assert 100 * (1 + 0.8 * strength) < max(values) <= 100 * (1 + strength) + 1


def test_the_same_generator_state_gives_the_same_sample():
    first = augment(holed_sample(0.0), Augmentation(), sample_generator(1, 2, 3))
    again = augment(holed_sample(0.0), Augmentation(), sample_generator(1, 2, 3))
    assert equal(first, again)


@pytest.mark.parametrize("other", [(2, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3), (1, 3, 2)])
def test_seed_epoch_and_index_each_change_the_draw(other):
    draws = [torch.rand(4, generator=sample_generator(*key)) for key in [(1, 2, 3), other]]
    assert not torch.equal(*draws)


def test_global_random_states_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    augment(holed_sample(0.0), Augmentation(), sample_generator(0, 0, 0))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("change", [
    lambda s: augment(s, Augmentation(size=(30, 30)), sample_generator(0, 0, 0)),
    lambda s: augment(s, Augmentation(), sample_generator(0, 0, 1)),
    lambda s: resize_sample(s, (20, 20)),
    lambda s: to_size(s, (64, 64)),
])  # fmt: skip
def test_the_given_sample_is_not_changed(change):
    sample = holed_sample(7e8)
    kept = copy.deepcopy(sample)
    change(sample)
    assert equal(sample, kept)


def test_depth_of_another_resolution_comes_to_the_image_by_its_nearest_pixel():
    sample = coordinate_sample()
    sample["depth"] = torch.rand(1, HEIGHT // 2, WIDTH // 2)
    sample["valid"] = torch.rand(1, HEIGHT // 2, WIDTH // 2) > 0.5
    out = augment(sample, only(), sample_generator(0, 0, 0))
    twice = (sample["depth"] * sample["valid"]).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(out["depth"], twice)
    assert out["valid"].double().mean() == sample["valid"].double().mean()


def test_a_sample_may_have_an_image_only():
    sample = {"image": coordinate_sample()["image"]}
    out = augment(sample, Augmentation(size=(30, 40)), sample_generator(0, 0, 0))
    assert out.keys() == {"image"}
    assert out["image"].shape == (3, 30, 40)


@pytest.mark.parametrize("size", [(96, 96), (30, 90), (48, 60), (24, 30), (10, 100)])
def test_fitting_keeps_the_aspect_and_pads_the_rest(size):
    out = to_size(coordinate_sample(), size)
    height, width = fitted_size((HEIGHT, WIDTH), size)
    assert (height == size[0] and width <= size[1]) or (width == size[1] and height <= size[0])
    assert abs(height / width - HEIGHT / WIDTH) < 1 / min(height, width)
    inside = torch.zeros(size, dtype=torch.bool)
    inside[:height, :width] = True
    assert out["image"].shape == (3, *size)
    assert torch.equal(out["valid"][0], inside)
    assert torch.equal(out["mask"] != 255, inside)
    whole = resize_sample(coordinate_sample(), (height, width))
    assert torch.equal(out["image"][:, :height, :width], whole["image"])


def test_a_picture_of_one_pixel_survives_everything():
    sample = {
        "image": torch.full((3, 1, 1), 9, dtype=torch.uint8),
        "depth": torch.ones(1, 1, 1),
        "valid": torch.ones(1, 1, 1, dtype=torch.bool),
    }
    out = augment(sample, only(size=(5, 7), scale=(1.0, 2.0)), sample_generator(0, 0, 0))
    assert (out["image"] == 9).all()
    assert (out["depth"] == 1).all()


def test_depth_of_another_aspect_is_refused_with_the_sample_s_name():
    sample = coordinate_sample() | {"depth": torch.ones(1, 48, 80)}
    sample["valid"] = torch.ones(1, 48, 80, dtype=torch.bool)
    with pytest.raises(DataError, match="grid: depth has 80x48 pixels and the image 60x48"):
        augment(sample, Augmentation(), sample_generator(0, 0, 0))


def test_depth_of_a_quarter_of_the_size_rounded_down_is_taken():
    # 500x299: a map of 125x74 is 1.25 rows away from the image's exact aspect
    sample = {
        "image": torch.zeros(3, 500, 299, dtype=torch.uint8),
        "depth": torch.ones(1, 125, 74),
        "valid": torch.ones(1, 125, 74, dtype=torch.bool),
    }
    out = augment(sample, Augmentation(size=(64, 40)), sample_generator(0, 0, 0))
    assert out["depth"].shape == (1, 64, 40)


def test_depth_without_validity_is_refused():
    sample = coordinate_sample()
    del sample["valid"]
    with pytest.raises(DataError, match="grid: depth needs a bool map `valid`"):
        augment(sample, Augmentation(), sample_generator(0, 0, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, r"flip must be in \[0, 1\], got 1.5"),
        ({"hue": 0.6}, r"hue must be in \[0, 0.5\], got 0.6"),
        ({"rotation": -1.0}, r"rotation must be in \[0, 180\], got -1"),
        ({"scale": (2.0, 1.0)}, r"0 < low <= high, got \(2.0, 1.0\)"),
        ({"scale": (0.0, 1.0)}, r"0 < low <= high"),
        (
            {"area": (0.0, 1.0)},
            r"area must be \(low, high\) with 0 < low <= high, got \(0.0, 1.0\)",
        ),
        ({"long": (2.0, 1.0)}, r"long must be \(low, high\)"),
        ({"ratio": (2.0, 1.0)}, r"ratio must be \(low, high\)"),
        ({"randaugment": 11.0}, r"randaugment must be in \[0, 10\], got 11"),
        ({"erase": -0.1}, r"erase must be in \[0, 1\], got -0.1"),
        ({"size": (0, 4)}, r"positive numbers of pixels, got \(0, 4\)"),
    ],
)
def test_impossible_ranges_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)
