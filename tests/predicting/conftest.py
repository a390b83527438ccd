from types import SimpleNamespace

import pytest

from small_segmenters import write_segmenter


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter") / "seg"
    return SimpleNamespace(folder=str(folder), model=write_segmenter(folder))
