import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from dealseg.losses import (
    DepthEdgeAlignment,
    align_cams,
    cam_edges,
    depth_edge_alignment,
    depth_edges,
    edge_alignment,
    gate_zero,
    grid_size,
    near_support,
)
from oracles import deal as oracle

SIZE = (9, 12)
OPTIONS = [
    {},
    {"space": "log"},
    {"space": "depth"},
    {"kind": "disparity"},
    {"kind": "relative"},
    {"cam_scale": "minmax"},
    {"cam_scale": "sigmoid"},
    {"divide": True},
    {"localised": True},
    {"gain": 4.0, "mu": 1.0},
]


def inputs(seed=0, dtype=torch.float64):
    """Random blocky depth with holes, on another grid than the random CAMs."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    depth = (0.5 + 3 * rand(3, 1, 3, 4)).repeat_interleave(7, -1).repeat_interleave(7, -2)
    cams = 4 * rand(3, 4, 6, 8) - 1
    tags = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=dtype)
    return cams, depth, tags, rand(3, 1, 21, 28) > 0.1


def loss(cams, depth, tags, valid=None, **options):
    return depth_edge_alignment(cams, depth, tags, valid=valid, **{"size": SIZE, **options})


def gradient(cams, *rest, **options):
    cams = cams.clone().requires_grad_()
    loss(cams, *rest, **options).sum().backward()
    return cams.grad


def square(size, top, left, side, inside, outside):
    maps = torch.full((1, 1, *size), outside)
    maps[..., top : top + side, left : left + side] = inside
    return maps


@pytest.fixture
def untyped():
    """Turn the tests' type checks off, which the user's Python does not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("size", [(5, 8), (6, 8), (9, 12), (21, 28)])
