import numpy as np
import pytest
import torch

from dealseg.depth import KINDS
from dealseg.losses import depth_edges
from dealseg.noise import (
    MODELS,
    blur,
    edge_holes,
    gaussian,
    holes,
    near_edges,
    offset,
    parse_noise,
    quantise,
    scale,
    shift,
    unit_of,
)
from dealseg.noise.models import JUMP
from oracles import noise as oracle

STRENGTHS = {
    "gaussian": (0.01, 0.05, 0.2),
    "quantise": (0.02, 0.1, 0.4),
    "holes": (0.1, 0.3, 0.8),
    "edge-holes": (0.2, 0.5, 1.0),
    "blur": (0.5, 1.0, 3.0),
    "shift": (1, 3, 6),
    "scale": (0.05, 0.2, 1.0),
    "offset": (0.05, 0.2, 1.0),
}
"""Of every model, rising."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(height=24, width=30, seed=0):
    """A slanted wall of 1.5 to 3 m with a box at 0.8 m before it, and some holes."""
    chance = np.random.default_rng(seed)
    depth = np.linspace(1.5, 3.0, width) * np.ones((height, 1)) + chance.normal(
        0, 1e-3, (height, width)
    )
    box = depth[6:16, 8:20]
    box[:] = 0.8 + chance.normal(0, 1e-3, box.shape)
    valid = chance.random((height, width)) > 0.1
    depth[~valid] = 0
    return torch.from_numpy(depth)[None], torch.from_numpy(valid)[None]


def run(text, depth, valid, kind="metric", seed=0):
    return parse_noise(text)(depth, valid, kind=kind, generator=generator(seed))


def damage(text, kind):
    """Root mean square change of what stays valid, and the number of pixels lost."""
    depth, valid = scene()
    noisy, kept = run(text, depth, valid, kind)
    change = (noisy - depth)[kept].square().mean().sqrt() if kept.any() else torch.tensor(0.0)
    return float(change), int(valid.sum() - kept.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_strength_0_changes_nothing(name, kind):
    depth, valid = scene()
    noisy, kept = run(f"{name}:0", depth.float(), valid, kind)
    assert torch.equal(noisy, depth.float())
    assert torch.equal(kept, valid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_more_strength_is_more_damage_with_the_same_seed(name, kind):
    found = [damage(f"{name}:{strength}", kind) for strength in STRENGTHS[name]]
    changes, lost = zip(*found, strict=True)
    assert list(lost) == sorted(lost)
    if name in {"holes", "edge-holes"}:
        assert 0 < lost[0] < lost[1] < lost[2]
        assert changes == (0, 0, 0)
    else:
        assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("name", ["holes", "edge-holes"])
def test_stronger_holes_hold_the_weaker_ones(name):
    depth, valid = scene()
    kept = [run(f"{name}:{strength}", depth, valid)[1] for strength in STRENGTHS[name]]
    assert not (kept[1] & ~kept[0]).any()
    assert not (kept[2] & ~kept[1]).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_what_is_invalid_stays_invalid_and_zero_and_inputs_are_not_changed(name, kind):
    depth, valid = scene()
    before = depth.clone(), valid.clone()
    noisy, kept = run(f"{name}:{STRENGTHS[name][1]}", depth, valid, kind)
    assert torch.equal(depth, before[0])
    assert torch.equal(valid, before[1])
    if name != "shift":
        assert not (kept & ~valid).any()
    assert (noisy[~kept] == 0).all()
    assert noisy[kept].isfinite().all()
    if kind != "relative":
        assert (noisy[kept] > 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_number_hidden_under_an_invalid_pixel_reaches_nothing(name):
    depth, valid = scene()
    poisoned = torch.where(valid, depth, torch.nan)
    text = f"{name}:{STRENGTHS[name][1]}"
    for kind in KINDS:
        clean, kept = run(text, depth, valid, kind)
        noisy, also = run(text, poisoned, valid, kind)
        assert torch.equal(noisy, clean)
        assert torch.equal(kept, also)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1)])
def test_tiny_and_unmeasured_maps_pass_through_every_model(name, kind, shape):
    text = f"{name}:{STRENGTHS[name][2]}"
    for valid in (torch.zeros(1, *shape, dtype=torch.bool), torch.ones(1, *shape).bool()):
        noisy, kept = run(text, torch.ones(1, *shape), valid, kind)
        assert noisy.shape == kept.shape == (1, *shape)
        assert noisy.isfinite().all()
        assert not (kept & ~valid).any()


@pytest.mark.parametrize("name", MODELS)
def test_disparity_noise_does_not_depend_on_the_unknown_factor(name):
    disparity, valid = scene()
    text = f"{name}:{STRENGTHS[name][1]}"
    noisy, kept = run(text, disparity, valid, "disparity")
    other, also = run(text, 8 * disparity, valid, "disparity")
    assert torch.allclose(other, 8 * noisy, rtol=1e-9)
    assert torch.equal(kept, also)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"scale"}))
def test_relative_noise_does_not_depend_on_the_unknown_factor_and_offset(name):
    inverse, valid = scene()
    text = f"{name}:{STRENGTHS[name][0]}"
    noisy, kept = run(text, inverse, valid, "relative")
    other, also = run(text, torch.where(valid, 8 * inverse + 3, 0.0), valid, "relative")
    assert torch.equal(kept, also)
    assert torch.allclose(other, torch.where(kept, 8 * noisy + 3, 0.0), atol=1e-9)


def test_the_deviation_of_triangulation_noise_is_sigma_times_the_squared_distance():
    for distance in (0.5, 1.0, 3.0):
        depth = torch.full((1, 200, 200), distance, dtype=torch.float64)
        noisy, kept = gaussian(
            depth, depth > 0, 0.02, kind="metric", generator=generator(int(distance * 2))
        )
        assert kept.all()
        assert float(noisy.std()) == pytest.approx(0.02 * distance**2, rel=0.02)
        assert float(noisy.mean()) == pytest.approx(distance, rel=1e-3)


def test_noise_of_inverse_depth_is_the_same_everywhere_and_agrees_with_that_of_depth():
    metres = torch.linspace(0.9, 1.2, 100_000, dtype=torch.float64)[None, None]
    valid = metres > 0
    as_metres, _ = gaussian(metres, valid, 1e-3, kind="metric", generator=generator())
    inverse = 1 / metres
    noisy, _ = gaussian(inverse, valid, 1e-3, kind="disparity", generator=generator())
    moved, unit = noisy - inverse, float(inverse.median())
    assert float(moved[..., :50_000].std()) == pytest.approx(1e-3 * unit, rel=0.02)
    assert float(moved[..., 50_000:].std()) == pytest.approx(1e-3 * unit, rel=0.02)
    ratio = (as_metres - metres) / (1 / noisy - metres)
    assert float(ratio.median()) == pytest.approx(-1 / unit, rel=0.01)


def test_depth_that_noise_makes_negative_is_lost():
    depth = torch.full((1, 100, 100), 2.0)
    noisy, kept = gaussian(depth, depth > 0, 1.0, kind="metric", generator=generator())
    assert float((~kept).float().mean()) == pytest.approx(0.3085, abs=0.02)  # P(n < -1/2)
    assert (noisy[~kept] == 0).all()


@pytest.mark.parametrize("step", [0.03, 0.11, 0.9])
def test_quantisation_rounds_inverse_depth_pixel_by_pixel(step):
    depth, valid = scene()
    noisy, kept = quantise(depth, valid, step, kind="metric")
    expected = oracle.quantised_metres(depth[0].numpy(), valid[0].numpy(), step)
    assert np.allclose(noisy[0], expected, rtol=1e-12)
    assert torch.equal(kept[0], torch.from_numpy(expected > 0))


def test_steps_of_depth_grow_with_the_squared_distance():
    depth = torch.linspace(0.95, 4.1, 40_000, dtype=torch.float64)[None, None]
    levels = quantise(depth, depth > 0, 2.85e-3, kind="metric")[0].unique()
    for distance in (1.0, 2.0, 4.0):
        at = int((levels - distance).abs().argmin())
        assert float(levels[at + 1] - levels[at]) == pytest.approx(2.85e-3 * distance**2, rel=0.03)


def test_inverse_depth_is_rounded_to_steps_of_its_own_unit():
    values, valid = scene()
    disparity, kept = quantise(values, valid, 0.4, kind="disparity")
    step = 0.4 * float(values[valid].median())
    assert torch.allclose(disparity[kept] / step, (disparity[kept] / step).round())
    assert (values - disparity)[kept].abs().max() <= step / 2 + 1e-9
    relative, kept = quantise(values, valid, 0.3, kind="relative")
    step, low = 0.3 * unit_of(values, valid, "relative"), values[valid].min()
    assert torch.equal(kept, valid)
    assert torch.allclose((relative[kept] - low) / step, ((relative[kept] - low) / step).round())
    assert (values - relative)[kept].abs().max() <= step / 2 + 1e-9


@pytest.mark.parametrize(("share", "size"), [(0.02, 1), (0.3, 1), (0.3, 5), (0.7, 3)])
def test_holes_take_their_share_in_squares(share, size):
    depth = torch.ones(1, 400, 400)
    lost = [~holes(depth, depth > 0, share, size, generator=generator(s))[1] for s in range(4)]
    assert float(torch.stack(lost).float().mean()) == pytest.approx(share, rel=0.1)
    rows = lost[0][0].int().diff(dim=0).ne(0).any(dim=1).nonzero().flatten() + 1
    assert len({int(row) % size for row in rows}) == 1  # one lattice


def test_the_lattice_of_holes_lies_elsewhere_with_another_seed():
    depth = torch.ones(1, 60, 60)
    firsts = set()
    for seed in range(12):
        kept = holes(depth, depth > 0, 0.5, 6, generator=generator(seed))[1][0]
        rows = kept.int().diff(dim=0).ne(0).any(dim=1).nonzero().flatten() + 1
        firsts.add(int(rows[0]) % 6)
    assert len(firsts) >= 4


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_the_band_about_edges_is_that_of_the_definition(radius):
    depth, valid = scene()
    found = near_edges(depth, valid, radius, "metric")
    expected = oracle.near_edges(depth[0].numpy(), valid[0].numpy(), radius, JUMP)
    assert 0 < expected.mean() < 0.6
    assert torch.equal(found[0], torch.from_numpy(expected))


def test_edge_holes_are_only_near_edges_and_at_strength_1_take_the_whole_band():
    depth, valid = scene()
    band = near_edges(depth, valid, 2, "metric")
    for share in (0.3, 1.0):
        _, kept = edge_holes(depth, valid, share, 2, kind="metric", generator=generator())
        assert torch.equal(kept | band, valid | band)
    assert not (kept & band).any()


def test_edge_holes_take_their_share_of_the_band():
    depth = torch.ones(1, 300, 300)
    depth[..., 60::60, :] = 2.0
    valid = depth > 0
    band = near_edges(depth, valid, 1, "metric")
    lost = [
        ~edge_holes(depth, valid, 0.4, 1, kind="metric", generator=generator(s))[1]
        for s in range(6)
    ]
    assert float(torch.stack(lost)[:, band].float().mean()) == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0])
def test_blur_is_the_weighted_mean_of_valid_neighbours(sigma):
    depth, valid = scene(14, 15)
    noisy, kept = blur(depth, valid, sigma)
    assert np.allclose(noisy[0], oracle.blurred(depth[0].numpy(), valid[0].numpy(), sigma))
    assert torch.equal(kept, valid)


def test_blur_puts_flying_pixels_between_near_and_far():
    depth = torch.ones(1, 20, 20)
    depth[..., 10:] = 3.0
    noisy, _ = blur(depth, depth > 0, 1.0)
    between = (noisy > 1.2) & (noisy < 2.8)
    assert between[..., 8:12].any()
    assert not between[..., :6].any()
    assert torch.allclose(noisy[..., :6], torch.ones(()))


@pytest.mark.parametrize(
    ("right", "down"), [(3, 0), (-4, 2), (0, -5), (29, 0), (30, 0), (0, 24), (-99, 99)]
)
def test_a_shift_moves_depth_and_validity_by_whole_pixels(right, down):
    depth, valid = scene()
    noisy, kept = shift(depth, valid, right, down)
    assert np.array_equal(noisy[0], oracle.moved(depth[0].numpy(), right, down))
    assert np.array_equal(kept[0], oracle.moved(valid[0].numpy(), right, down))


def test_scale_multiplies_and_offset_adds_metres():
    depth, valid = scene()
    assert torch.allclose(scale(depth, valid, 0.1)[0], 1.1 * depth)
    noisy, kept = offset(depth, valid, -1.0, kind="metric")
    assert torch.equal(kept, valid & (depth > 1.0))
    assert torch.allclose(noisy[kept], depth[kept] - 1.0)


@pytest.mark.parametrize(
    ("text", "kind", "same"),
    [
        ("scale:0.3", "metric", True),
        ("scale:0.3", "disparity", True),
        ("scale:0.3", "relative", True),
        ("offset:0.3", "disparity", True),
        ("offset:0.3", "relative", True),
        ("offset:0.3", "metric", False),
        ("shift:3", "metric", False),
    ],
)
def test_the_loss_notices_what_it_says_and_no_more(text, kind, same):
    depth, valid = scene()
    noisy, kept = run(text, depth, valid, kind)
    clean, found = (
        depth_edges(d[None], v[None], size=(12, 15), space="inverse", kind=kind)
        for d, v in ((depth, valid), (noisy, kept))
    )
    close = torch.allclose(clean.strength, found.strength, atol=1e-9)
    assert close == same


def test_the_unit_is_the_metre_the_median_or_the_spread():
    values = torch.arange(1.0, 102.0).reshape(1, 1, 101)
    valid = torch.ones_like(values, dtype=torch.bool)
    assert unit_of(values, valid, "metric") == 1
    assert unit_of(values, valid, "disparity") == 51
    assert unit_of(values, valid, "relative") == pytest.approx(96)
