"""The things of the tabletop: ten tagged classes and distractors without a tag."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dealseg.data.synthetic import prints
from dealseg.data.synthetic.shapes import Shape, bounding_radius
from dealseg.data.synthetic.textures import Image, Skin, hsv, linear, skin

Matrix = Float[np.ndarray, "3 3"]
Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Part:
    """A solid with a skin, placed in the frame of what it is part of.

    A point p of the solid lies at `rotation @ p + offset`.
    """

    shape: Shape
    skin: Skin
    rotation: Matrix
    offset: Vector


@dataclass(frozen=True)
class Thing:
    """A thing that stands at the origin of its frame, z up.

    Attributes:
        name: the class, or the kind of distractor.
        parts: its solids.
        radius: of its footprint, metres.
        height: metres.
        lies: whether it may be laid on its side.
    """

    name: str
    parts: tuple[Part, ...]
    radius: float
    height: float
    lies: bool = False


def make_thing(name: str, rng: np.random.Generator) -> Thing:
    """Return a thing of the class or distractor `name`, its size and colours from `rng`."""
    return _MAKERS[name](name, rng)


def part(
    shape: Shape,
    coat: Skin,
    x: float = 0.0,
    y: float = 0.0,
    z: float = 0.0,
    rotation: Matrix | None = None,
) -> Part:
    """Return a part at (x, y, z), turned by `rotation` if given."""
    return Part(shape, coat, np.eye(3) if rotation is None else rotation, np.array([x, y, z]))


def moved(piece: Part, rotation: Matrix, offset: Vector) -> Part:
    """Return the part in the frame that its own frame is placed in."""
    return Part(
        piece.shape, piece.skin, rotation @ piece.rotation, rotation @ piece.offset + offset
    )


def reach(piece: Part) -> float:
    """Return the radius of a sphere about the part's centre that holds it, metres."""
    return bounding_radius(piece.shape)


def _carton(name: str, rng: np.random.Generator, label: str | None) -> Thing:
    w, d, h = rng.uniform(0.12, 0.18), rng.uniform(0.05, 0.09), rng.uniform(0.17, 0.26)
    print_ = prints.body(rng)
    wide = prints.carton_face(rng, print_, label, w, h)
    narrow = prints.carton_face(rng, print_, label, d, h)
    lid = prints.plain(rng, print_.mean(axis=(0, 1)))
    coat = skin(
        [narrow, narrow, wide, wide, lid, lid], h, gloss=rng.uniform(0.02, 0.05), sharpness=25
    )
    box = part(Shape("box", (w / 2, d / 2, h / 2)), coat, z=h / 2)
    return Thing(name, (box,), float(np.hypot(w, d) / 2), h, lies=True)


def _can(name: str, rng: np.random.Generator, label: str | None) -> Thing:
    r, h = rng.uniform(0.031, 0.041), rng.uniform(0.1, 0.145)
    side = prints.wrapped(rng, prints.body(rng), label)
    metal = prints.plain(rng, linear(185, 186, 190), 0.08)
    coat = skin([side, metal, metal], h, gloss=rng.uniform(0.15, 0.3), sharpness=60)
    steel = skin([metal] * 3, h, gloss=0.4, sharpness=70)
    lid = part(Shape("frustum", (r, r, 0.003), (0.9, 1)), steel, z=h + 0.003)
    return Thing(name, (part(Shape("frustum", (r, r, h / 2)), coat, z=h / 2), lid), r, h, lies=True)


def _bottle(
    name: str, rng: np.random.Generator, cap: Callable[[float, float], tuple[Part, ...]]
) -> Thing:
    r, h, neck = rng.uniform(0.03, 0.042), rng.uniform(0.11, 0.15), rng.uniform(0.012, 0.016)
    print_ = prints.body(rng)
    shoulder = rng.uniform(0.02, 0.045)
    coat = skin([print_] * 3, h, gloss=rng.uniform(0.08, 0.18), sharpness=60)
    top = skin([prints.plain(rng, print_[-8:].mean(axis=(0, 1)))] * 3, h, gloss=0.12, sharpness=60)
    trunk = part(Shape("frustum", (r, r, h / 2)), coat, z=h / 2)
    cone = part(Shape("frustum", (r, r, shoulder / 2), (neck / r, 1)), top, z=h + shoulder / 2)
    pieces = (trunk, cone, *cap(neck, h + shoulder))
    return Thing(name, pieces, r, h + shoulder + 0.03, lies=True)


