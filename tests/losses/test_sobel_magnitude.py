import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy import ndimage

from dealseg.losses import sobel_magnitude
from oracles import deal as oracle


def random_maps(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradient(maps):
    maps = maps.clone().requires_grad_()
    sobel_magnitude(maps).sum().backward()
    return maps.grad


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (2, 2), (3, 3), (9, 7)])
def test_equals_the_loop_with_repeated_borders(size):
    maps = random_maps(2, 3, *size)
    expected = np.array([[oracle.sobel(m) for m in image] for image in maps.numpy()])
    np.testing.assert_allclose(sobel_magnitude(maps).numpy(), expected, atol=1e-14)


def test_equals_scipy():
    maps = random_maps(1, 1, 20, 30, seed=1)
    across, down = (ndimage.sobel(maps[0, 0].numpy(), axis, mode="nearest") for axis in (1, 0))
    expected = np.hypot(across, down) / 8
    np.testing.assert_allclose(sobel_magnitude(maps)[0, 0].numpy(), expected, atol=1e-14)


@pytest.mark.parametrize(("right", "down"), [(1.0, 0.0), (0.0, 0.5), (3.0, -4.0)])
def test_a_ramp_has_its_slope_everywhere_inside(right, down):
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    strength = sobel_magnitude((right * x + down * y)[None, None])[0, 0, 1:-1, 1:-1]
    slope = (right**2 + down**2) ** 0.5
    torch.testing.assert_close(strength, torch.full((5, 7), slope))


def test_a_step_gives_half_its_height_on_both_sides_and_nothing_elsewhere():
    maps = torch.zeros(1, 1, 5, 6)
    maps[..., 3:] = 1
    expected = torch.tensor([0, 0, 0.5, 0.5, 0, 0]).expand(5, 6)
    assert torch.equal(sobel_magnitude(maps)[0, 0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 0.3, -1e4])
def test_constant_maps_have_no_edge_at_the_frame_either_and_gradient_zero(value, dtype):
    maps = torch.full((2, 3, 5, 4), value, dtype=dtype)
    assert (sobel_magnitude(maps) == 0).all()
    assert (gradient(maps) == 0).all()


def test_gradient_is_finite_where_a_map_is_flat_in_part():
    maps = torch.zeros(1, 1, 8, 8)
    maps[..., 5, 5] = 1e-22
    maps[..., 1, 1] = 1.0
    assert gradient(maps).isfinite().all()


def test_gradcheck():
    maps = random_maps(1, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(sobel_magnitude, (maps,))


@pytest.mark.parametrize("turn", [
    lambda m: m.flip(-1), lambda m: m.flip(-2), lambda m: m.transpose(-1, -2),
])  # fmt: skip
def test_turns_with_the_map(turn):
    maps = random_maps(2, 2, 6, 6)
    torch.testing.assert_close(sobel_magnitude(turn(maps)), turn(sobel_magnitude(maps)))


def test_scales_with_the_map_and_ignores_an_offset():
    maps = random_maps(1, 2, 6, 5)
    torch.testing.assert_close(sobel_magnitude(-3 * maps + 7), 3 * sobel_magnitude(maps))


def test_maps_in_the_unit_interval_stay_below_one():
    maps = (random_maps(50, 1, 5, 5) > 0.5).double()
    assert sobel_magnitude(maps).max() <= 0.5**0.5 + 1e-12


def test_each_map_is_taken_alone():
    maps = random_maps(2, 3, 5, 5)
    alone = sobel_magnitude(maps[1:, 2:])
    maps[0], maps[1, :2] = torch.nan, 1e9
    assert torch.equal(sobel_magnitude(maps)[1:, 2:], alone)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_keeps_the_dtype(dtype, tolerance):
    maps = random_maps(1, 2, 8, 8).to(dtype)
    value = sobel_magnitude(maps)
    assert value.dtype == dtype
    exact = sobel_magnitude(maps.double())
    torch.testing.assert_close(value.double(), exact, atol=tolerance, rtol=tolerance)


def test_does_not_change_its_argument():
    maps = random_maps(1, 1, 4, 4)
    kept = maps.clone()
    sobel_magnitude(maps)
    assert torch.equal(maps, kept)


def test_rejects_a_map_without_batch_and_class():
    with pytest.raises(TypeCheckError, match="parameter 'maps'"):
        sobel_magnitude(torch.rand(5, 5))
