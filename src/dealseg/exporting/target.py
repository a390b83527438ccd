"""The folder an export is written to: whole or not at all, and never over what is not ours."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dealseg.data.files import file_error, read_json
from dealseg.errors import DataError

MANIFEST = "export.json"
"""Beside what is exported: how it came, and a checksum over the files by which we know ours."""


@contextlib.contextmanager
def new_folder(out: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Give a folder to fill beside `out`; it takes its place if all goes well, else it is gone.

    Args:
        out: not there, empty, or an earlier export in which nothing was changed.
        facts: written to `export.json`; may be added to until the end.

    Raises:
        DataError: if `out` holds anything else.
    """
    out = out.resolve()
    require_free(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    partial.mkdir(parents=True)
    try:
        yield partial
        told = json.dumps({"dealseg_export": 1, **facts, "files": _listed(partial)}, indent=1)
        write_lines(partial / MANIFEST, [told])
        require_free(out)
        _replace(out, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_free(out: Path) -> None:
    """Raise DataError unless a folder may be written: no files in it but an untouched export.

    Nor may it be the current one: what is written takes its place, and a shell would stay in the
    old one.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise file_error(out, "is a file; choose another --out")
    if os.path.samefile(out, os.curdir):
        raise file_error(out, "you are in this folder, and it would be replaced; choose another")
    if any(out.iterdir()) and not _is_untouched(out):
        problem = "is not empty, nor an earlier export in which nothing was changed"
        raise file_error(out, f"{problem}; choose another --out, or move it away")


def write_lines(file: Path, lines: list[str]) -> None:
    """Write a text file of the same bytes on every system."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _is_untouched(out: Path) -> bool:
    try:
        told = read_json(out / MANIFEST)
    except DataError:
        return False
    ours = isinstance(told, dict) and "dealseg_export" in told
    return ours and bool(told.get("files") == _listed(out))


def _listed(folder: Path) -> dict[str, Any]:
    """Return number and checksum of the files' names and sizes; links are not followed."""
    found = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            file = Path(parent, name)
            where = file.relative_to(folder).as_posix()
            if where != MANIFEST:
                size = -1 if file.is_symlink() else file.stat().st_size
                found.append(f"{where}\n{size}\n")
    digest = hashlib.sha256("".join(sorted(found)).encode(errors="surrogateescape"))
    return {"number": len(found), "sha256": digest.hexdigest()}


def _replace(out: Path, partial: Path) -> None:
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(partial, out)
    except BaseException:
        if old.exists():
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
