"""The review file while it is being edited: every change is on disk before it is answered."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from dealseg.data.review import Review, read_review, write_review
from dealseg.errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows, where one server at a time must do
    fcntl = None  # type: ignore[assignment]

_Signature = tuple[int, int, int]


class ReviewStore:
    """One review file, changed by one request at a time.

    Several processes may hold the same file: each change starts from what is on disk then.
    """

    def __init__(self, path: Path, check: Callable[[Review], None]):
        """Read the review if there is one, and write nothing.

        Args:
            path: of the file; it need not be there.
            check: raises DataError for a review that does not fit the data.

        Raises:
            DataError: if the file is no review, or does not pass the check.
        """
        self.path = path
        self._check = check
        self._lock = threading.Lock()
        self._closed = False
        self._signature: _Signature | None = None
        self._review = Review()
        self._refresh()

    @property
    def review(self) -> Review:
        """The review as it is on disk now.

        Raises:
            DataError: if another program made it unreadable.
        """
        with self._lock:
            return self._refresh()

    def change(self, step: Callable[[Review], Review]) -> Review:
        """Take a step from the review on disk, write the result and return it.

        Raises:
            DataError: if the file on disk is no review any more; it is left as it is.
            OSError: if it cannot be written; the old one is still there.
        """
        with self._lock, _alone(self.path):
            if self._closed:
                raise DataError(f"{self.path}: the review is closed; start dealseg review again")
            before = self._refresh()
            after = step(before)
            if after != before:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_review(self.path, after)
                self._review, self._signature = after, _signature(self.path)
            return after

    def close(self) -> None:
        """Wait for a change that is being written, and take no more."""
        with self._lock:
            self._closed = True

    def _refresh(self) -> Review:
        signature = _signature(self.path)
        if signature != self._signature:
            review = Review() if signature is None else read_review(self.path)
            self._check(review)
            self._review, self._signature = review, signature
        return self._review


def _signature(path: Path) -> _Signature | None:
    """Return what differs once a file is replaced; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file; the system ends it with the process."""
    if fcntl is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
