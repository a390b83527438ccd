"""How fast a network is."""

import time
from collections.abc import Callable
from statistics import median


def seconds_a_call(
    work: Callable[[], object],
    seconds: float = 1.0,
    least: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median time of a call, after one that is not counted.

    Args:
        work: what is timed.
        seconds: it is called again until so many have passed.
        least: calls at least.
        clock: `time.process_time` leaves out what else the machine does, but adds up threads.
    """
    work()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        began = clock()
        work()
        times.append(clock() - began)
    return median(times)
