import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from dealseg.losses import edge_activation, edge_alignment
from oracles import deal as oracle


def inputs(seed=0, batch=3, classes=4, size=(5, 6), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    cam, depth = rand(batch, classes, *size) ** 2, rand(batch, 1, *size) ** 2
    tags = (rand(batch, classes) > 0.5).to(dtype)
    tags[:, 0] = 1
    return cam, depth, tags, rand(batch, 1, *size) > 0.3


def gradient(cam, *rest, **options):
    cam = cam.clone().requires_grad_()
    edge_alignment(cam, *rest, **options).sum().backward()
    return cam.grad


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mu", [0.0, 2.5])
def test_equals_the_loops(seed, mu):
    cam, depth, tags, valid = inputs(seed)
    arrays = [t.numpy() for t in (cam, depth, tags)]
    for mask in (None, valid):
        expected = oracle.edge_alignment(*arrays, None if mask is None else mask.numpy(), mu)
        value = edge_alignment(cam, depth, tags, valid=mask, mu=mu)
        torch.testing.assert_close(value, torch.from_numpy(expected), atol=1e-12, rtol=0)


def test_one_pixel_costs_minus_the_product_of_its_two_activations():
    cam, depth = (torch.full((1, 1, 1, 1), a, dtype=torch.float64) for a in (0.1, 0.01))
    value = edge_alignment(cam, depth, torch.ones(1, 1).double())
    product = math.tanh(2.5 + math.log(0.1 / 0.9)) * math.tanh(2.5 + math.log(0.01 / 0.99))
    assert value.item() == pytest.approx(-product, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(-5, 5))
def test_stays_within_minus_one_and_one(seed, mu):
    cam, depth, tags, valid = inputs(seed)
    assert edge_alignment(cam, depth, tags, valid=valid, mu=mu).abs().max() <= 1 + 1e-12


def test_perfect_agreement_costs_minus_one_and_its_opposite_one():
    _, depth, tags, valid = inputs()
    depth = (depth > 0.3).double()
    same = depth.expand(-1, 4, -1, -1)
    assert (edge_alignment(same, depth, tags, valid=valid) == -1).all()
    assert (edge_alignment(1 - same, depth, tags, valid=valid) == 1).all()


def test_a_flat_cam_costs_twice_the_edge_share_less_one():
    depth = torch.zeros(1, 1, 10, 10)
    depth[..., 4] = 1
    depth[..., 0, 0] = 1
    value = edge_alignment(torch.zeros(1, 2, 10, 10), depth, torch.ones(1, 2))
    assert value.item() == pytest.approx(2 * 0.11 - 1, abs=1e-6)


def test_edges_in_place_cost_less_than_edges_moved_aside():
    depth = torch.full((1, 1, 8, 8), 0.01)
    depth[..., 4] = 0.8
    tags = torch.ones(1, 1)
    costs = [edge_alignment(depth.roll(by, -1), depth, tags).item() for by in (0, 1, 3)]
    assert costs[0] < costs[1]
    assert costs[0] < costs[2]


def test_a_descent_step_on_an_edge_cell_raises_the_cam_s_edge_there():
    cam, depth = torch.full((1, 1, 2, 2), 0.05), torch.tensor([[[[0.9, 0.0], [0.0, 0.0]]]])
    slope = gradient(cam, depth, torch.ones(1, 1))
    assert slope[0, 0, 0, 0] < 0
    assert (slope.flatten()[1:] > 0).all()


def test_each_image_is_scored_alone():
    cam, depth, tags, valid = inputs()
    together = edge_alignment(cam, depth, tags, valid=valid)
    for b in range(3):
        one = slice(b, b + 1)
        alone = edge_alignment(cam[one], depth[one], tags[one], valid=valid[one])
        torch.testing.assert_close(together[one], alone, atol=1e-14, rtol=0)


def test_a_broken_image_harms_no_other():
    cam, depth, tags, valid = inputs()
    clean = edge_alignment(cam, depth, tags, valid=valid)
    cam[1] = torch.nan
    assert torch.equal(edge_alignment(cam, depth, tags, valid=valid)[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("planted", [0.0, 1.0, math.nan, math.inf])
def test_absent_classes_never_matter(planted):
    cam, depth, tags, valid = inputs()
    clean = edge_alignment(cam, depth, tags, valid=valid)
    cam[tags == 0] = planted
    assert torch.equal(edge_alignment(cam, depth, tags, valid=valid), clean)
    slope = gradient(cam, depth, tags, valid=valid)
    assert (slope[tags == 0] == 0).all()
    assert slope.isfinite().all()


def test_the_order_of_classes_does_not_matter():
    cam, depth, tags, valid = inputs()
    order = torch.tensor([2, 0, 3, 1])
    value = edge_alignment(cam[:, order], depth, tags[:, order], valid=valid)
    torch.testing.assert_close(value, edge_alignment(cam, depth, tags, valid=valid))


def test_the_mean_runs_over_the_classes_present():
    cam, depth, _, valid = inputs()
    one_by_one = [
        edge_alignment(cam, depth, torch.eye(4).double()[[k] * 3], valid=valid) for k in (1, 3)
    ]
    both = edge_alignment(cam, depth, torch.tensor([[0, 1, 0, 1.0]] * 3).double(), valid=valid)
    torch.testing.assert_close(both, sum(one_by_one) / 2)


def test_turns_with_a_horizontal_flip():
    cam, depth, tags, valid = inputs()
    value = edge_alignment(cam.flip(-1), depth.flip(-1), tags, valid=valid.flip(-1))
    torch.testing.assert_close(value, edge_alignment(cam, depth, tags, valid=valid))


@pytest.mark.parametrize("planted", [0.0, 1.0, math.nan, math.inf, -7.0])
def test_depth_edges_of_invalid_cells_never_matter(planted):
    cam, depth, tags, valid = inputs()
    clean = edge_alignment(cam, depth, tags, valid=valid)
    slope = gradient(cam, depth, tags, valid=valid)
    depth = depth.masked_fill(~valid, planted)
    assert torch.equal(edge_alignment(cam, depth, tags, valid=valid), clean)
    assert torch.equal(gradient(cam, depth, tags, valid=valid), slope)
    assert (slope[(~valid).expand_as(slope)] == 0).all()


def test_the_mean_runs_over_the_valid_cells():
    cam, depth, tags, _ = inputs(size=(5, 6))
    valid = torch.zeros(3, 1, 5, 6, dtype=torch.bool)
    valid[..., :3] = True
    value = edge_alignment(cam, depth, tags, valid=valid)
    torch.testing.assert_close(value, edge_alignment(cam[..., :3], depth[..., :3], tags))


def test_no_valid_cell_costs_nothing_and_has_gradient_zero():
    cam, depth, tags, valid = inputs()
    valid[1] = False
    depth[1] = torch.nan
    assert edge_alignment(cam, depth, tags, valid=valid)[1] == 0
    slope = gradient(cam, depth, tags, valid=valid)
    assert (slope[1] == 0).all()
    assert slope[0].abs().sum() > 0


@pytest.mark.parametrize("which", [[1], [0, 1, 2]])
def test_no_tag_costs_nothing_and_has_gradient_zero(which):
    cam, depth, tags, valid = inputs()
    tags[which] = 0
    assert (edge_alignment(cam, depth, tags, valid=valid)[which] == 0).all()
    assert (gradient(cam, depth, tags, valid=valid)[which] == 0).all()


def test_gradcheck():
    cam, depth, tags, valid = inputs(batch=2, classes=3, size=(3, 4))
    cam = cam.clamp(0.01, 0.99).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: edge_alignment(c, depth, tags, valid=valid), (cam,))


def test_gradient_is_finite_at_the_ends_of_the_interval():
    cam = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
    depth = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 2, 2)
    assert (gradient(cam, depth, torch.ones(1, 1)) == 0).all()
    assert edge_alignment(cam, depth, torch.ones(1, 1)).item() == 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_keeps_the_dtype_and_its_accuracy(dtype, tolerance):
    cam, depth, tags, valid = inputs(size=(24, 32))
    cam, depth, tags = (t.to(dtype) for t in (cam, depth, tags))
    value = edge_alignment(cam, depth, tags, valid=valid)
    assert value.dtype == dtype
    exact = edge_alignment(cam.double(), depth.double(), tags.double(), valid=valid)
    torch.testing.assert_close(value.double(), exact, atol=tolerance, rtol=0)


def test_equals_the_product_of_two_gates():
    cam, depth, _, _ = inputs(classes=1)
    product = edge_activation(cam) * edge_activation(depth)
    value = edge_alignment(cam, depth, torch.ones(3, 1).double())
    torch.testing.assert_close(value, -product.mean(dim=(1, 2, 3)))


def test_does_not_change_its_arguments():
    given_ = inputs()
    kept = [t.clone() for t in given_]
    edge_alignment(*given_[:3], valid=given_[3])
    assert all(torch.equal(a, b) for a, b in zip(given_, kept, strict=True))


@pytest.mark.parametrize(("name", "change"), [
    ("depth_edges", lambda c, d, t, v: (c, d[..., :-1], t, v)),
    ("depth_edges", lambda c, d, t, v: (c, d[:2], t, v)),
    ("depth_edges", lambda c, d, t, v: (c, d.expand(-1, 4, -1, -1), t, v)),
    ("tags", lambda c, d, t, v: (c, d, t[:, :-1], v)),
    ("tags", lambda c, d, t, v: (c, d, t[:2], v)),
    ("valid", lambda c, d, t, v: (c, d, t, v[:, :, :-1])),
    ("valid", lambda c, d, t, v: (c, d, t, v.double())),
])  # fmt: skip
def test_rejects_shapes_that_do_not_belong_together(name, change):
    cam, depth, tags, valid = change(*inputs())
    with pytest.raises(TypeCheckError, match=f"parameter '{name}'"):
        edge_alignment(cam, depth, tags, valid=valid)
