from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from dealseg.data.synthetic.arrange import sample_scene
from dealseg.data.synthetic.film import expose
from dealseg.data.synthetic.light import LightMap, light_map
from dealseg.data.synthetic.plan import AT_HOME, BLOCK, HOME, Plan, plan_scene
from dealseg.data.synthetic.render import develop, render
from dealseg.data.synthetic.scene import Lamp, Lens, Placed, Scene, look_at
from dealseg.data.synthetic.sensor import DepthSensor
from dealseg.data.synthetic.shapes import Shape, half_extents
from dealseg.data.synthetic.textures import look_up, noise, skin
from dealseg.data.synthetic.things import CLASSES, DISTRACTORS, Part, make_thing
from dealseg.data.synthetic.trace import first_hits, lit_share, open_share, silhouette

SIZE = 64
GREY = skin([np.full((8, 8, 3), 0.5)] * 6, 1.0, gloss=0.0)
LAMP = Lamp(np.array([0.0, 0.0, 2.0]), 0.01, np.ones(3))
TOP = look_at(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1e-9, 0.0]), 0.0, SIZE, 70.0)


def solid(shape, x=0.0, y=0.0, z=0.0):
    return Part(shape, GREY, np.eye(3), np.array([x, y, z]))


def thing(shape, obj_id=1, **place):
    return Placed(obj_id, "x", (solid(shape, **place),), np.eye(3), np.zeros(3))


def plain_scene(*things, camera=TOP):
    floor, white = solid(Shape("plane")), np.full(3, 0.3)
    return Scene("wood", (floor,), things, (LAMP,), white, white, (camera,), Lens())


def shot(scene):
    return render(scene, light_map(scene.lamps, scene.things), scene.cameras[0])


@pytest.fixture(scope="module")
def sampled():
    plan = Plan("stone", ("cereal_box", "juice_bottle", "mug", "soap"), False)
    scene = sample_scene(np.random.default_rng(5), plan, SIZE)
    return scene, light_map(scene.lamps, scene.things)


def test_depth_of_plane_box_and_sphere_is_the_closed_form():
    scene = plain_scene(
        thing(Shape("box", (0.1, 0.1, 0.05)), x=-0.2, z=0.05),
        thing(Shape("ellipsoid", (0.1, 0.1, 0.1)), obj_id=2, x=0.2, z=0.1),
    )
    frame = shot(scene)
    np.testing.assert_allclose(frame.depth[frame.instance == -1], 1.0, rtol=1e-9)
    on_top = (frame.instance == 0) & (frame.facing > 0.9)
    np.testing.assert_allclose(np.median(frame.depth[on_top]), 0.9, rtol=1e-9)
    y, x = np.nonzero(frame.instance == 1)
    rays = np.column_stack([(x - 31.5) / 70, (y - 31.5) / 70, np.ones(len(x))])
    middle = np.array([0.2, 0.0, 0.9])
    b, a = rays @ middle, (rays**2).sum(axis=1)
    closed = (b - np.sqrt(b**2 - a * (middle @ middle - 0.01))) / a
    np.testing.assert_allclose(frame.depth[y, x], closed, rtol=1e-7)


def test_the_nearer_thing_hides_the_farther_whatever_their_order():
    low = thing(Shape("box", (0.2, 0.2, 0.02)), z=0.02)
    high = thing(Shape("box", (0.05, 0.05, 0.02)), obj_id=2, z=0.5)
    for things, near in (((low, high), 1), ((high, low), 0)):
        frame = shot(plain_scene(*things))
        assert frame.instance[32, 32] == near
        assert set(np.unique(frame.instance)) == {-1, 0, 1}
        assert (frame.depth[frame.instance == near] < 0.53).all()


def test_masks_reproject_into_the_things_by_the_written_poses(sampled):
    scene, chart = sampled
    for camera in scene.cameras[::2]:
        frame = render(scene, chart, camera)
        picture = expose(scene, camera, frame, DepthSensor(), np.random.default_rng(0))
        tagged = [t for t in scene.things if t.obj_id]
        k = np.array(picture.camera["cam_K"]).reshape(3, 3)
        for one, mask, pose in zip(tagged, picture.masks, picture.poses, strict=True):
            y, x = np.nonzero(mask)
            seen = np.linalg.inv(k) @ np.stack([x, y, np.ones(len(x))]) * frame.depth[y, x]
            turn = np.array(pose["cam_R_m2c"]).reshape(3, 3)
            own = turn.T @ (seen - np.array(pose["cam_t_m2c"])[:, None] / 1000)
            within = np.zeros(len(x), dtype=bool)
            for part in one.parts:
                rotation = one.rotation.T @ part.rotation
                local = rotation.T @ (
                    own - (one.rotation.T @ (part.offset - one.position))[:, None]
                )
                within |= (np.abs(local.T) <= half_extents(part.shape) + 1e-6).all(axis=1)
            assert within.all()