def _juice_bottle(name: str, rng: np.random.Generator) -> Thing:
    image = prints.plain(rng, linear(*rng.normal((238, 118, 22), 8).clip(5, 250)))
    coat = skin([image] * 3, 0.05, gloss=0.1, sharpness=50)

    def cap(neck: float, z: float) -> tuple[Part, ...]:
        return (
            part(Shape("frustum", (neck * 1.5, neck * 1.5, 0.017), (0.94, 1)), coat, z=z + 0.014),
        )

    return _bottle(name, rng, cap)


def _pump_bottle(name: str, rng: np.random.Generator) -> Thing:
    coat = skin(
        [prints.plain(rng, linear(*rng.normal((30, 110, 205), 8).clip(5, 250)))] * 6,
        0.05,
        gloss=0.12,
        sharpness=50,
    )

    def cap(neck: float, z: float) -> tuple[Part, ...]:
        collar = part(Shape("frustum", (neck * 1.45, neck * 1.45, 0.009)), coat, z=z + 0.008)
        stem = part(Shape("frustum", (0.006, 0.006, 0.013)), coat, z=z + 0.028)
        nozzle = part(Shape("box", (0.03, 0.011, 0.008)), coat, x=0.018, z=z + 0.046)
        return collar, stem, nozzle

    return _bottle(name, rng, cap)


def _capless_bottle(name: str, rng: np.random.Generator) -> Thing:
    coat = skin([prints.plain(rng, linear(40, 40, 44))] * 3, 0.05, gloss=0.1, sharpness=50)

    def cap(neck: float, z: float) -> tuple[Part, ...]:
        return (part(Shape("frustum", (neck * 1.3, neck * 1.3, 0.01)), coat, z=z + 0.008),)

    return _bottle(name, rng, cap)


def _cup(name: str, rng: np.random.Generator, handle: bool) -> Thing:
    r, h = rng.uniform(0.035, 0.046), rng.uniform(0.085, 0.115)
    glaze = prints.plain(rng, hsv(rng.random(), rng.uniform(0.0, 0.3), rng.uniform(0.75, 0.95)))
    outside = prints.body(rng)
    coat = skin([outside, glaze, glaze], h, gloss=rng.uniform(0.1, 0.25), sharpness=70)
    pieces = [part(Shape("cup", (r, r, h / 2), (rng.uniform(0.97, 1.1), 0.9)), coat, z=h / 2)]
    if handle:
        band = skin(
            [prints.plain(rng, outside[40:60].mean(axis=(0, 1)))], h, gloss=0.2, sharpness=70
        )
        tube, ring = 0.007, 0.031
        pieces.append(
            part(Shape("handle", (ring, tube, ring), (tube, 1)), band, x=r * 0.985, z=h * 0.52)
        )
    return Thing(name, tuple(pieces), r * 1.2 + 0.03 * handle, h)


def _ball(name: str, rng: np.random.Generator) -> Thing:
    r = rng.uniform(0.035, 0.065)
    coat = skin([prints.panels(rng)], 2 * np.pi * r, gloss=rng.uniform(0.05, 0.2), sharpness=50)
    tilt = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    tilt = tilt * np.sign(np.linalg.det(tilt))
    return Thing(name, (part(Shape("ellipsoid", (r, r, r)), coat, z=r, rotation=tilt),), r, 2 * r)


def _soap(name: str, rng: np.random.Generator) -> Thing:
    a, b, c = rng.uniform(0.045, 0.06), rng.uniform(0.028, 0.038), rng.uniform(0.013, 0.019)
    coat = skin([prints.soap_top(rng)], 2 * a, gloss=rng.uniform(0.08, 0.16), sharpness=35)
    shape = Shape("superquadric", (a, b, c), (rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.8)))
    return Thing(name, (part(shape, coat, z=c),), a, 2 * c)


def _cushion(name: str, rng: np.random.Generator) -> Thing:
    a, b, c = rng.uniform(0.06, 0.09), rng.uniform(0.055, 0.08), rng.uniform(0.022, 0.035)
    coat = skin([prints.quilt(rng)], 2 * a, gloss=0.0)
    shape = Shape("superquadric", (a, b, c), (rng.uniform(0.9, 1.2), rng.uniform(0.3, 0.5)))
    return Thing(name, (part(shape, coat, z=c),), float(np.hypot(a, b) * 0.9), 2 * c)


def _book(name: str, rng: np.random.Generator) -> Thing:
    w, d, h = rng.uniform(0.11, 0.16), rng.uniform(0.16, 0.22), rng.uniform(0.015, 0.035)
    cover, pages = prints.body(rng), _pages(rng)
    coat = skin([pages, cover, pages, pages, cover, cover], w, gloss=rng.uniform(0.02, 0.08))
    return Thing(
        name,
        (part(Shape("box", (w / 2, d / 2, h / 2)), coat, z=h / 2),),
        float(np.hypot(w, d) / 2),
        h,
    )


