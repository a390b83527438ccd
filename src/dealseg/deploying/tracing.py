"""Following a network's operations instead of computing them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import config


@contextmanager
def traced() -> Iterator[None]:
    """Take no gradients, and leave types unchecked: the sizes that a tracer hands on are symbols.

    Types are checked only where somebody turned jaxtyping's checks on, as our tests do.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        with torch.no_grad():
            yield
    finally:
        config.update("jaxtyping_disable", before)
