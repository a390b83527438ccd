from types import SimpleNamespace

import pytest

from dealseg.cli import main
from dealseg.deploying import export
from small_segmenters import picture, save_picture, write_segmenter


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A segmenter, and the ONNX file that the command made of it: exporting takes seconds."""
    root = tmp_path_factory.mktemp("exported")
    model = write_segmenter(root / "seg", classes=("cup", "Teller ☃"))
    file = root / "made/here/model.onnx"
    assert main(["export-model", str(root / "seg"), "--format", "onnx", "--out", str(file)]) == 0
    for seed in range(3):
        save_picture(root / f"images/{seed}.png", picture(seed))
    return SimpleNamespace(folder=str(root / "seg"), model=model, file=file, images=root / "images")


@pytest.fixture
def quick(monkeypatch, exported):
    """Let the exporter find the graph it made before; may be changed by what is given."""
    import onnx

    def use(change=None):
        graph = onnx.load(exported.file)
        if change is not None:
            change(graph)
        monkeypatch.setattr(export, "segmenter_graph", lambda _: graph)

    use()
    return use
