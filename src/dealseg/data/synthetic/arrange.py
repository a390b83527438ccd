"""Sampling of scenes: where things stand, what the room is like, how it is lit and filmed."""

import numpy as np

from dealseg.data.synthetic.materials import COARSE, FINE, surface
from dealseg.data.synthetic.plan import FRAMES, Plan
from dealseg.data.synthetic.scene import Camera, Lamp, Lens, Placed, Scene, look_at
from dealseg.data.synthetic.shapes import Shape
from dealseg.data.synthetic.textures import Skin, skin
from dealseg.data.synthetic.things import CLASSES, DISTRACTORS, Part, Thing, make_thing, moved

FLAT = ("book", "plate")
FLOOR = -0.72
"""Height of the floor under a table, metres."""


def sample_scene(rng: np.random.Generator, plan: Plan, size: int, frames: int = FRAMES) -> Scene:
    """Return a scene that follows the plan.

    Args:
        rng: the only source of chance.
        plan: surface and classes.
        size: of the images in pixels.
        frames: number of cameras along the arc.
    """
    lamps, sky = _lights(rng)
    room = _room(rng, plan.surface, lamps[0])
    things = _things(rng, plan)
    ground = room[0].skin.levels[-1].mean(axis=(0, 1, 2)).astype(float)
    lens = _lens(rng, lamps, sky, ground)
    return Scene(plan.surface, room, things, lamps, sky, ground, _cameras(rng, size, frames), lens)


def turn(angle: float) -> np.ndarray:
    """Return the rotation about z by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _lights(rng: np.random.Generator) -> tuple[tuple[Lamp, ...], np.ndarray]:
    lamps, warmth = [], rng.uniform(-0.12, 0.12)
    strong = rng.uniform(0.7, 1.2)
    azimuth = rng.uniform(0, 2 * np.pi)
    for share, radius in ((strong, rng.uniform(0.05, 0.14)), (rng.uniform(0.1, 0.3), 0.18)):
        height = rng.uniform(0.6, 1.25)
        far = rng.uniform(1.3, 2.2)
        flat = far * np.cos(height)
        place = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), far * np.sin(height)])
        lamps.append(Lamp(place, float(radius), share * np.array([1 + warmth, 1.0, 1 - warmth])))
        azimuth += rng.uniform(1.5, 4.8)
    cool = rng.uniform(-0.08, 0.06)
    return tuple(lamps), rng.uniform(0.2, 0.4) * np.array([1 + cool, 1.0, 1 - cool])


def _lens(
    rng: np.random.Generator, lamps: tuple[Lamp, ...], sky: np.ndarray, ground: np.ndarray
) -> Lens:
    light = sum(
        float(lamp.colour[1] * lamp.position[2] / np.linalg.norm(lamp.position)) for lamp in lamps
    )
    level = (light + float(sky[1])) * (0.12 + float(ground.mean())) ** 0.5
    tint = 1 + rng.normal(0, 0.03, 3)
    return Lens(
        exposure=float(rng.uniform(0.65, 1.0) / level),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        blur=float(rng.uniform(0.35, 0.6)),
        vignette=float(rng.uniform(0.1, 0.35)),
        grain=float(rng.uniform(0.006, 0.018)),
    )


def _coat(
    rng: np.random.Generator,
    kind: str,
    lamp: Lamp,
    half: tuple[float, float, float] | None = None,
    side: int = COARSE,
) -> Skin:
    """Return a material's skin, of a plane or to scale of a box with the half extents."""
    way = lamp.position / np.linalg.norm(lamp.position)
    image, metres, gloss = surface(kind, rng, (float(way[0]), float(way[1])), side)
    repeat = [(1 / metres, 1 / metres)]
    if half is not None:
        x, y, z = (2 * extent / metres for extent in half)
        repeat = [(y, z), (y, z), (x, z), (x, z), (x, y), (x, y)]
    return _shared(skin([image], metres, gloss=gloss, sharpness=30), repeat)


