"""Work ahead of the network and behind it: reading and writing in threads, batches of one shape."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Shaped
from torch import Tensor

Done = TypeVar("Done")
Task = TypeVar("Task")


@dataclass(frozen=True)
class Prepared:
    """An image ready for the network.

    Attributes:
        index: in the data set.
        size: height and width it had.
        pixels: what the network is given.
    """

    index: int
    size: tuple[int, int]
    pixels: Shaped[Tensor, "3 p q"]


def ahead(
    pool: Executor, work: Callable[[Task], Done], tasks: Iterable[Task], most: int
) -> Iterator[Done]:
    """Yield `work(task)` in the order of the tasks, with up to `most` under way in the pool."""
    waiting: deque[Future[Done]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def in_batches(images: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Yield lists of up to `size` images of one shape.

    Images of other shapes wait for their like; when four batches of them wait, the longest list
    goes as it is, so memory stays bounded for sets of many shapes.
    """
    waiting: dict[tuple[int, ...], list[Prepared]] = {}
    for image in images:
        alike = waiting.setdefault(tuple(image.pixels.shape), [])
        alike.append(image)
        if len(alike) == size:
            yield waiting.pop(tuple(image.pixels.shape))
        elif sum(map(len, waiting.values())) >= 4 * size:
            longest = max(waiting, key=lambda shape: len(waiting[shape]))
            yield waiting.pop(longest)
    yield from waiting.values()
