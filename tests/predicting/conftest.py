from types import SimpleNamespace

import pytest

from dealseg.cli import main
from small_segmenters import write_segmenter


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter") / "seg"
    return SimpleNamespace(folder=str(folder), model=write_segmenter(folder))


@pytest.fixture
def run(capsys):
    """Call the command; return its exit code, what it printed, and its error line."""

    def called(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return called
