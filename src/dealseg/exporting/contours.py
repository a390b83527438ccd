"""The outline of an object as one polygon through the centres of its border pixels."""

import numpy as np
from jaxtyping import Bool, Int64

from dealseg.exporting.components import components

_AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Row and column steps to the neighbours, clockwise from the right."""

Points = Int64[np.ndarray, "_ 2"]
Pixel = tuple[int, int]


def polygon(pixels: Bool[np.ndarray, "h w"]) -> Points:
    """Return the outline, columns and rows, of pixels that touch; holes are joined by cuts.

    The outline runs through the centres of the outermost pixels, so that filling it, border
    included, gives the pixels back. A hole's border is put into it at the pixel pair where the
    two are nearest: there and back along one line, which lies in the object since any other
    border in between would be nearer. Filled by the even-odd rule, the border included, the
    polygon is the object to the pixel. Points inside a straight line are left out.

    Args:
        pixels: of one object, in its box.
    """
    bordered = np.pad(pixels, 1)
    first = tuple(np.argwhere(bordered)[0].tolist())
    shown, width = bordered.reshape(-1).tolist(), bordered.shape[1]
    outline = _trace(shown, width, first, 4)
    borders = [_trace(shown, width, pixel, 0) for pixel in _holes(bordered)]
    return _straight(_with_cuts(outline, borders))[:, ::-1] - 1


def _holes(bordered: Bool[np.ndarray, "h w"]) -> list[Pixel]:
    """Return for each hole the object's pixel to the left of its first pixel."""
    labels, values = components((~bordered).astype(np.uint8), connectivity=4)
    if len(values) == 1:
        return []
    _, places = np.unique(labels, return_index=True)
    firsts = places[labels.reshape(-1)[places] > 1]
    return [(int(i) // labels.shape[1], int(i) % labels.shape[1] - 1) for i in firsts]


def _trace(shown: list[bool], width: int, start: Pixel, outside: int) -> Points:
    """Follow a border from a pixel whose neighbour in direction `outside` is not the object's.

    Source: the border following of Suzuki and Abe 1985, steps 3.1 to 3.5, without the marks.
    """
    around = [row * width + column for row, column in _AROUND]
    first = start[0] * width + start[1]
    turn = next((d for d in range(outside, outside + 8) if shown[first + around[d % 8]]), None)
    if turn is None:
        return np.array([start])
    behind = turn % 8
    last, pixel, places = first + around[behind], first, [first]
    while True:
        direction = behind - 1
        while not shown[pixel + around[direction]]:  # ends at `behind`, counted from -8 to 7
            direction -= 1
        following = pixel + around[direction]
        if following == first and pixel == last:
            return np.stack(np.divmod(places, width), axis=1)
        pixel, behind = following, (direction + 4) % 8
        places.append(pixel)


def _straight(border: Points) -> Points:
    """Leave out the points whose step before is their step after."""
    if len(border) < 3:
        return border
    after = np.roll(border, -1, axis=0) - border
    kept: Points = border[(after != np.roll(after, 1, axis=0)).any(axis=1)]
    return kept


def _with_cuts(outline: Points, borders: list[Points]) -> Points:
    """Put borders into the outline one after the other, the nearest first (Prim's tree)."""
    if not borders:
        return outline
    ring = _Ring(outline)
    waiting = np.concatenate(borders)
    begins = np.cumsum([0, *map(len, borders)])
    owner = np.repeat(np.arange(len(borders)), np.diff(begins))
    apart, place = _nearest(waiting, outline)
    for _ in borders:
        best = int(apart.argmin())
        own = slice(begins[owner[best]], begins[owner[best] + 1])
        added = ring.insert(int(place[best]), waiting[own], best - int(own.start))
        apart[own] = _DONE
        left = apart < _DONE
        nearer, where = _nearest(waiting[left], waiting[own])
        closer = nearer < apart[left]
        place[left] = np.where(closer, added + where, place[left])
        apart[left] = np.minimum(nearer, apart[left])
    return ring.points()


_DONE = np.iinfo(np.int64).max
_BLOCK = 1 << 22
"""Pairs of points looked at together, to bound the memory."""


def _nearest(
    points: Points, others: Points
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Return for each point the squared distance to the nearest of the others, and which it is."""
    apart, place = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
    step = max(1, _BLOCK // len(others))
    for start in range(0, len(points), step):
        part = np.s_[start : start + step]
        pairs = ((points[part, None] - others[None]) ** 2).sum(axis=2)
        place[part] = pairs.argmin(axis=1)
        apart[part] = pairs.min(axis=1)
    return apart, place


class _Ring:
    """A closed line into which others are put; its points keep their numbers."""

    def __init__(self, points: Points):
        self._points: list[list[int]] = points.tolist()
        self._next = [*range(1, len(points)), 0]

    def insert(self, at: int, border: Points, start: int) -> int:
        """Go from point `at` around a border, from its point `start`, and back.

        Returns:
            The number of the border's first point.
        """
        first, count = len(self._points), len(border)
        self._points += border.tolist()
        self._next += [first + (i + 1) % count for i in range(count)]
        again, back = first + count, first + count + 1
        self._points += [self._points[first + start], self._points[at]]
        self._next += [back, self._next[at]]
        self._next[first + (start - 1) % count] = again
        self._next[at] = first + start
        return first

    def points(self) -> Points:
        """Return the points in the order of the line."""
        order = [0]
        while place := self._next[order[-1]]:
            order.append(place)
        return np.array([self._points[place] for place in order])
