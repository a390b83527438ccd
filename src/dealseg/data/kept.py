"""What is computed once from a user's data is kept in a folder of our own, never in theirs."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

VARIABLE = "DEALSEG_CACHE"


def cache_folder() -> Path:
    """Return where kept files lie: `$DEALSEG_CACHE`, else `dealseg` in the user's cache folder.

    One place for all commands, wherever they are started, so that `check`, `label` and `evaluate`
    share it. Everything in it can be made again and may be deleted at any time.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "dealseg"


def state_of(file: Path, version: int) -> str:
    """Return a short name for a file as it is now; another once its place, size or time changes.

    Args:
        file: of the user.
        version: of the code that computes something from it.

    Raises:
        OSError: if it is not there.
    """
    status = file.stat()
    told = f"{version}\n{file.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def keep(file: Path, data: bytes) -> bool:
    """Write a kept file whole or not at all; return whether it could be written.

    Processes may write the same file at the same time. A full or read-only disk is no error: what
    is kept only saves time.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
            try:
                draft.write(data)
                draft.close()
                os.replace(draft.name, file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(draft.name)
                raise
    except OSError:
        return False
    return True