def _pages(rng: np.random.Generator) -> Image:
    image = prints.plain(rng, linear(225, 218, 198))
    image = image * (0.85 + 0.15 * np.sin(np.arange(prints.SIDE) * 1.6))[:, None, None]
    image[:6], image[-6:] = 0.1, 0.1
    return np.asarray(image)


def _plate(name: str, rng: np.random.Generator) -> Thing:
    r = rng.uniform(0.08, 0.11)
    china = prints.plain(rng, hsv(rng.random(), rng.uniform(0.0, 0.35), rng.uniform(0.7, 0.95)))
    coat = skin([china] * 3, r, gloss=0.12, sharpness=60)
    rim = part(Shape("cup", (r * 0.7, r * 0.7, 0.009), (1.4, 0.96)), coat, z=0.009)
    return Thing(name, (rim,), r, 0.018)


def _block(name: str, rng: np.random.Generator) -> Thing:
    half = rng.uniform(0.02, 0.04, 3)
    image = prints.plain(rng, linear(*(np.array([200, 160, 110]) * rng.uniform(0.6, 1.05))), 0.09)
    coat = skin([image] * 6, 0.08, gloss=0.02)
    shape = Shape("box", (float(half[0]), float(half[1]), float(half[2])))
    return Thing(
        name,
        (part(shape, coat, z=float(half[2])),),
        float(np.hypot(half[0], half[1])),
        2 * float(half[2]),
    )


def _mill(name: str, rng: np.random.Generator) -> Thing:
    r, h = rng.uniform(0.022, 0.03), rng.uniform(0.09, 0.14)
    image = prints.plain(
        rng, hsv(rng.uniform(0.02, 0.1), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.6)), 0.08
    )
    coat = skin([image] * 3, h, gloss=0.1, sharpness=60)
    foot = part(Shape("frustum", (r, r, h / 2), (0.6, 1)), coat, z=h / 2)
    knob = part(
        Shape("ellipsoid", (r * 0.8, r * 0.8, r * 0.8)), skin([image], h, gloss=0.12), z=h + r * 0.6
    )
    return Thing(name, (foot, knob), r, h + 1.4 * r, lies=False)


def _fruit(name: str, rng: np.random.Generator) -> Thing:
    r, colour = (
        rng.uniform(0.03, 0.042),
        hsv(rng.uniform(-0.02, 0.3), rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.85)),
    )
    coat = skin([prints.plain(rng, colour, 0.15)], 0.2, gloss=0.08, sharpness=40)
    stalk = skin([prints.plain(rng, linear(70, 50, 30))] * 3, 0.02)
    flesh = part(Shape("ellipsoid", (r, r, r * 0.9)), coat, z=r * 0.9)
    return Thing(
        name, (flesh, part(Shape("frustum", (0.002, 0.002, 0.008)), stalk, z=r * 1.85)), r, r * 1.9
    )


CLASSES = (
    "cereal_box", "cracker_box", "soda_can", "soup_can", "juice_bottle", "pump_bottle",
    "mug", "ball", "soap", "cushion",
)  # fmt: skip
"""Names in the order of obj_id 1..10. Boxes, cans and bottles share body and print in pairs: only
the label or the cap tells. Mug and pencil cup differ by the handle alone."""

DISTRACTORS = (
    "plain_carton", "plain_can", "plain_bottle", "cup", "book", "plate", "block", "mill", "fruit",
)  # fmt: skip

_MAKERS: dict[str, Callable[[str, np.random.Generator], Thing]] = {
    "cereal_box": lambda name, rng: _carton(name, rng, "sun"),
    "cracker_box": lambda name, rng: _carton(name, rng, "diagonals"),
    "plain_carton": lambda name, rng: _carton(name, rng, None),
    "soda_can": lambda name, rng: _can(name, rng, "wave"),
    "soup_can": lambda name, rng: _can(name, rng, "dots"),
    "plain_can": lambda name, rng: _can(name, rng, None),
    "juice_bottle": _juice_bottle,
    "pump_bottle": _pump_bottle,
    "plain_bottle": _capless_bottle,
    "mug": lambda name, rng: _cup(name, rng, handle=True),
    "cup": lambda name, rng: _cup(name, rng, handle=False),
    "ball": _ball,
    "soap": _soap,
    "cushion": _cushion,
    "book": _book,
    "plate": _plate,
    "block": _block,
    "mill": _mill,
    "fruit": _fruit,
}
