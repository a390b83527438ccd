import json
import os
from pathlib import Path

import pytest

from dealseg.errors import DataError
from dealseg.exporting.target import new_folder


def write(out: Path, text: str = "one"):
    with new_folder(out, {"format": "x"}) as folder:
        (folder / "sub").mkdir()
        (folder / "sub/file.txt").write_text(text)
        os.symlink("/nowhere", folder / "link")


def names(folder: Path):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_new_an_empty_and_an_untouched_folder_are_taken(tmp_path):
    write(tmp_path / "deep/out")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    write(tmp_path / "empty", "two")
    assert (tmp_path / "empty/sub/file.txt").read_text() == "two"
    assert names(tmp_path / "empty") == ["export.json", "link", "sub", "sub/file.txt"]
    assert sorted(os.listdir(tmp_path)) == ["deep", "empty"]
    assert json.loads((tmp_path / "empty/export.json").read_text())["files"]["number"] == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda out: (out / "mine.txt").write_text("x"),
        lambda out: (out / "sub/file.txt").write_text("longer"),
        lambda out: (out / "sub/file.txt").unlink(),
        lambda out: (out / "export.json").unlink(),
        lambda out: (out / "export.json").write_text("[]"),
        lambda out: os.symlink("/tmp", out / "sub/more"),
    ],
)
def test_a_folder_in_which_anything_was_changed_is_refused_and_left_alone(tmp_path, change):
    write(tmp_path / "out")
    change(tmp_path / "out")
    before = names(tmp_path / "out")
    with pytest.raises(DataError, match="nothing was changed; choose another --out"):
        write(tmp_path / "out", "two")
    assert names(tmp_path / "out") == before
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        write(tmp_path / "out")


def test_the_current_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="you are in this folder"):
        write(Path("."))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_what_was_there(tmp_path, error):
    write(tmp_path / "out")
    for out in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(error), new_folder(out, {}) as folder:  # noqa: PT012
            (folder / "half.txt").write_text("x")
            raise error
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out/sub/file.txt").read_text() == "one"


def test_a_folder_that_was_filled_meanwhile_is_not_overwritten(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="is not empty"), new_folder(out, {}):  # noqa: PT012
        out.mkdir()
        (out / "theirs.txt").write_text("x")
    assert names(out) == ["theirs.txt"]


def test_a_failed_move_brings_the_old_export_back(tmp_path, monkeypatch):
    write(tmp_path / "out")
    rename = os.rename

    def fail_once(source, target):
        if str(source).endswith(".part"):
            raise OSError(28, "no room", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(OSError, match="no room"):
        write(tmp_path / "out", "two")
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out/sub/file.txt").read_text() == "one"
