import json
import os
import subprocess
import sys
import threading
import time

import pytest

from dealseg.experiments import locks
from dealseg.experiments.locks import held, owner


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "locks" / "job.lock"


def test_a_lock_is_held_once_and_let_go_of(lock):
    with held(lock) as first, held(lock) as second:
        assert first
        assert not second
        assert owner(lock)["pid"] == os.getpid()
    assert list(lock.parent.iterdir()) == []


def test_a_lock_is_let_go_of_after_an_error(lock):
    with pytest.raises(ValueError, match="x"), held(lock):
        raise ValueError("x")
    with held(lock) as again:
        assert again


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write(lock, **who):
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(json.dumps(who))


def test_a_dead_process_of_this_machine_leaves_a_lock_that_is_taken_over(lock):
    write(lock, host=locks._host(), pid=dead_process(), token="t")
    with held(lock) as ours:
        assert ours


@pytest.mark.parametrize(
    "who", [{"host": "elsewhere", "pid": 1}, {}, {"host": locks._host(), "pid": "x"}]
)
def test_a_lock_of_an_unknown_owner_is_taken_over_only_when_it_is_stale(lock, who):
    write(lock, **who)
    with held(lock) as ours:
        assert not ours
    assert lock.exists()
    long_ago = time.time() - locks.STALE - 60
    os.utime(lock, (long_ago, long_ago))
    with held(lock) as ours:
        assert ours
    assert list(lock.parent.iterdir()) == []


def test_a_live_owner_touches_its_lock(lock, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    with held(lock):
        os.utime(lock, (1, 1))
        end = time.monotonic() + 20
        while lock.stat().st_mtime < 100 and time.monotonic() < end:
            time.sleep(0.01)
        assert lock.stat().st_mtime > 100


def test_an_owner_whose_lock_was_taken_over_leaves_it_alone(lock):
    with held(lock):
        write(lock, host="elsewhere", pid=1, token="other")
    assert owner(lock)["token"] == "other"


def test_a_guard_left_by_a_killed_process_does_not_bar_for_ever(lock):
    write(lock, host="elsewhere", pid=1)
    guard = lock.with_name("job.lock.guard")
    guard.mkdir()
    for path in (lock, guard):
        os.utime(path, (1, 1))
    with held(lock) as ours:
        assert not ours
    with held(lock) as ours:
        assert ours


def test_of_many_that_take_over_a_stale_lock_one_has_it(lock):
    for _ in range(10):
        write(lock, host="elsewhere", pid=1)
        os.utime(lock, (1, 1))
        got, start, end = [], threading.Barrier(8), threading.Barrier(8)

        def race(got=got, start=start, end=end):
            start.wait()
            with held(lock) as ours:
                got.append(ours)
                end.wait()

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(got) == [False] * 7 + [True]


PROGRAM = """
import importlib.util, sys, time
from pathlib import Path

spec = importlib.util.spec_from_file_location("locks", sys.argv[1])
locks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(locks)
number, lock = Path(sys.argv[2]), Path(sys.argv[3])
done = 0
while done < 15:
    with locks.held(lock) as ours:
        if ours:
            number.write_text(str(int(number.read_text()) + 1))
            done += 1
    time.sleep(0.002)
"""


def test_processes_take_turns(tmp_path):
    """Three processes add to a number without any other protection, 15 times each."""
    number = tmp_path / "number"
    number.write_text("0")
    command = [sys.executable, "-c", PROGRAM, locks.__file__, str(number), str(tmp_path / "lock")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    try:
        assert [process.wait(120) for process in processes] == [0] * 3
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert number.read_text() == "45"
