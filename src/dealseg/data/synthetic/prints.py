"""What is printed on things: patterns that any class may have, and labels that tell classes."""

from collections.abc import Callable

import numpy as np

from dealseg.data.synthetic.textures import Field, Image, grid, hsv, linear, mix, noise

SIDE = 96
"""Texels along a side of a thing's bitmap."""


def body(rng: np.random.Generator) -> Image:
    """Return a body's print: one distribution for every class, so that it tells no class apart."""
    base = hsv(rng.random(), rng.uniform(0.15, 0.85), rng.uniform(0.3, 0.92))
    other = hsv(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.25, 0.92))
    x, y = grid(SIDE, SIDE)
    share = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, x, y)
    return _worn(rng, mix(base, other, share * rng.uniform(0.35, 1.0)))


def plain(rng: np.random.Generator, colour: np.ndarray, wear: float = 0.03) -> Image:
    """Return a face of one colour with slight unevenness."""
    return _worn(rng, np.broadcast_to(colour, (SIDE, SIDE, 3)), wear)


def carton_face(
    rng: np.random.Generator, print_: Image, label: str | None, width: float, height: float
) -> Image:
    """Return one upright face of a carton, with its label if it has one, and lines of small print.

    Args:
        rng: places the label.
        print_: the body's print.
        label: a name of `LABELS`, or None.
        width: of the face, metres.
        height: of the face, metres.
    """
    x, y = grid(SIDE, SIDE)
    side = rng.uniform(0.27, 0.34) * min(width, 0.6 * height)
    middle = (0.5 + rng.uniform(-0.08, 0.08), rng.uniform(0.5, 0.72))
    image = _small_print(rng, print_, x, y)
    if label is None:
        return image
    colours, inside = LABELS[label](
        rng, (x - middle[0]) * width / side, (y - middle[1]) * height / side
    )
    return mix(image, colours, inside)


def wrapped(rng: np.random.Generator, print_: Image, label: str | None) -> Image:
    """Return the side of a can, its label a band all round if it has one."""
    x, y = grid(SIDE, SIDE)
    half = rng.uniform(0.12, 0.15)
    middle = rng.uniform(0.35, 0.65)
    rim = np.abs(y - 0.5) > 0.47
    image = mix(print_, linear(190, 190, 195), rim * 1.0)
    if label is None:
        return image
    colours, inside = LABELS[label](rng, x, (y - middle) / half)
    return mix(image, colours, inside)


def panels(rng: np.random.Generator) -> Image:
    """Return the latitude-longitude map of a beach ball: gores of two colours and pale poles."""
    x, y = grid(SIDE, SIDE)
    base = hsv(rng.random(), rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.95))
    other = hsv(rng.random(), rng.uniform(0.0, 0.9), rng.uniform(0.7, 0.98))
    gores = int(rng.integers(2, 5)) * 2
    share = (x * gores % 2 < 1) * 1.0
    image = mix(base, other, share)
    return _worn(rng, mix(image, linear(235, 235, 230), (np.abs(y - 0.5) > 0.42) * 1.0))


def quilt(rng: np.random.Generator) -> Image:
    """Return the top of a cushion: a cloth print with a stitched cross and border."""
    x, y = grid(SIDE, SIDE)
    image = body(rng) * (1 + 0.12 * noise(rng, SIDE, roughness=0.3))[..., None]
    near = np.minimum(
        np.abs(np.abs(x - 0.5) - np.abs(y - 0.5)),
        np.abs(np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) - 0.38),
    )
    return np.asarray(image * (1 - 0.55 * np.exp(-((near / 0.02) ** 2)))[..., None])


def soap_top(rng: np.random.Generator) -> Image:
    """Return the top of a bar of soap: pastel, with an engraved oval."""
    x, y = grid(SIDE, SIDE)
    colour = hsv(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.8, 0.98))
    ring = np.hypot((x - 0.5) / 0.3, (y - 0.5) / 0.26) - 1
    engraved = (
        1 - 0.45 * np.exp(-((ring / 0.1) ** 2)) - 0.2 * ((np.abs(y - 0.5) < 0.03) & (ring < -0.4))
    )
    return np.asarray(plain(rng, colour) * engraved[..., None])


