from dataclasses import replace

import pytest
import torch

from dealseg.config import AugmentConfig, DataConfig, TrainConfig
from dealseg.data.transforms import Augmentation, augment, sample_generator, to_size
from dealseg.errors import ConfigError
from dealseg.training.augmentation import augmentation, augmented, sample_size, with_depth_of

HEIGHT, WIDTH = 60, 80
SIZE = (48, 64)


def scene(seed=0, height=HEIGHT, width=WIDTH):
    """Return an image of noise whose red is the depth."""
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 200
    image = image.to(torch.uint8)
    return {
        "image": image,
        "depth": 1.0 + image[:1].float(),
        "valid": torch.ones(1, height, width, dtype=torch.bool),
        "tags": torch.tensor([1.0]),
        "name": f"scene {seed}",
    }


def config(crop="zoom", profile="full", **options):
    return TrainConfig(
        profile=profile, data=DataConfig(long_side=64), augment=AugmentConfig(crop=crop, **options)
    )


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[part], b[part]) if isinstance(a[part], torch.Tensor) else a[part] == b[part]
        for part in a
    )


def test_the_default_is_fitted_into_size_and_then_zoomed_turned_and_coloured():
    ranges = Augmentation(
        size=SIZE,
        scale=(0.75, 1.25),
        flip=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.1 * 0.2,
        rotation=0.0,
        shear=0.0,
    )
    for seed in range(4):
        expected = augment(to_size(scene(), SIZE), ranges, sample_generator(seed, 0, 0))
        found = augmented(scene(), AugmentConfig(), SIZE, sample_generator(seed, 0, 0))
        assert equal(found, expected)


def test_square_crops_have_the_long_side_and_zooms_the_data_s_shape():
    assert sample_size(config("zoom"), SIZE) == SIZE
    assert sample_size(config("area"), SIZE) == (64, 64)
    assert sample_size(config("long"), SIZE) == (64, 64)


def test_cached_features_are_of_whole_pictures_whatever_the_crop():
    assert sample_size(config("area", profile="cached"), SIZE) == SIZE


@pytest.mark.parametrize("crop", ["area", "long"])
def test_square_crops_have_the_detail_of_the_picture_as_it_was_read(crop):
    # At one camera pixel per sample pixel nothing is resized: every colour of the crop is the
    # camera's, and the depth is still the red above 1.
    options = {"long": (160 / 64, 160 / 64), "area": (0.2, 0.2), "ratio": (1.0, 1.0)}
    chosen = AugmentConfig(crop=crop, colour=0.0, **options)
    large = scene(1, 128, 160)
    out = augmented(large, chosen, (64, 64), sample_generator(0, 0, 0))
    assert out["image"].shape == (3, 64, 64)
    assert out["valid"].all()
    assert torch.equal(out["depth"], 1.0 + out["image"][:1].float())


def test_a_square_crop_differs_from_one_of_a_picture_made_small_first():
    chosen = AugmentConfig(crop="area", area=(0.1, 0.1), colour=0.0, flip=0.0)
    large = scene(1, 240, 320)
    sharp = augmented(large, chosen, (64, 64), sample_generator(0, 0, 0))
    blurred = augmented(to_size(large, (64, 64)), chosen, (64, 64), sample_generator(0, 0, 0))
    assert sharp["image"].float().std() > 1.3 * blurred["image"].float().std()


def test_hue_is_a_tenth_of_colour_unless_it_is_said():
    assert augmentation(AugmentConfig(colour=0.3), SIZE).hue == pytest.approx(0.03)
    seam = augmentation(AugmentConfig(colour=0.3, hue=0.1), SIZE)
    assert (seam.hue, seam.brightness, seam.contrast, seam.saturation) == (0.1, 0.3, 0.3, 0.3)
    assert augmentation(AugmentConfig(colour=0.3, hue=0.0), SIZE).hue == 0.0


@pytest.mark.parametrize("crop", ["zoom", "area", "long"])
def test_every_option_reaches_the_augmentation(crop):
    chosen = AugmentConfig(
        crop=crop,
        scale=(0.5, 0.6),
        area=(0.2, 0.3),
        ratio=(0.9, 1.1),
        long=(1.2, 1.3),
        flip=0.1,
        rotation=3.0,
        shear=4.0,
        randaugment=5.0,
        erase=0.6,
    )
    found = augmentation(chosen, SIZE)
    same = ("crop", "scale", "area", "ratio", "long", "flip", "rotation", "shear")
    for name in (*same, "randaugment", "erase"):
        assert getattr(found, name) == getattr(chosen, name)


@pytest.mark.parametrize("crop", ["zoom", "area", "long"])
def test_the_control_has_its_own_image_and_another_s_depth(crop):
    chosen = AugmentConfig(crop=crop, colour=0.0)
    own, other = scene(0), scene(1)
    mixed = with_depth_of(own, other, chosen, SIZE)
    out = augmented(mixed, chosen, (64, 64), sample_generator(0, 0, 0))
    pure = augmented(own, chosen, (64, 64), sample_generator(0, 0, 0))
    assert (out["name"], out["depth"].shape) == ("scene 0", (1, 64, 64))
    assert not torch.equal(out["depth"], pure["depth"])
    if crop == "zoom":
        expected = to_size(other, SIZE)["depth"]
        assert torch.equal(mixed["depth"], expected)
        assert torch.equal(mixed["image"], to_size(own, SIZE)["image"])
    else:
        assert torch.equal(out["image"], pure["image"])
        assert torch.equal(mixed["depth"], other["depth"])


def test_the_control_takes_depth_of_another_shape():
    other = scene(1, 90, 70)
    mixed = with_depth_of(scene(0), other, AugmentConfig(crop="area"), SIZE)
    assert mixed["depth"].shape == (1, HEIGHT, WIDTH)
    assert mixed["valid"].double().mean() == pytest.approx(60 * 47 / (60 * 80), abs=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"area": (0.5, 1.5)}, "augment.area must be at most 1, the whole image"),
        ({"area": (0.0, 0.5)}, "augment.area must be 0 < low <= high"),
        ({"long": (2.0, 1.0)}, "augment.long must be 0 < low <= high"),
        ({"ratio": (0.0, 1.0)}, "augment.ratio must be 0 < low <= high"),
        ({"randaugment": 12.0}, r"augment.randaugment must be in \[0, 10\], got 12.0"),
        ({"erase": 1.5}, r"augment.erase must be in \[0, 1\], got 1.5"),
        ({"hue": 0.6}, r"augment.hue must be in \[0, 0.5\], got 0.6"),
        ({"flip": 2.0}, r"augment.flip must be in \[0, 1\], got 2.0"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**options)


def test_defaults_are_what_they_were():
    found = AugmentConfig()
    off = replace(found, crop="zoom", randaugment=0.0, erase=0.0, hue=None)
    assert found == off
    assert (found.scale, found.flip, found.colour) == ((0.75, 1.25), 0.5, 0.2)
    assert (found.rotation, found.shear) == (0.0, 0.0)
