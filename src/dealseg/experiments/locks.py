"""One process at a time for each job, over processes and machines that share a folder."""

import contextlib
import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEAT = 30.0
"""Seconds after which the owner of a lock touches it again."""
STALE = 600.0
"""Seconds without a touch after which the owner is taken for dead."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a lock in the block, if nobody else does.

    The lock is a file that its owner touches every BEAT seconds. It is taken over if it was not
    touched for STALE seconds, by the clock of the file system that it is on, or if its owner was a
    process of this machine that is no more.

    Args:
        path: of the lock file.

    Yields:
        Whether the lock is ours.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    if not _take(path, token):
        yield False
        return
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        ended.set()
        beat.join()
        if owner(path).get("token") == token:
            path.unlink(missing_ok=True)


def owner(path: Path) -> dict[str, Any]:
    """Return what a lock says of its owner: host, pid and a token; empty if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take(path: Path, token: str) -> bool:
    if _create(path, token):
        return True
    if not _is_stale(path):
        return False
    guard = path.with_name(f"{path.name}.guard")
    try:
        guard.mkdir()
    except FileExistsError:
        with contextlib.suppress(OSError):  # another looked after it, or does so now
            if _age(guard) > STALE:
                guard.rmdir()
        return False
    try:
        if _is_stale(path):  # nobody else can have taken it over since
            path.unlink(missing_ok=True)
        return _create(path, token)
    finally:
        guard.rmdir()


def _create(path: Path, token: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump({"host": _host(), "pid": os.getpid(), "token": token}, file)
    except FileExistsError:
        return False
    return True


def _is_stale(path: Path) -> bool:
    try:
        age = _age(path)
    except FileNotFoundError:
        return True
    if age > STALE:
        return True
    who = owner(path)
    return who.get("host") == _host() and _is_dead(who.get("pid"))


def _age(path: Path) -> float:
    """Return the seconds since a file was touched, both told by its file system's clock."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _host() -> str:
    """Return the machine and, where there is one, the name space that a pid belongs to."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{platform.node()} {space}".strip()


def _is_dead(pid: object) -> bool:
    if os.name != "posix" or not isinstance(pid, int) or pid <= 0:
        return False  # cannot tell; it will be stale in time
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):  # a folder that is away for a while is not our end
            os.utime(path)