def test_world_pose_of_the_camera_composes_with_that_of_the_thing(sampled):
    scene, chart = sampled
    camera = scene.cameras[1]
    picture = expose(
        scene, camera, render(scene, chart, camera), DepthSensor(), np.random.default_rng(0)
    )
    first = next(t for t in scene.things if t.obj_id)
    w2c = np.array(picture.camera["cam_R_w2c"]).reshape(3, 3)
    np.testing.assert_allclose(w2c @ w2c.T, np.eye(3), atol=1e-12)
    placed = w2c @ first.position * 1000 + np.array(picture.camera["cam_t_w2c"])
    np.testing.assert_allclose(placed, picture.poses[0]["cam_t_m2c"], atol=1e-9)


def test_distractors_have_depth_but_no_entry(sampled):
    scene, chart = sampled
    frame = render(scene, chart, scene.cameras[2])
    picture = expose(scene, scene.cameras[2], frame, DepthSensor(), np.random.default_rng(0))
    untagged = [i for i, t in enumerate(scene.things) if t.obj_id == 0]
    assert untagged
    assert len(picture.poses) == len(scene.things) - len(untagged)
    assert not np.logical_or.reduce(picture.masks)[np.isin(frame.instance, untagged)].any()
    bare = replace(scene, things=tuple(t for t in scene.things if t.obj_id))
    without = render(bare, chart, scene.cameras[2])
    assert (frame.depth < without.depth).any()


def test_window_tracing_finds_what_tracing_every_pixel_finds(sampled):
    scene, _ = sampled
    camera = scene.cameras[0]
    y, x = np.mgrid[:SIZE, :SIZE]
    pixels = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    for one in scene.things:
        mask, left, top = silhouette(one, camera)
        whole = np.zeros((3 * SIZE, 3 * SIZE), dtype=bool)
        whole[
            top + SIZE : top + SIZE + mask.shape[0], left + SIZE : left + SIZE + mask.shape[1]
        ] = mask
        _, which = first_hits(one.parts, camera, pixels)
        seen = whole[SIZE : 2 * SIZE, SIZE : 2 * SIZE]
        np.testing.assert_array_equal(seen, (which >= 0).reshape(SIZE, SIZE))


def test_shadow_falls_behind_the_thing_and_is_soft_at_its_border():
    slab = solid(Shape("box", (0.1, 0.1, 0.01)), z=1.0)
    x = np.linspace(-0.5, 0.5, 401)
    points = np.column_stack([x, np.zeros(401), np.zeros(401)])
    up = np.broadcast_to(np.array([0.0, 0.0, 1.0]), points.shape)
    sharp = lit_share(points, up, LAMP, [[slab]], 7)
    edge = 0.1 * 2 / (2 - 1.01)  # the slab's upper border as seen from the lamp
    assert (sharp[np.abs(x) < edge - 0.02] == 0).all()
    assert (sharp[np.abs(x) > edge + 0.02] == 1).all()
    soft = lit_share(points, up, replace(LAMP, radius=0.1), [[slab]], 7)
    assert ((soft > 0.05) & (soft < 0.95)).sum() > ((sharp > 0.05) & (sharp < 0.95)).sum()


def test_sky_is_closed_beside_a_tall_thing_and_open_away_from_it():
    tower = solid(Shape("box", (0.05, 0.05, 0.3)), z=0.3)
    x = np.array([0.055, 0.1, 0.2, 0.4])
    points = np.column_stack([x, np.zeros(4), np.zeros(4)])
    share = open_share(points, [tower], 0.25, 400)
    assert (np.diff(share) > 0)[:2].all()
    assert share[0] == pytest.approx(0.5, abs=0.1)  # a wall closes half of the sky
    assert share[3] == 1.0


def test_light_falls_off_by_lambert_and_the_square_of_the_distance():
    scene = replace(plain_scene(), sky=np.zeros(3))
    chart = LightMap((np.ones((4, 4), np.float32),), np.ones((2, 2), np.float32))
    light = render(scene, chart, TOP).light[..., 0]
    assert light[32, 32] == pytest.approx(0.5, rel=1e-3)
    r2 = (31.5 / 70) ** 2
    expected = 0.5 * (4 / (4 + r2)) * (2 / np.sqrt(4 + r2))
    assert light[32, 63] == pytest.approx(expected, rel=1e-3)


