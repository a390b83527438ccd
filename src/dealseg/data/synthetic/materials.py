"""Surfaces that things stand on and in front of: wood, stone, cloth, checker, carpet, walls."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from dealseg.data.synthetic.textures import Field, Image, emboss, grid, hsv, linear, mix, noise

Surface = Literal["wood", "stone", "cloth", "checker", "carpet"]
Light = tuple[float, float]
FINE, COARSE = 384, 192
"""Texels along a side of the bitmap of what things stand on, and of everything behind."""


def surface(
    kind: str, rng: np.random.Generator, light: Light, side: int
) -> tuple[Image, float, float]:
    """Return the bitmap of a surface, the metres it covers, and its gloss.

    Args:
        kind: `wood`, `stone`, `cloth`, `checker`, `carpet`, `plaster`, `paper`, `brick` or `tiles`.
        rng: chooses colours and patterns.
        light: where light comes from along x and y, for the relief.
        side: width and height in texels.
    """
    return _SURFACES[kind](rng, light, side)


def _wood(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    _, y = grid(side, side)
    planks = int(rng.integers(4, 9))
    plank = np.floor(y * planks).astype(int)
    shift, tone = rng.random(planks)[plank], rng.normal(0, 1, planks)[plank]
    warp = noise(rng, side, roughness=2.2, stretch=(0.25, 1.0))
    rings = np.sin(2 * np.pi * (y * planks * rng.uniform(1.5, 4.0) + shift * 7 + 0.45 * warp))
    fibre = noise(rng, side, roughness=0.9, stretch=(0.05, 1.0))
    dark, pale = _WOODS[int(rng.integers(len(_WOODS)))]
    rings = np.tanh(1.5 * rings * (0.5 + 0.5 * np.abs(noise(rng, side, roughness=1.3))))
    share = 0.5 + 0.15 * rings + 0.16 * fibre + 0.12 * tone + 0.06 * warp
    seam = (
        np.minimum(y * planks % 1.0, 1 - y * planks % 1.0) < 0.012 * rng.integers(0, 2) * planks / 4
    )
    image = mix(dark, pale, share) * np.where(seam, 0.45, 1.0)[..., None]
    return (
        emboss(image, fibre, light, 0.03),
        float(rng.uniform(0.6, 0.9)),
        float(rng.uniform(0.02, 0.09)),
    )


def _stone(rng: np.random.Generator, _: Light, side: int) -> tuple[Image, float, float]:
    cloud = noise(rng, side, roughness=1.6)
    ridge = np.abs(noise(rng, side, roughness=1.8) + 0.25 * noise(rng, side, roughness=1.0))
    veins = np.exp(-((ridge / rng.uniform(0.06, 0.14)) ** 2)) * (0.5 + 0.5 * np.tanh(cloud))
    speck = noise(rng, side, roughness=float(rng.uniform(0.1, 0.6)))
    base = hsv(rng.uniform(0.02, 0.16), rng.uniform(0.02, 0.14), rng.uniform(0.45, 0.92))
    vein = base * rng.uniform(0.25, 0.6)
    image = mix(base * 0.8, base, 0.6 + 0.3 * cloud)
    image = mix(image, vein, rng.uniform(0.3, 0.9) * veins)
    image = image * (1 + rng.uniform(0.03, 0.16) * speck)[..., None]
    return np.clip(image, 0.01, 1.0), 0.8, float(rng.uniform(0.06, 0.12))


def _cloth(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    x, y = grid(side, side)
    base = hsv(rng.random(), rng.uniform(0.05, 0.4), rng.uniform(0.45, 0.9))
    thread = hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.9))
    image = np.broadcast_to(base, (side, side, 3))
    stripes = int(rng.integers(3, 9))
    for along, width in (
        (x, rng.uniform(0.05, 0.4)),
        (y, rng.uniform(0.05, 0.4) * rng.integers(0, 2)),
    ):
        image = mix(image, thread, 0.55 * ((along * stripes % 1.0) < width))
    weave = np.sin(np.pi * side / 2 * x) * np.sin(np.pi * side / 2 * y)
    fold = noise(rng, side, roughness=2.4)
    image = image * (1 + 0.1 * weave + 0.07 * noise(rng, side, roughness=0.4))[..., None]
    return emboss(image, fold, light, 1.6), float(rng.uniform(0.5, 0.8)), 0.0


def _checker(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    x, y = grid(side, side)
    hue, squares = rng.random(), int(rng.integers(5, 9)) * 2
    dark, pale = hsv(hue, rng.uniform(0.3, 0.8), rng.uniform(0.25, 0.6)), hsv(hue, 0.05, 0.88)
    fx, fy = x * squares % 2 < 1, y * squares % 2 < 1
    gingham = (fx.astype(float) + fy) / 2 if rng.random() < 0.5 else (fx ^ fy).astype(float)
    image = mix(pale, dark, gingham * 0.9)
    rough = 1 + 0.06 * noise(rng, side, roughness=0.5) + 0.05 * noise(rng, side, roughness=1.8)
    return emboss(image * rough[..., None], noise(rng, side, roughness=2.2), light, 0.8), 0.7, 0.02


def _carpet(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    pile = noise(rng, side, roughness=0.25)
    tufts = noise(rng, side, roughness=1.1)
    base = hsv(rng.random(), rng.uniform(0.08, 0.42), rng.uniform(0.3, 0.75))
    other = hsv(rng.random(), rng.uniform(0.08, 0.42), rng.uniform(0.25, 0.75))
    x, y = grid(side, side)
    motif = np.sin(2 * np.pi * 3 * x) * np.sin(2 * np.pi * 3 * y) + 0.25 * tufts
    image = mix(base, other, (motif > rng.uniform(0.2, 0.6)) * rng.uniform(0.0, 0.8))
    image = image * np.clip(1 + 0.2 * pile + 0.14 * tufts, 0.3, 1.8)[..., None]
    return emboss(image, pile, light, 0.08), 1.0, 0.0


def _plaster(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    base = hsv(rng.random(), rng.uniform(0.02, 0.3), rng.uniform(0.55, 0.95))
    grain = 1 + 0.025 * noise(rng, side, roughness=0.6) + 0.03 * noise(rng, side, roughness=1.8)
    return emboss(base * grain[..., None], noise(rng, side, roughness=1.2), light, 0.06), 1.5, 0.0


def _paper(rng: np.random.Generator, _: Light, side: int) -> tuple[Image, float, float]:
    x, y = grid(side, side)
    base = hsv(rng.random(), rng.uniform(0.05, 0.4), rng.uniform(0.5, 0.9))
    other = base * rng.uniform(0.6, 0.9) + 0.03
    count = int(rng.integers(8, 24))
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * count * x)
    motif = np.sin(2 * np.pi * count * x) * np.cos(2 * np.pi * count * y)
    share = stripes > 0.6 if rng.random() < 0.5 else motif > 0.4
    return mix(base, other, share * 0.8 + 0.06 * noise(rng, side, roughness=1.0)), 1.4, 0.0


def _brick(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    x, y = grid(side, side)
    mortar, height = _courses(x, y, rows=16, columns=6, joint=0.07)
    row = np.floor(y * 16).astype(int)
    column = np.floor(x * 6 + 0.5 * (row % 2)).astype(int) % 6
    tone = rng.normal(0, 1, (16, 6))[row, column] + 0.5 * noise(rng, side, roughness=0.8)
    brick = mix(linear(110, 52, 38), linear(190, 120, 90), 0.5 + 0.25 * tone)
    if rng.random() < 0.4:
        brick = np.clip(brick.mean(axis=2, keepdims=True) * 3.0, 0.0, 0.8) * np.ones(3)
    image = mix(brick, linear(170, 165, 155), mortar)
    return emboss(image, height + 0.1 * noise(rng, side, roughness=0.7), light, 0.7), 1.3, 0.0


def _tiles(rng: np.random.Generator, light: Light, side: int) -> tuple[Image, float, float]:
    x, y = grid(side, side)
    rows = int(rng.integers(5, 10))
    joint, height = _courses(x, y, rows=rows, columns=rows, joint=0.05, shift=0.0)
    row, column = np.floor(y * rows).astype(int), np.floor(x * rows).astype(int)
    tone = rng.normal(0, 1, (rows, rows))[row, column] * rng.uniform(0.0, 0.12)
    base = hsv(rng.random(), rng.uniform(0.03, 0.35), rng.uniform(0.5, 0.95))
    image = base * (1 + tone + 0.03 * noise(rng, side, roughness=1.6))[..., None]
    return emboss(mix(image, linear(150, 148, 140), joint), height, light, 0.6), 1.2, 0.05


def _courses(
    x: Field, y: Field, *, rows: int, columns: int, joint: float, shift: float = 0.5
) -> tuple[Field, Field]:
    """Return where the joints of a wall are, and the relief of its stones."""
    fy = y * rows % 1.0
    fx = (x * columns + shift * (np.floor(y * rows) % 2)) % 1.0
    edge = np.minimum(np.minimum(fy, 1 - fy), np.minimum(fx, 1 - fx) * rows / columns)
    height = np.clip(edge / joint, 0.0, 1.0)
    return 1.0 - (height > 0.6), height


_WOODS = (
    (linear(60, 36, 22), linear(112, 74, 46)),
    (linear(120, 78, 44), linear(186, 138, 90)),
    (linear(160, 122, 82), linear(216, 184, 140)),
    (linear(92, 60, 44), linear(150, 100, 70)),
    (linear(130, 118, 104), linear(190, 178, 162)),
)

_SURFACES: dict[str, Callable[[np.random.Generator, Light, int], tuple[Image, float, float]]] = {
    "wood": _wood,
    "stone": _stone,
    "cloth": _cloth,
    "checker": _checker,
    "carpet": _carpet,
    "plaster": _plaster,
    "paper": _paper,
    "brick": _brick,
    "tiles": _tiles,
}
