import numpy as np
import pytest

from dealseg.data.synthetic.shapes import (
    Shape,
    bounding_radius,
    gauge,
    half_extents,
    intersect,
)
from dealseg.data.synthetic.surfaces import normals, surface_coordinates
from oracles.solids import first_entry, inside

SHAPES = [
    Shape("box", (0.3, 0.2, 0.4)),
    Shape("frustum", (0.3, 0.3, 0.4)),
    Shape("frustum", (0.3, 0.3, 0.4), (0.4, 1.0)),
    Shape("frustum", (0.2, 0.2, 0.4), (1.6, 1.0)),
    Shape("cup", (0.3, 0.3, 0.4), (1.1, 0.8)),
    Shape("ellipsoid", (0.3, 0.2, 0.4)),
    Shape("superquadric", (0.3, 0.2, 0.15), (0.3, 0.5)),
    Shape("superquadric", (0.3, 0.3, 0.2), (1.6, 0.4)),
    Shape("handle", (0.3, 0.1, 0.3), (0.1, 1.0)),
]
NAMES = [f"{shape.kind}-{shape.detail[0]}" for shape in SHAPES]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=NAMES)


def rays_at(shape, count, seed=0):
    """Rays from a sphere of radius 1.5 to points in the box about the solid."""
    rng = np.random.default_rng(seed)
    origin = rng.standard_normal((count, 3))
    origin *= 1.5 / np.linalg.norm(origin, axis=1, keepdims=True)
    if shape.kind == "handle":
        origin[:, 0] = np.abs(origin[:, 0]) + 0.3  # its cut at x = 0 is hidden in a mug
    return origin, rng.uniform(-1, 1, (count, 3)) * half_extents(shape) - origin


@each_shape
def test_hits_where_small_steps_enter(shape):
    origin, direction = rays_at(shape, 60)
    found = intersect(shape, origin, direction)
    slow = [first_entry(shape, o, d, 2.0) for o, d in zip(origin, direction, strict=True)]
    assert np.isfinite(slow).sum() >= 15
    np.testing.assert_allclose(found, slow, atol=3e-5)


@each_shape
def test_shadow_rays_from_close_by_hit_too(shape):
    rng = np.random.default_rng(5)
    origin = rng.uniform(-1, 1, (300, 3)) * half_extents(shape)
    origin = origin[~inside(shape, origin) & (origin[:, 0] > 0)][:30]
    if shape.kind == "box":
        assert len(origin) == 0
        return
    direction = rng.uniform(-1, 1, origin.shape) * half_extents(shape) - origin
    if shape.kind == "handle":
        direction[:, 0] = np.abs(direction[:, 0])
    found = intersect(shape, origin, direction)
    slow = [first_entry(shape, o, d, 3.0) for o, d in zip(origin, direction, strict=True)]
    assert np.isfinite(slow).sum() >= 5
    np.testing.assert_allclose(found, slow, atol=1e-4)


@each_shape
def test_normals_point_from_the_inside_to_the_outside(shape):
    origin, direction = rays_at(shape, 200, seed=1)
    t = intersect(shape, origin, direction)
    hit = np.isfinite(t)
    point = origin[hit] + t[hit, None] * direction[hit]
    normal = normals(shape, point)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1.0, atol=1e-12)
    out = ~inside(shape, point + 2e-4 * normal)
    within = inside(shape, point - 2e-4 * normal)
    assert min(np.mean(out), np.mean(within)) > 0.97  # the rest lies on sharp edges


@pytest.mark.parametrize("shape", SHAPES[5:8], ids=NAMES[5:8])
def test_normal_of_a_smooth_solid_is_the_gradient_of_its_implicit_function(shape):
    origin, direction = rays_at(shape, 50, seed=2)
    t = intersect(shape, origin, direction)
    point = (origin + t[:, None] * direction)[np.isfinite(t)]
    same = Shape("superquadric", shape.size, shape.detail)
    step = 1e-6 * np.eye(3)
    slope = np.stack([gauge(same, point + h) - gauge(same, point - h) for h in step], axis=1)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    np.testing.assert_allclose(normals(shape, point), slope, atol=1e-4)


@each_shape
def test_bounds_hold_the_solid_and_coordinates_stay_on_the_face(shape):
    origin, direction = rays_at(shape, 200, seed=3)
    t = intersect(shape, origin, direction)
    point = (origin + t[:, None] * direction)[np.isfinite(t)]
    assert (np.abs(point) <= half_extents(shape) + 1e-6).all()
    assert np.linalg.norm(point, axis=1).max() <= bounding_radius(shape) + 1e-6
    _, place = surface_coordinates(shape, point, normals(shape, point))
    assert place.min() >= -1e-4
    assert place.max() <= 1 + 1e-4


def test_sphere_has_the_depth_of_the_closed_form():
    x = np.linspace(-0.2, 0.2, 41)
    direction = np.column_stack([x, np.zeros(41), np.ones(41)])
    t = intersect(Shape("ellipsoid", (0.3, 0.3, 0.3)), np.array([0.0, 0.0, -2.0]), direction)
    disc = 4 - (1 + x**2) * (4 - 0.09)
    closed = np.where(disc >= 0, (2 - np.sqrt(np.maximum(disc, 0))) / (1 + x**2), np.inf)
    np.testing.assert_allclose(t, closed, rtol=1e-12)


def test_plane_has_the_depth_of_its_height_over_the_slope():
    direction = np.array([[0.3, 0.1, -1.0], [0.0, 0.5, -0.25], [0.0, 1.0, 0.5]])
    t = intersect(Shape("plane"), np.array([1.0, 2.0, 0.5]), direction)
    np.testing.assert_allclose(t, [0.5, 2.0, np.inf])


def test_ray_from_within_a_box_meets_its_far_side():
    t = intersect(Shape("box", (1.0, 2.0, 3.0)), np.zeros(3), np.array([[0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(t, [3.0])


def test_gauge_grows_in_proportion_to_the_point_and_is_convex():
    shape, rng = SHAPES[6], np.random.default_rng(0)
    p, q = rng.standard_normal((2, 500, 3))
    np.testing.assert_allclose(gauge(shape, 3 * p), 3 * gauge(shape, p), rtol=1e-6)
    assert (gauge(shape, (p + q) / 2) <= (gauge(shape, p) + gauge(shape, q)) / 2 + 1e-9).all()


def test_superquadric_in_single_precision_is_hit_like_in_double():
    shape = SHAPES[6]
    origin, direction = rays_at(shape, 300, seed=4)
    double = intersect(shape, origin, direction)
    single = intersect(shape, origin.astype(np.float32), direction.astype(np.float32))
    both = np.isfinite(double) & np.isfinite(single)
    assert (np.isfinite(double) == np.isfinite(single)).mean() > 0.99
    np.testing.assert_allclose(single[both], double[both], atol=1e-4)