def test_photograph_is_brighter_for_more_light_and_darker_in_the_corners():
    still = Lens(grain=0.0, vignette=0.4)
    rng = np.random.default_rng(0)
    dim, bright = (develop(np.full((32, 32, 3), v), still, rng).astype(int) for v in (0.2, 0.4))
    assert (bright > dim).all()
    assert bright[0, 0, 0] < bright[16, 16, 0] - 10


def test_cameras_move_smoothly_at_arms_length(sampled):
    eyes = np.array([camera.position for camera in sampled[0].cameras])
    steps = np.diff(eyes, axis=0)
    assert (np.linalg.norm(steps, axis=1) > 0.02).all()
    assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() < 0.06
    assert ((np.linalg.norm(eyes, axis=1) > 0.4) & (np.linalg.norm(eyes, axis=1) < 1.3)).all()


@pytest.mark.parametrize("name", [*CLASSES, *DISTRACTORS])
def test_things_stand_on_the_support_and_have_the_size_of_real_ones(name):
    one = make_thing(name, np.random.default_rng(1))
    low = min(
        float(p.offset[2] - (np.abs(p.rotation) @ half_extents(p.shape))[2]) for p in one.parts
    )
    assert low == pytest.approx(0.0, abs=0.03 if name == "ball" else 1e-9)
    assert 0.012 <= one.height <= 0.32
    assert 0.02 <= one.radius <= 0.16


def test_twins_share_their_print_and_differ_by_the_label_alone():
    def face(name):
        return make_thing(name, np.random.default_rng(3)).parts[0].skin.levels[0][2]

    for one, other in combinations(("cereal_box", "cracker_box", "plain_carton"), 2):
        differs = (np.abs(face(one) - face(other)).max(axis=-1) > 0.02).mean()
        assert 0.03 < differs < 0.4


def test_scenes_hold_four_to_eight_things_of_the_plan(sampled):
    scene, _ = sampled
    assert 4 <= len(scene.things) <= 8
    assert {t.name for t in scene.things if t.obj_id} == {
        "cereal_box",
        "juice_bottle",
        "mug",
        "soap",
    }
    assert all(CLASSES[t.obj_id - 1] == t.name for t in scene.things if t.obj_id)


def test_every_class_has_its_share_of_scenes_and_some_sit_at_home():
    plans = [plan_scene(0, 0, i) for i in range(200 * BLOCK)]
    count = Counter(name for plan in plans for name in plan.classes)
    assert all(0.2 <= count[name] / len(plans) <= 0.4 for name in CLASSES)
    assert {len(plan.classes) for plan in plans} <= {1, 2, 3, 4, 5}
    for name, surface in HOME.items():
        at_home = sum(plan.surface == surface for plan in plans if name in plan.classes)
        assert at_home / count[name] == pytest.approx(AT_HOME, abs=0.04)
    elsewhere = sum(plan.surface == "stone" for plan in plans if "mug" in plan.classes)
    assert elsewhere / count["mug"] < 0.45


def test_one_scene_in_eight_starts_empty():
    assert sum(plan_scene(1, 0, i).starts_empty for i in range(80)) == 10


def test_plans_depend_on_seed_and_split():
    plans = [[plan_scene(seed, split, i) for i in range(20)] for seed in (0, 1) for split in (0, 1)]
    assert all(one != other for one, other in combinations(plans, 2))


def test_noise_is_normalised_and_tiles():
    field = noise(np.random.default_rng(0), 64, roughness=1.5)
    assert field.mean() == pytest.approx(0, abs=1e-9)
    assert field.std() == pytest.approx(1)
    inner = np.abs(np.diff(field, axis=1)).mean()
    assert np.abs(field[:, 0] - field[:, -1]).mean() < 2 * inner


def test_textures_are_read_bilinearly_and_repeat():
    image = np.full((8, 8, 3), 0.2)
    image[:, 4:] = 0.8
    coat = skin([image], 1.0, repeat=[(1.0, 1.0)])
    place = np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [1.75, 0.5]])
    colour = look_up(coat, np.zeros(4, dtype=np.int64), place, 0.0)
    np.testing.assert_allclose(colour[:, 0], [0.2, 0.5, 0.8, 0.8], rtol=1e-6)