def _shared(coat: Skin, repeat: list[tuple[float, float]]) -> Skin:
    """Return the skin with its one bitmap on all faces, without copies."""
    levels = tuple(np.broadcast_to(level, (len(repeat), *level.shape[1:])) for level in coat.levels)
    return Skin(levels, np.array(repeat), coat.density, coat.gloss, coat.sharpness)


def _room(rng: np.random.Generator, kind: str, lamp: Lamp) -> tuple[Part, ...]:
    aim = turn(rng.uniform(-0.35, 0.35))
    if kind == "carpet":
        support = Part(
            Shape("plane"),
            _coat(rng, kind, lamp, None, FINE),
            turn(rng.uniform(0, 6.3)),
            np.zeros(3),
        )
        back, floor = rng.uniform(0.45, 1.3), 0.0
        room = [support]
    else:
        half = (rng.uniform(0.45, 0.85), rng.uniform(0.36, 0.55), 0.018)
        support = Part(
            Shape("box", half),
            _coat(rng, kind, lamp, half, FINE),
            aim,
            np.array([0.0, 0.0, -0.018]),
        )
        back, floor = half[1] + rng.uniform(0.02, 0.7), FLOOR
        ground = _coat(rng, str(rng.choice(["wood", "carpet", "tiles"])), lamp)
        room = [
            support,
            Part(Shape("plane"), ground, turn(rng.uniform(0, 6.3)), np.array([0.0, 0.0, floor])),
        ]
    return (*room, *_walls(rng, lamp, aim, back), *_furniture(rng, lamp, aim, back, floor))


def _walls(rng: np.random.Generator, lamp: Lamp, aim: np.ndarray, back: float) -> list[Part]:
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    coat = _coat(
        rng, str(rng.choice(["plaster", "plaster", "paper", "brick", "tiles", "wood"])), lamp
    )
    walls = [Part(Shape("plane"), coat, aim @ upright, aim @ np.array([0.0, back, 0.0]))]
    if rng.random() < 0.5:
        side = float(rng.choice([-1.0, 1.0]))
        sideways = turn(-side * np.pi / 2) @ upright
        walls.append(
            Part(
                Shape("plane"),
                coat,
                aim @ sideways,
                aim @ np.array([side * rng.uniform(0.95, 1.6), 0.0, 0.0]),
            )
        )
    return walls


def _furniture(
    rng: np.random.Generator, lamp: Lamp, aim: np.ndarray, back: float, floor: float
) -> list[Part]:
    """Return boxes before the wall and pictures on it."""
    pieces = []
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5 and (floor == 0.0 or back > 0.8):
            half = (
                rng.uniform(0.15, 0.4),
                rng.uniform(0.06, 0.14),
                rng.uniform(0.15, 0.5) - floor / 2,
            )
            kind = str(rng.choice(["wood", "plaster", "cloth"]))
            place = np.array([rng.uniform(-0.9, 0.9), back - half[1], floor + half[2]])
        else:
            half = (rng.uniform(0.08, 0.25), 0.012, rng.uniform(0.08, 0.2))
            kind = str(rng.choice(["stone", "cloth", "paper", "checker", "wood"]))
            place = np.array([rng.uniform(-0.7, 0.7), back - 0.012, rng.uniform(0.2, 0.5)])
        pieces.append(Part(Shape("box", half), _coat(rng, kind, lamp, half), aim, aim @ place))
    return pieces


def _things(rng: np.random.Generator, plan: Plan) -> tuple[Placed, ...]:
    """Return the plan's things and distractors, 4 to 8 in all, the flat ones first."""
    names = list(plan.classes)
    if rng.random() < 0.35 and len(names) > 0:
        names.append(str(rng.choice(names)))
    extra = int(rng.integers(max(1, 5 - len(names)), 9 - len(names)))
    extra = min(extra, 4)
    names += [str(name) for name in rng.choice(DISTRACTORS, extra)]
    names.sort(key=lambda name: (name not in FLAT, rng.random()))
    placed: list[Placed] = []
    taken: list[tuple[float, float, float]] = []
    bases: list[tuple[float, float, float, float]] = []
    for name in names:
        thing = make_thing(name, rng)
        placed.append(_put(rng, thing, taken, bases))
    return tuple(placed)


