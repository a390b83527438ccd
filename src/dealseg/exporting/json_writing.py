"""JSON files written entry by entry, so that no export is held in memory."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Entries:
    """The entries of a list, one a line."""

    def __init__(self, stream: IO[str]):
        self._stream = stream
        self.count = 0

    def add(self, entry: Mapping[str, Any]) -> int:
        """Write an entry and return its characters."""
        text = (",\n" if self.count else "\n") + json.dumps(entry)
        self.count += 1
        return self._stream.write(text)


@contextmanager
def json_list(file: Path) -> Iterator[Entries]:
    """Give the entries of a file that is one list."""
    with file.open("w", encoding="ascii", newline="\n") as stream:
        stream.write("[")
        yield Entries(stream)
        stream.write("\n]\n")


@contextmanager
def coco_file(file: Path, head: Mapping[str, Any]) -> Iterator[tuple[Entries, Entries]]:
    """Give the images and the annotations of a COCO file, which may be added to in turn.

    Args:
        file: to write.
        head: what else the file says, small.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file.open("w", encoding="ascii", newline="\n") as stream,
        tempfile.TemporaryFile("w+", encoding="ascii", newline="\n", dir=file.parent) as apart,
    ):
        stream.write(json.dumps(head)[:-1] + ',\n"images": [')
        yield Entries(stream), Entries(apart)
        stream.write('\n],\n"annotations": [')
        apart.seek(0)
        shutil.copyfileobj(apart, stream)
        stream.write("\n]}\n")
