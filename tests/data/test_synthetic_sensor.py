import numpy as np
import pytest

from dealseg.data.synthetic.sensor import (
    DepthSensor,
    deviation,
    fray,
    hole_chance,
    measure,
    patchy,
    quantise,
    stereo_shadow,
)

SENSOR = DepthSensor()
EXACT = DepthSensor(step=1e-7, jitter=0.0, lateral=0.0)
WIDE = SENSOR.focal * SENSOR.baseline


def flat(z, shape=(120, 160)):
    return np.full(shape, float(z))


def seen(depth, sensor, *, facing=None, light=None, seed=0):
    ones = np.ones_like(depth)
    facing, light = ones if facing is None else facing, ones if light is None else light
    return measure(depth, facing, light, 230.0, sensor, np.random.default_rng(seed))


@pytest.mark.parametrize("z", [0.5, 1.0, 2.0, 4.0])
def test_noise_of_a_facing_plane_is_the_closed_form_and_grows_with_the_square(z):
    sensor = DepthSensor(step=1e-7, lateral=0.0)
    error = seen(flat(z), sensor) - z
    assert error.std() == pytest.approx(z**2 / WIDE / 16, rel=0.03)
    assert abs(error.mean()) < 0.1 * error.std()


def test_figures_are_those_of_khoshelham_and_elberink():
    assert deviation(flat(5), flat(1), SENSOR)[0, 0] == pytest.approx(0.036, abs=0.001)
    apart = np.unique(quantise(np.linspace(4.9, 5.1, 2000)[None], SENSOR))
    assert np.diff(apart).mean() == pytest.approx(0.07, abs=0.003)


def test_noise_grows_at_grazing_angles_by_nguyens_term():
    theta = np.deg2rad(75.0)
    extra = deviation(flat(1), flat(np.cos(theta)), SENSOR) - deviation(flat(1), flat(1), SENSOR)
    assert extra[0, 0] == pytest.approx(1e-4 * theta**2 / (np.pi / 2 - theta) ** 2)


def test_quantised_depths_are_whole_disparity_steps():
    depth = quantise(np.linspace(0.4, 5.0, 999)[None], SENSOR)
    steps = WIDE / depth / SENSOR.step
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    error = np.abs(depth - np.linspace(0.4, 5.0, 999))
    assert (error <= 0.51 * depth**2 * SENSOR.step / WIDE * 1.02).all()


def test_ideal_sensor_returns_the_exact_depth():
    depth = np.linspace(0.5, 3.0, 120)[:, None] * np.ones(160)
    np.testing.assert_allclose(seen(depth, EXACT), depth, rtol=1e-6)


def test_shadow_lies_left_of_a_near_thing_and_is_as_wide_as_the_disparity_step():
    depth = flat(2.0)
    depth[30:80, 60:100] = 1.0
    hidden = stereo_shadow(depth, 230.0 * SENSOR.baseline)
    width = round(230.0 * SENSOR.baseline * (1 / 1.0 - 1 / 2.0))
    expected = np.zeros_like(hidden)
    expected[30:80, 60 - width : 60] = True
    assert (hidden ^ expected).sum(axis=1).max() <= 1
    assert not hidden[:30].any()
    assert not hidden[:, 60:].any()


def test_shadow_of_every_pixel_is_that_of_the_second_views_own_rays():
    rng = np.random.default_rng(0)
    row = np.repeat(rng.uniform(0.8, 2.0, 16), 10)
    hidden = stereo_shadow(row[None], 20.0)[0]
    place = np.arange(160) - 20.0 / row
    slow = [any(place[q] <= place[p] for q in range(p + 1, 160)) for p in range(160)]
    assert hidden.tolist() == slow
    assert 5 < hidden.sum() < 100


def test_dark_surfaces_lose_their_depth_and_bright_ones_keep_it():
    light = flat(0.5)
    light[:, :50] = 0.2 * SENSOR.dark
    light[:, 50:100] = 0.75 * SENSOR.dark
    missing = seen(flat(1), SENSOR, light=light) == 0
    assert missing[:, :50].all()
    assert 0.3 < missing[:, 50:100].mean() < 0.7
    assert not missing[:, 100:].any()


def test_grazing_surfaces_lose_their_depth():
    angle = np.deg2rad([0.0, SENSOR.grazing - 1, SENSOR.grazing + 4, 89.0])
    chance = hole_chance(np.cos(angle)[None], np.ones((1, 4)), SENSOR)[0]
    np.testing.assert_allclose(chance, [0, 0, 0.5, 1], atol=1e-9)


def test_nothing_is_measured_out_of_range_or_where_nothing_is():
    depth = flat(1.0)
    depth[:, :40], depth[:, 40:80], depth[:, 80:120] = SENSOR.far * 1.1, SENSOR.near * 0.9, np.inf
    out = seen(depth, SENSOR)
    assert (out[:, :120] == 0).all()
    assert (out[:, 125:] > 0).all()


def test_frayed_edges_only_take_depths_from_neighbours():
    depth = flat(2.0)
    depth[:, 80:] = 1.0
    out = fray(depth, 0.35, np.random.default_rng(0))
    assert set(np.unique(out)) == {1.0, 2.0}
    changed = np.flatnonzero((out != depth).any(axis=0))
    assert changed.min() >= 77
    assert changed.max() <= 82
    assert 0.03 < (out != depth)[:, 79:81].mean() < 0.2


def test_patches_are_spread_evenly_and_smooth():
    field = patchy(np.random.default_rng(0), (120, 160))
    np.testing.assert_allclose(np.sort(field, axis=None), (np.arange(19200) + 0.5) / 19200)
    assert np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1] > 0.6


def test_the_same_generator_gives_the_same_depth_and_another_does_not():
    assert np.array_equal(seen(flat(1), SENSOR), seen(flat(1), SENSOR))
    assert not np.array_equal(seen(flat(1), SENSOR), seen(flat(1), SENSOR, seed=1))