def _put(
    rng: np.random.Generator,
    thing: Thing,
    taken: list[tuple[float, float, float]],
    bases: list[tuple[float, float, float, float]],
) -> Placed:
    """Place a thing where it touches no other, sometimes on a flat one; note what it takes."""
    obj_id = CLASSES.index(thing.name) + 1 if thing.name in CLASSES else 0
    lying = thing.lies and rng.random() < 0.16
    rotation = turn(rng.uniform(0, 2 * np.pi))
    if bases and not lying and thing.name not in FLAT and rng.random() < 0.4:
        x, y, z, room = bases.pop()
        if thing.radius < room:
            return _placed(obj_id, thing, rotation, np.array([x, y, z]))
    radius = max(thing.radius, thing.height / 2) if lying else thing.radius
    x, y = _free_spot(rng, radius, taken)
    taken.append((x, y, radius))
    if thing.name in FLAT:
        bases.append((x, y, _top(thing), 0.6 * thing.radius))
    if not lying:
        return _placed(obj_id, thing, rotation, np.array([x, y, 0.0]))
    low = float(np.max(np.array(thing.parts[0].shape.size[:2]) * np.array([0, 1])))
    down = rotation @ np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    middle = down @ np.array([0.0, 0.0, thing.height / 2])
    return _placed(obj_id, thing, down, np.array([x, y, low]) - middle)


def _top(thing: Thing) -> float:
    return thing.height if thing.name == "book" else 0.004


def _placed(obj_id: int, thing: Thing, rotation: np.ndarray, position: np.ndarray) -> Placed:
    parts = tuple(moved(piece, rotation, position) for piece in thing.parts)
    return Placed(obj_id, thing.name, parts, rotation, position)


def _free_spot(
    rng: np.random.Generator, radius: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """Return the first free place of a widening search, so that things crowd together."""
    spread = 0.07
    while True:
        x, y = rng.normal(0, spread), rng.normal(0, 0.8 * spread)
        if (
            all(np.hypot(x - u, y - v) > radius + r + 0.004 for u, v, r in taken)
            and np.hypot(x, y) < 0.34
        ):
            return float(x), float(y)
        spread = min(spread * 1.03, 0.3)


def _cameras(rng: np.random.Generator, size: int, frames: int) -> tuple[Camera, ...]:
    """Return cameras along a smooth arc, 0.5 to 1.2 m from what they look at."""
    azimuth, sweep = rng.uniform(-2.0, -1.14), rng.uniform(0.35, 0.9) * rng.choice([-1, 1])
    height, rise = rng.uniform(0.4, 0.95), rng.uniform(-0.25, 0.25)
    far, approach = rng.uniform(0.58, 0.95), rng.uniform(-0.15, 0.15)
    aim, drift = (
        rng.normal(0, 0.03, 3) * [1, 1, 0.5] + [0, 0, 0.05],
        rng.normal(0, 0.05, 3) * [1, 1, 0.3],
    )
    focal, roll = size * rng.uniform(1.15, 1.4), rng.normal(0, 0.03, 2)
    cameras = []
    for s in np.linspace(-0.5, 0.5, frames) if frames > 1 else [0.0]:
        a, e, r = (
            azimuth + sweep * s,
            np.clip(height + rise * s, 0.32, 1.1),
            far * (1 + approach * s),
        )
        target = aim + drift * s
        eye = target + r * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        cameras.append(look_at(eye, target, float(roll[0] + roll[1] * s), size, float(focal)))
    return tuple(cameras)
