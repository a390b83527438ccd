"""Which classes and surface each scene gets: dealt like cards, so that small sets balance."""

from dataclasses import dataclass

import numpy as np

from dealseg.data.synthetic.things import CLASSES

BLOCK = 10
"""Scenes dealt together."""
FRAMES = 5
"""Frames of a scene."""
DECK = ("stone",) * 3 + ("carpet",) * 3 + ("wood",) * 2 + ("cloth", "checker")
HOME = {"soap": "stone", "ball": "carpet"}
"""Classes with the surface on which they sit mostly: the co-occurring context."""
AT_HOME = 0.85
TURNS = 3
"""Scenes of a block in which a class appears."""
EMPTY_EVERY = 8
"""One scene in so many begins with a frame from before the tagged things were put down."""


@dataclass(frozen=True)
class Plan:
    """What a scene must hold.

    Attributes:
        surface: what the things stand on.
        classes: names of `CLASSES` that appear.
        starts_empty: whether its first frame shows no tagged thing.
    """

    surface: str
    classes: tuple[str, ...]
    starts_empty: bool


def plan_scene(seed: int, split: int, index: int) -> Plan:
    """Return the plan of a scene, a function of its arguments alone."""
    block, place = divmod(index, BLOCK)
    rng = np.random.default_rng([seed, split, block, 7])
    surfaces = [DECK[i] for i in rng.permutation(BLOCK)]
    hands: list[list[str]] = [[] for _ in range(BLOCK)]
    for name in sorted(CLASSES, key=lambda name: (name not in HOME, rng.random())):
        for scene in _scenes_of(name, surfaces, hands, rng):
            hands[scene].append(name)
    empty = np.random.default_rng([seed, split, index // EMPTY_EVERY, 8]).integers(EMPTY_EVERY)
    return Plan(surfaces[place], tuple(sorted(hands[place])), bool(index % EMPTY_EVERY == empty))


def _scenes_of(
    name: str, surfaces: list[str], hands: list[list[str]], rng: np.random.Generator
) -> list[int]:
    if name not in HOME:
        return sorted(
            range(BLOCK), key=lambda i: (len(hands[i]) + rng.integers(0, 2), rng.random())
        )[:TURNS]
    home = [i for i in rng.permutation(BLOCK).tolist() if surfaces[i] == HOME[name]]
    away = [i for i in rng.permutation(BLOCK).tolist() if surfaces[i] != HOME[name]]
    return [home.pop() if rng.random() < AT_HOME else away.pop() for _ in range(TURNS)]
