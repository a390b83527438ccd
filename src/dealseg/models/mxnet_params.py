"""MXNet's `.params` files, read without MXNet, which is no longer maintained.

Format: MXNet's own source, `src/ndarray/ndarray.cc` (`NDArray::Save`, `Load`, `LegacyLoad`). All
numbers are little-endian. A list: magic 0x112 and a zero (uint64 each), the number of arrays
(uint64), the arrays, the number of names (uint64), and each name (uint64 length, bytes). An array:
a magic (uint32), the storage type (int32, second version on), the number of axes (uint32), their
lengths (int64 each), the device (int32 twice), the type (int32), the values. Files of 2016 have no
magic there: it is the number of axes, and lengths are uint32.
"""

import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dealseg.errors import CheckpointError

_LIST = 0x112
_FIRST, _SECOND, _THIRD = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = ("<f4", "<f8", "<f2", "|u1", "<i4", "|i1", "<i8")
_MOST_AXES = 32


def read_params(path: Path) -> dict[str, Tensor]:
    """Return the dense arrays of a `.params` file by the names they have there.

    Raises:
        CheckpointError: if there is no such file, it is another format, or it is cut short.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    reader = _Reader(path)
    if reader.numbers("Q", 2) != (_LIST, 0):
        raise CheckpointError(f"{path}: not an MXNet list of arrays (.params)")
    arrays = [reader.array() for _ in range(reader.number("Q"))]
    names = [reader.text() for _ in range(reader.number("Q"))]
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise CheckpointError(f"{path}: {len(arrays)} arrays, but {len(set(names))} names of them")
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """Reads one value after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.read_bytes()
        self.place = 0

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        part = memoryview(self.content)[self.place : self.place + count]
        if len(part) < count:
            raise CheckpointError(f"{self.path}: cut short, {len(self.content)} bytes are not all")
        self.place += count
        return part

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        """Return the next integers of a :mod:`struct` kind."""
        form = f"<{count}{kind}"
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def number(self, kind: str) -> int:
        """Return the next integer."""
        return self.numbers(kind, 1)[0]

    def text(self) -> str:
        """Return the next string."""
        return bytes(self.take(self.number("Q"))).decode("utf-8", errors="replace")

    def array(self) -> Tensor:
        """Return the next array."""
        shape = self._shape()
        self.numbers("i", 2)
        kind = self.number("i")
        if not 0 <= kind < len(_TYPES):
            raise CheckpointError(f"{self.path}: array type {kind} is not one of numbers")
        dtype = np.dtype(_TYPES[kind])
        values = np.frombuffer(self.take(math.prod(shape) * dtype.itemsize), dtype)
        return torch.from_numpy(values.astype(dtype.newbyteorder("=")).reshape(shape))

    def _shape(self) -> tuple[int, ...]:
        magic = self.number("I")
        if magic in (_SECOND, _THIRD) and self.number("i") != 0:
            raise CheckpointError(f"{self.path}: has a sparse array, which no CAM network has")
        legacy = magic not in (_FIRST, _SECOND, _THIRD)
        axes = magic if legacy else self.number("I")
        shape = self.numbers("I" if legacy else "q", axes) if 0 < axes <= _MOST_AXES else ()
        if not shape or min(shape) < 1:
            raise CheckpointError(f"{self.path}: an array has no shape that can be; is it damaged?")
        return shape
