"""Work around the network: in order, in parallel, bounded."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dealseg.estimating.batches import Prepared, ahead, in_batches


@given(st.lists(st.integers(1, 5), max_size=60), st.integers(1, 4))
def test_batches_hold_every_image_once_one_shape_each_and_few_wait(widths, size):
    taken = 0

    def images():
        nonlocal taken
        for index, width in enumerate(widths):
            taken += 1
            yield Prepared(index, (1, width), torch.zeros(3, 1, width))

    seen = []
    for batch in in_batches(images(), size):
        assert 1 <= len(batch) <= size
        assert len({image.pixels.shape for image in batch}) == 1
        assert taken - len(seen) <= 4 * size
        seen += [image.index for image in batch]
    assert sorted(seen) == list(range(len(widths)))


@given(st.lists(st.integers(1, 2), min_size=1, max_size=30), st.integers(1, 4))
def test_images_of_one_shape_fill_their_batches(widths, size):
    images = [Prepared(i, (1, 1), torch.zeros(3, 1, w)) for i, w in enumerate(widths)]
    lengths = [len(batch) for batch in in_batches(images, size)]
    assert sum(length < size for length in lengths) <= len(set(widths))


def test_work_ahead_keeps_the_order_and_no_more_than_it_may_under_way():
    under_way, most, lock = 0, 0, threading.Lock()

    def tasks():
        nonlocal under_way, most
        for task in range(50):
            with lock:
                under_way += 1
                most = max(most, under_way)
            yield task

    with ThreadPoolExecutor(3) as pool:
        for expected, done in enumerate(ahead(pool, lambda task: task * 2, tasks(), 5)):
            assert done == 2 * expected
            with lock:
                under_way -= 1
    assert expected == 49
    assert most <= 6


def test_the_first_failure_is_raised_and_what_was_not_begun_is_not_done():
    begun, gate = [], threading.Event()

    def work(task):
        begun.append(task)
        if task == 0:
            raise OSError("broken")
        gate.wait(10)

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(OSError, match="broken"):
            list(ahead(pool, work, range(100), 8))
        gate.set()
    assert len(begun) < 8