def _worn(rng: np.random.Generator, image: Image, wear: float = 0.03) -> Image:
    return np.asarray(
        np.clip(image * (1 + wear * noise(rng, SIDE, roughness=0.8))[..., None], 0.01, 1.0)
    )


def _small_print(rng: np.random.Generator, image: Image, x: Field, y: Field) -> Image:
    lines = int(rng.integers(2, 5))
    ink = hsv(rng.random(), 0.3, rng.choice([0.1, 0.95]))
    words = noise(rng, SIDE, roughness=0.6, stretch=(1.0, 0.1))[:1] > -0.4
    row = (y - 0.08) * 24
    text = (row > 0) & (row < lines) & (row % 1.0 < 0.5) & (np.abs(x - 0.5) < 0.38) & words
    return mix(image, ink, text * 0.7)


def _sun(rng: np.random.Generator, u: Field, v: Field) -> tuple[Image, Field]:
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    rays = 0.72 + 0.2 * np.cos(9 * angle + rng.uniform(0, 6.3))
    image = mix(linear(245, 242, 230), linear(*_near(rng, 235, 120, 25)), (r < rays) * 1.0)
    return mix(image, linear(*_near(rng, 250, 215, 60)), (r < 0.42) * 1.0), (r < 1.0) * 1.0


def _diagonals(rng: np.random.Generator, u: Field, v: Field) -> tuple[Image, Field]:
    bands = (u + v) * 1.6 % 1.0 < 0.5
    image = mix(linear(*_near(rng, 20, 95, 55)), linear(240, 240, 235), bands * 1.0)
    return image, ((np.abs(u) ** 4 + np.abs(v) ** 4) < 1.0) * 1.0


def _wave(rng: np.random.Generator, x: Field, v: Field) -> tuple[Image, Field]:
    centre = 0.5 * np.sin(2 * np.pi * (3 * x + rng.random()))
    away = np.abs(v - centre)
    image = mix(linear(*_near(rng, 205, 20, 30)), linear(245, 245, 245), (away < 0.3) * 1.0)
    return image, (np.abs(v) < 1.0) * 1.0


def _dots(rng: np.random.Generator, x: Field, v: Field) -> tuple[Image, Field]:
    around = (x * 8 + rng.random()) % 1.0 - 0.5
    dot = np.hypot(around * 1.9, v) < 0.62
    return mix(linear(*_near(rng, 245, 205, 40)), linear(22, 22, 28), dot * 1.0), (
        np.abs(v) < 1.0
    ) * 1.0


def _near(rng: np.random.Generator, *colour: float) -> tuple[float, float, float]:
    red, green, blue = np.clip(np.array(colour) + rng.normal(0, 9, 3), 5, 250)
    return float(red), float(green), float(blue)


LABELS: dict[str, Callable[[np.random.Generator, Field, Field], tuple[Image, Field]]] = {
    "sun": _sun,
    "diagonals": _diagonals,
    "wave": _wave,
    "dots": _dots,
}
"""Painters: from coordinates in [-1, 1] over the label to its colours and where it covers."""

_PATTERNS: tuple[Callable[[np.random.Generator, Field, Field], Field], ...] = (
    lambda _rng, x, _y: np.zeros_like(x),
    lambda rng, _x, y: np.clip((y - rng.uniform(0.2, 0.5)) * 3, 0, 1),
    lambda rng, _x, y: (y < rng.uniform(0.25, 0.75)) * 1.0,
    lambda rng, x, _y: (x * int(rng.integers(4, 12)) % 1.0 < rng.uniform(0.1, 0.5)) * 1.0,
    lambda rng, _x, y: (y * int(rng.integers(4, 12)) % 1.0 < rng.uniform(0.1, 0.5)) * 1.0,
    lambda rng, _x, _y: 0.5 + 0.5 * np.tanh(2 * noise(rng, SIDE, roughness=1.8)),
    lambda rng, _x, _y: (noise(rng, SIDE, roughness=2.0) > rng.uniform(-0.3, 0.8)) * 1.0,
)