def test_equals_the_loops_from_raw_cams_and_raw_depth(size):
    cams, depth, tags, valid = inputs()
    depth[:, :, 2, 3], depth[:, :, 9, 9], depth[:, :, 14, 14] = 0.0, math.nan, math.inf
    arrays = [t.numpy() for t in (cams, depth, tags, valid)]
    expected = torch.from_numpy(oracle.depth_edge_alignment(*arrays, size))
    value = loss(cams, depth, tags, valid, size=size)
    torch.testing.assert_close(value, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_stays_within_minus_one_and_one_and_teaches_the_cams(options, seed):
    cams, depth, tags, valid = inputs(seed)
    value = loss(cams, depth, tags, valid, **options)
    assert value.shape == (3,)
    assert value.abs().max() <= 1 + 1e-12
    slope = gradient(cams, depth, tags, valid, **options)
    assert slope.isfinite().all()
    assert (slope.flatten(1).abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_cam_on_the_object_costs_less_than_one_beside_it(options):
    near, far = (2.0, 1.0) if "kind" in options else (1.0, 2.0)
    depth = square((32, 40), 10, 12, 12, near, far)
    on = square((32, 40), 10, 12, 12, 3.0, -3.0)
    beside = on.roll((6, -7), dims=(-2, -1))
    tags = torch.ones(1, 1)
    aligned, misaligned = (loss(c, depth, tags, size=(32, 40), **options) for c in (on, beside))
    assert aligned < misaligned - 0.01


def test_descent_moves_the_outline_onto_the_depth_edge():
    depth = square((24, 24), 6, 6, 12, 1.0, 2.0)
    cams = torch.nn.functional.avg_pool2d(square((24, 24), 8, 8, 8, 1.0, 0.0), 5, 1, 2)
    tags = torch.ones(1, 1)
    start = loss(cams, depth, tags, size=(24, 24)).item()
    for _ in range(30):
        cams = cams - 0.5 * gradient(cams, depth, tags, size=(24, 24))
    assert loss(cams, depth, tags, size=(24, 24)).item() < start - 0.1


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.sampled_from(["inverse", "log", "depth"]))
def test_the_scale_of_depth_does_not_matter(factor, space):
    cams, depth, tags, valid = inputs()
    value = loss(cams, factor * depth, tags, valid, space=space)
    torch.testing.assert_close(value, loss(cams, depth, tags, valid, space=space))


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-2, 1e2), st.floats(-5, 5))
def test_scale_and_offset_of_relative_inverse_depth_do_not_matter(factor, offset):
    cams, depth, tags, valid = inputs()
    value = loss(cams, factor * depth + offset, tags, valid, kind="relative")
    torch.testing.assert_close(
        value, loss(cams, depth, tags, valid, kind="relative"), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("offset", [0.5, 10.0])
def test_the_offset_of_linear_depth_does_not_matter(offset):
    cams, depth, tags, valid = inputs()
    value = loss(cams, depth + offset, tags, valid, space="depth")
    torch.testing.assert_close(value, loss(cams, depth, tags, valid, space="depth"))


@pytest.mark.parametrize("scale", ["max", "minmax"])
def test_the_scale_of_cams_does_not_matter(scale):
    cams, depth, tags, valid = inputs()
    value = loss(7 * cams, depth, tags, valid, cam_scale=scale)
    torch.testing.assert_close(value, loss(cams, depth, tags, valid, cam_scale=scale))


def test_disparity_counts_as_the_inverse_of_metres():
    cams, depth, tags, valid = inputs()
    value = loss(cams, 0.3 / depth, tags, valid, kind="disparity")
    torch.testing.assert_close(value, loss(cams, depth, tags, valid))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_turns_with_a_horizontal_flip(options):
    cams, depth, tags, valid = inputs()
    flipped = [t.flip(-1) for t in (cams, depth, valid)]
    value = loss(flipped[0], flipped[1], tags, flipped[2], **options)
    torch.testing.assert_close(value, loss(cams, depth, tags, valid, **options))
    slope = gradient(flipped[0], flipped[1], tags, flipped[2], **options)
    torch.testing.assert_close(slope.flip(-1), gradient(cams, depth, tags, valid, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_each_image_is_scored_alone(options):
    cams, depth, tags, valid = inputs()
    together = loss(cams, depth, tags, valid, **options)
    for b in range(3):
        alone = loss(*(t[b : b + 1] for t in (cams, depth, tags, valid)), **options)
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-13, rtol=0)


@pytest.mark.parametrize("planted", [0.0, 1e6, math.nan, math.inf])
def test_absent_classes_never_matter(planted):
    cams, depth, tags, valid = inputs()
    clean = loss(cams, depth, tags, valid)
    cams[tags == 0] = planted
    assert torch.equal(loss(cams, depth, tags, valid), clean)
    slope = gradient(cams, depth, tags, valid)
    assert (slope[tags == 0] == 0).all()
    assert slope.isfinite().all()


def test_the_order_of_classes_does_not_matter():
    cams, depth, tags, valid = inputs()
    order = torch.tensor([2, 0, 3, 1])
    value = loss(cams[:, order], depth, tags[:, order], valid)
    torch.testing.assert_close(value, loss(cams, depth, tags, valid))


@pytest.mark.parametrize("planted", [0.0, -1.0, 1e9, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_depth_of_invalid_pixels_never_matters(planted, options):
    cams, depth, tags, valid = inputs()
    changed = depth.masked_fill(~valid, planted)
    assert torch.equal(
        loss(cams, changed, tags, valid, **options), loss(cams, depth, tags, valid, **options)
    )
    assert torch.equal(
        gradient(cams, changed, tags, valid, **options),
        gradient(cams, depth, tags, valid, **options),
    )


@pytest.mark.parametrize("code", [0.0, -1.0, math.nan, math.inf])
def test_the_codes_of_no_measurement_are_invalid_without_a_mask(code):
    cams, depth, tags, valid = inputs()
    value = loss(cams, depth.masked_fill(~valid, code), tags)
    assert torch.equal(value, loss(cams, depth, tags, valid))


def test_a_hole_makes_no_edge_around_itself():
    depth = torch.full((1, 1, 40, 40), 2.0)
    valid = ~square((40, 40), 10, 10, 12, 1.0, 0.0).bool()
    edges = depth_edges(depth.masked_fill(~valid, 0.0), size=(20, 20))
    assert (edges.strength == 0).all()
    assert not edges.valid[..., 4:12, 4:12].any()
    assert edges.valid[..., :4, :].all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("code", [0.0, math.nan])
def test_no_valid_depth_costs_nothing_and_has_gradient_zero(options, code):
    if options.get("kind") == "relative" and code == 0:
        code = math.inf  # 0 is a measurement there
    cams, depth, tags, valid = inputs()
    depth[1] = code
    assert loss(cams, depth, tags, valid, **options)[1] == 0
    slope = gradient(cams, depth, tags, valid, **options)
    assert (slope[1] == 0).all()
    assert slope.isfinite().all()
    assert slope[0].abs().sum() > 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("which", [[1], [0, 1, 2]])
def test_no_tag_costs_nothing_and_has_gradient_zero(options, which):
    cams, depth, tags, valid = inputs()
    tags[which] = 0
    assert (loss(cams, depth, tags, valid, **options)[which] == 0).all()
    assert (gradient(cams, depth, tags, valid, **options)[which] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metres", [0.1, 1 / 3, 3.3, 65.535])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_constant_depth_has_no_edge_whatever_rounding_does(metres, options, dtype):
    cams, _, tags, valid = inputs(dtype=dtype)
    depth = torch.full((3, 1, 21, 28), metres, dtype=dtype)
    depth_options = {k: v for k, v in options.items() if k in ("space", "kind", "divide")}
    edges = depth_edges(depth, valid, size=SIZE, **depth_options)
    assert (edges.strength == 0).all()
    slope = gradient(cams, depth, tags, valid, **options)
    assert slope.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [-2.0, 0.0, 0.37, 1e4])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_constant_cams_are_flat_whatever_rounding_does(level, options, dtype):
    _, depth, tags, valid = inputs(dtype=dtype)
    cams = torch.full((3, 4, 6, 8), level, dtype=dtype)
    edges = depth_edges(depth, valid, size=SIZE)
    report = align_cams(cams, edges, tags, **{
        k.replace("cam_", ""): v for k, v in options.items() if k not in ("space", "kind")
    })  # fmt: skip
    assert report.cam_share == 0
    assert gradient(cams, depth, tags, valid, **options).isfinite().all()


@pytest.mark.parametrize("scale", ["max", "minmax", "sigmoid"])
@pytest.mark.parametrize("level", [0.37, 0.7, 3.3])
def test_rounding_of_a_constant_cam_is_not_divided_up_to_an_edge(scale, level):
    maps = torch.full((1, 1, 100, 130), level)
    edges = cam_edges(maps, size=(48, 64), scale=scale, divide=True)
    assert edges.max() < 1e-4


@pytest.mark.parametrize("divide", [False, True])
def test_invalid_cells_have_strength_zero_and_set_no_maximum(divide):
    depth = square((30, 30), 4, 4, 8, 1.0, 1.1)
    depth[..., 20:26, 20:26] = 0.1
    valid = torch.ones(1, 1, 30, 30, dtype=torch.bool)
    valid[..., 19:21, :] = valid[..., 25:27, :] = False
    valid[..., 19:21] = valid[..., 25:27] = False
    edges = depth_edges(depth, valid, size=(30, 30), divide=divide)
    assert (edges.strength[~edges.valid] == 0).all()
    assert edges.strength.max() == (1.0 if divide else edges.strength[..., :18, :18].max())


def test_constant_cams_on_constant_depth_agree_fully():
    cams, depth, tags = torch.ones(2, 3, 7, 9), torch.full((2, 1, 30, 40), 0.7), torch.ones(2, 3)
    torch.testing.assert_close(loss(cams, depth, tags), torch.full((2,), -1.0))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_grids_and_maps_of_one_pixel_are_flat_and_agree(size, options):
    cams = torch.ones(1, 2, 1, 1, requires_grad=True)
    value = loss(cams, torch.ones(1, 1, 1, 1), torch.ones(1, 2), **{**options, "size": size})
    value.backward()
    assert value.item() == pytest.approx(-1, abs=1e-6)
    assert (cams.grad == 0).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck(options):
    cams, depth, tags, valid = (t[:1] for t in inputs(3))
    cams, tags = cams[..., 1:4, 2:6][:, :2].clone().requires_grad_(), torch.ones_like(tags[:, :2])
    assert torch.autograd.gradcheck(
        lambda c: loss(c, depth, tags, valid, **{**options, "size": (5, 6)}), (cams,)
    )


def test_depth_gets_no_gradient():
    cams, depth, tags, valid = inputs()
    depth.requires_grad_()
    assert not depth_edges(depth, valid, size=SIZE).strength.requires_grad
    loss(cams.requires_grad_(), depth, tags, valid).sum().backward()
    assert depth.grad is None


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05), (torch.float16, 0.01)]
)
def test_lower_precision_costs_little(dtype, tolerance):
    cams, depth, tags, valid = inputs()
    low = [t.to(dtype) for t in (cams, depth, tags)]
    exact = loss(*(t.double() for t in low), valid)
    torch.testing.assert_close(loss(*low, valid).double(), exact, atol=tolerance, rtol=0)
    slope = gradient(*low, valid)
    assert slope.dtype == dtype
    assert slope.isfinite().all()


def test_mixed_precision_of_cams_and_depth_is_the_usual_case():
    cams, depth, tags, valid = inputs(dtype=torch.float32)
    value = loss(cams.bfloat16(), depth, tags, valid)
    torch.testing.assert_close(value, loss(cams.bfloat16().float(), depth, tags, valid))


@pytest.mark.parametrize(
    ("image", "grid"),
    [((480, 640), (48, 64)), ((640, 480), (64, 48)), ((10, 20), (10, 20)), ((1, 1000), (1, 64))],
)
def test_the_default_grid_has_the_depth_s_aspect_and_never_more_cells(image, grid):
    assert grid_size(*image) == grid
    depth = torch.rand(1, 1, *image) + 1
    cams, tags = torch.rand(1, 2, 7, 7), torch.ones(1, 2)
    assert torch.equal(depth_edge_alignment(cams, depth, tags), loss(cams, depth, tags, size=grid))


def test_the_depth_side_can_be_computed_once():
    cams, depth, tags, valid = inputs()
    edges = depth_edges(depth, valid, size=SIZE)
    assert torch.equal(align_cams(cams, edges, tags).loss, loss(cams, depth, tags, valid))


def test_the_parts_make_the_whole():
    cams, depth, tags, valid = inputs()
    edges = depth_edges(depth, valid, size=SIZE)
    maps = cam_edges(cams.flatten(0, 1)[:, None], size=SIZE).reshape(3, 4, *SIZE)
    value = edge_alignment(maps, edges.strength, tags, valid=edges.valid)
    torch.testing.assert_close(value, loss(cams, depth, tags, valid))


def test_the_shares_count_edge_cells_and_flat_cams():
    depth = square((20, 20), 5, 5, 10, 1.0, 2.0)
    edges = depth_edges(depth, size=(20, 20))
    cams = torch.cat([square((20, 20), 5, 5, 10, 1.0, 0.0), torch.ones(1, 2, 20, 20)], dim=1)
    report = align_cams(cams, edges, torch.tensor([[1.0, 1.0, 0.0]]))
    ring = 12 * 12 - 8 * 8  # both sides of the outline of ten by ten, corners included
    assert (edges.strength > gate_zero()).sum() == ring
    assert report.depth_share.item() == pytest.approx(ring / 400)
    assert report.cam_share.item() == pytest.approx(ring / 800)
    assert report.flat_share.item() == 0.5


def test_the_localised_form_looks_near_the_cam_only():
    depth = square((40, 40), 5, 5, 8, 1.0, 2.0)
    crowded = torch.where(square((40, 40), 28, 28, 8, 1.0, 0.0) > 0, 1.0, depth)
    cams = square((40, 40), 5, 5, 8, 1.0, 0.0)
    tags = torch.ones(1, 1)
    near = [loss(cams, d, tags, size=(40, 40), localised=True) for d in (depth, crowded)]
    whole = [loss(cams, d, tags, size=(40, 40)) for d in (depth, crowded)]
    assert torch.equal(*near)
    assert whole[1] > whole[0] + 0.02


def test_the_support_reaches_its_radius_and_a_map_without_any_counts_everywhere():
    cams = torch.stack([square((20, 20), 10, 10, 1, 1.0, 0.1), torch.full((1, 1, 20, 20), -1.0)])
    near = near_support(cams[:, 0], (20, 20), radius=3)
    assert torch.equal(near[:1].bool(), square((20, 20), 7, 7, 7, 1.0, 0.0).bool())
    assert (near[1] == 1).all()


def test_the_module_is_the_mean_of_the_function():
    cams, depth, tags, valid = inputs()
    options = {"size": SIZE, "mu": 1.0, "space": "log"}
    module = DepthEdgeAlignment(**options)
    assert torch.equal(
        module(cams, depth, tags, valid), loss(cams, depth, tags, valid, **options).mean()
    )
    assert not list(module.parameters())


def test_does_not_change_its_arguments():
    given_ = inputs()
    kept = [t.clone() for t in given_]
    loss(*given_)
    assert all(torch.equal(a, b) for a, b in zip(given_, kept, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cam_scale": "softmax"}, "scale must be one of .*got 'softmax'"),
        ({"space": "cubic"}, "space must be one of .*got 'cubic'"),
        ({"kind": "feet"}, "kind one of .*'feet'"),
        ({"kind": "relative", "space": "log"}, "relative inverse depth has no 'log' space"),
    ],
)
def test_unknown_choices_are_refused(options, message, untyped):
    with pytest.raises(ValueError, match=message):
        loss(*inputs(), **options)


@pytest.mark.parametrize(("name", "change"), [
    ("depth", lambda c, d, t, v: (c, d[:2], t, v)),
    ("depth", lambda c, d, t, v: (c, d.expand(-1, 2, -1, -1), t, v)),
    ("tags", lambda c, d, t, v: (c, d, t[:, :-1], v)),
    ("tags", lambda c, d, t, v: (c, d, t[:2], v)),
    ("valid", lambda c, d, t, v: (c, d, t, v[..., :-1])),
    ("valid", lambda c, d, t, v: (c, d, t, v.double())),
    ("cams", lambda c, d, t, v: (c[:, 0], d, t, v)),
])  # fmt: skip
def test_rejects_shapes_that_do_not_belong_together(name, change):
    with pytest.raises(TypeCheckError, match=f"parameter '{name}'"):
        loss(*change(*inputs()))


def test_trust_scales_each_class_and_full_trust_is_the_papers_form():
    generator = torch.Generator().manual_seed(3)
    cams = torch.randn(2, 3, 6, 8, dtype=torch.float64, generator=generator)
    depth = 1 + torch.rand(2, 1, 24, 32, dtype=torch.float64, generator=generator)
    tags = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    plain = depth_edge_alignment(cams, depth, tags)
    torch.testing.assert_close(
        depth_edge_alignment(cams, depth, tags, trust=torch.ones_like(tags)), plain
    )
    first = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    alone = depth_edge_alignment(cams[:1], depth[:1], first[:1])
    trusted = depth_edge_alignment(cams, depth, tags, trust=first)
    torch.testing.assert_close(trusted, torch.stack([alone[0] / 2, plain[1] / 2]))


def test_trust_gets_no_gradient():
    trust = torch.full((1, 2), 0.5, requires_grad=True)
    cams = torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    depth = 1 + torch.rand(1, 1, 24, 32, generator=torch.Generator().manual_seed(1))
    depth_edge_alignment(cams, depth, torch.ones(1, 2), trust=trust).sum().backward()
    assert trust.grad is None
    assert cams.grad is not None
    assert cams.grad.abs().sum() > 0
