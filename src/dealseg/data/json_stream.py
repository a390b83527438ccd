"""The lists of a large JSON file, one entry at a time: memory does not grow with the file."""

import json
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

_CHUNK = 1 << 22
_BLANKS = " \t\n\r"
_ENDS = tuple(f"{_BLANKS},:]}}")
"""What may follow a value that is whole."""
_MARK = b"\xef\xbb\xbf"
_DECODER = json.JSONDecoder()


class Entry(NamedTuple):
    """An entry of a list of the top-level object, and the bytes of the file that hold it."""

    key: str
    value: Any
    start: int
    stop: int


def entries(file: Path) -> Iterator[Entry]:
    """Yield the entries of all lists that are values of the file's top-level object.

    Other values of the object are passed over. The text is taken byte by byte (as Latin-1), so that
    places are those of the file; :func:`text` turns what is read into the text that is meant.

    Raises:
        ValueError: if the file is not JSON, or no object.
        OSError: if it cannot be read.
    """
    with file.open("rb") as stream:
        source = _Source(stream)
        source.take("{")
        if source.peek() == "}":
            return
        while True:
            key, _, _ = source.value()
            source.take(":")
            if source.peek() == "[":
                for value, start, stop in _elements(source):
                    yield Entry(key, value, start, stop)
            else:
                source.value()
            if source.take(",}") == "}":
                return


def read_value(stream: BufferedIOBase, start: int, stop: int) -> Any:
    """Return the JSON value that lies at some bytes of a file.

    Raises:
        ValueError: if there is none, since the file was changed.
    """
    stream.seek(start)
    return json.loads(stream.read(stop - start).decode("latin-1"))


def text(value: Any) -> Any:
    """Return a string that was read as Latin-1 as the UTF-8 text it is; other values unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:  # it was written with \\u escapes
        return value


def _elements(source: "_Source") -> Iterator[tuple[Any, int, int]]:
    source.take("[")
    if source.peek() == "]":
        source.take("]")
        return
    while True:
        yield source.value()
        if source.take(",]") == "]":
            return


class _Source:
    """A file as a stream of JSON values."""

    def __init__(self, stream: BufferedIOBase):
        self._stream = stream
        self._text, self._at, self._before = "", 0, 0
        if stream.read(len(_MARK)) == _MARK:
            self._before = len(_MARK)
        else:
            stream.seek(0)

    def peek(self) -> str:
        """Return the next character that is no blank, or nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, wanted: str) -> str:
        """Return the next character, which must be one of those wanted."""
        found = self.peek()
        if not found or found not in wanted:
            place = self._before + self._at
            got = repr(found) if found else "the end"
            raise ValueError(f"expected {' or '.join(wanted)} at byte {place}, got {got}")
        self._at += 1
        return found

    def value(self) -> tuple[Any, int, int]:
        """Return the next value with the place of its first byte and of the one after its last."""
        self.peek()
        while True:
            try:
                value, stop = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                place = self._before + error.pos
                raise ValueError(f"{error.msg} at byte {place}") from None
            if self._text[stop : stop + 1] not in _ENDS and self._more():  # a number may go on
                continue
            start, self._at = self._at, stop
            return value, self._before + start, self._before + stop

    def _more(self) -> bool:
        """Read on, at least as much as was not enough, and forget what was taken."""
        new = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        if not new:
            return False
        self._before += self._at
        self._text, self._at = self._text[self._at :] + new.decode("latin-1"), 0
        return True
