import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dealseg.data.crops import ATTEMPTS, area_crop, long_crop, zoom_crop

AREA, RATIO, LONG = (0.08, 1.0), (3 / 4, 4 / 3), (1.0, 12 / 7)
SIZES = st.tuples(st.integers(1, 900), st.integers(1, 900))


def numbers(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, generator=generator, dtype=torch.float64).tolist()


def some_area_crop(image, seed, area=AREA, ratio=RATIO):
    place, attempts = numbers(2, seed), numbers(2 * ATTEMPTS, seed + 10**6)
    return area_crop(image, (224, 224), area, ratio, place, attempts)


def some_long_crop(image, seed, long=LONG):
    return long_crop(image, (448, 448), long, numbers(3, seed))


def ks(values, cumulative):
    """Return the Kolmogorov-Smirnov distance of values to a distribution."""
    values = sorted(values)
    n = len(values)
    return max(
        max((i + 1) / n - cumulative(v), cumulative(v) - i / n) for i, v in enumerate(values)
    )


@given(SIZES, st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_windows_of_random_area_lie_inside_every_image(image, seed):
    window = some_area_crop(image, seed).window
    assert window.top >= 0
    assert window.left >= 0
    assert 0 < window.height <= image[0] - window.top
    assert 0 < window.width <= image[1] - window.left


def test_windows_have_torchvision_s_areas_and_shapes():
    from torchvision.transforms import RandomResizedCrop

    image = (480, 500)
    torch.manual_seed(0)
    picture = torch.zeros(3, *image)
    theirs = [RandomResizedCrop.get_params(picture, AREA, RATIO) for _ in range(1500)]
    ours = [some_area_crop(image, seed).window for seed in range(1500)]
    for figure in (
        lambda w: w[2] * w[3],
        lambda w: w[3] / w[2],
        lambda w: w[0] / max(1, image[0] - w[2]),
        lambda w: w[1] / max(1, image[1] - w[3]),
    ):
        a, b = sorted(map(figure, ours)), sorted(map(figure, theirs))
        reach = max(abs(x - y) for x, y in zip(a, b, strict=True))
        assert reach < 0.08 * (b[-1] - b[0])


def test_the_share_of_the_image_is_uniform():
    image = (2000, 2000)
    areas = [some_area_crop(image, seed, (0.1, 0.5), (1.0, 1.0)).window for seed in range(800)]
    shares = [w.height * w.width / 4e6 for w in areas]
    assert ks(shares, lambda share: (share - 0.1) / 0.4) < 0.05


def test_without_room_for_any_shape_the_middle_is_taken():
    window = some_area_crop((100, 1000), 0, area=(1.0, 1.0)).window
    assert window == (0, (1000 - 133) // 2, 100, 133)
    window = some_area_crop((1000, 100), 0, area=(1.0, 1.0)).window
    assert window == ((1000 - 133) // 2, 0, 133, 100)


@given(SIZES, st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_the_canvas_of_a_stretched_image_is_filled_as_far_as_the_image_reaches(image, seed):
    crop = some_long_crop(image, seed)
    (height, width), window, canvas = crop.stretched, crop.window, crop.canvas
    assert 448 <= max(height, width) <= 768
    assert crop.size == (window.height, window.width) == (min(448, height), min(448, width))
    assert (canvas.height, canvas.width) == (448, 448)
    assert 0 <= window.top <= height - window.height
    assert 0 <= window.left <= width - window.width
    assert 0 <= -canvas.top <= 448 - window.height
    assert 0 <= -canvas.left <= 448 - window.width


def test_stretching_keeps_the_aspect():
    for seed in range(20):
        height, width = some_long_crop((375, 500), seed).stretched
        assert abs(height - width * 375 / 500) <= 0.5


def test_longer_sides_are_uniform_with_both_limits():
    found = [
        some_long_crop((500, 400), seed, (4 / 448, 7 / 448)).stretched[0] for seed in range(400)
    ]
    assert set(found) == {4, 5, 6, 7}
    assert all(found.count(side) > 70 for side in range(4, 8))


def test_a_small_image_lies_anywhere_on_its_canvas():
    tops = [-some_long_crop((224, 448), seed, (1.0, 1.0)).canvas.top for seed in range(400)]
    assert ks(tops, lambda top: top / 224) < 0.08
    assert {some_long_crop((224, 448), 0, (1.0, 1.0)).canvas.left} == {0}


def test_a_zoom_of_one_takes_the_largest_window_of_the_aspect():
    crop = zoom_crop((300, 500), (100, 100), (1.0, 1.0), [0.3, 0.0, 0.5])
    assert crop == (None, (0, 100, 300, 300), (100, 100), None)


def test_zooms_are_log_uniform():
    sides = [
        zoom_crop((4000, 4000), (100, 100), (0.5, 2.0), numbers(3, seed)).window.height
        for seed in range(500)
    ]
    assert ks([math.log2(4000 / side) for side in sides], lambda zoom: (zoom + 1) / 2) < 0.07


@pytest.mark.parametrize("last", [0.0, 1 - 2**-53])
def test_the_ends_of_the_draws_stay_inside(last):
    window = area_crop((5, 5), (4, 4), (0.3, 1.0), RATIO, [last] * 2, [last] * 20).window
    assert window.top + window.height <= 5
    crop = long_crop((5, 9), (4, 4), (1.0, 2.0), [last] * 3)
    assert crop.window.left + crop.window.width <= crop.stretched[1]
