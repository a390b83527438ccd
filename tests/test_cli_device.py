"""Commands work where `--device` says."""

import pytest
import torch
from make_folder import write_folder

from dealseg.cli import main
from fake_networks import write_run
from small_segmenters import write_segmenter

QUICK = ("--scales", "1.0", "--flip", "false")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    write_run(place / "run")
    write_folder(place / "data")
    return place


def words_of(command, made, tmp_path):
    run, data = str(made / "run"), str(made / "data")
    return {
        "label": ["label", run, data, "--out", str(tmp_path / "masks"), *QUICK],
        "evaluate": ["evaluate", run, data, "--out", str(tmp_path / "figures.json"), *QUICK],
        "report": ["report", run, "--data", data, "--out", str(tmp_path / "page.html")],
    }[command]


def with_gpu(monkeypatch):
    """Pretend that there is a GPU; return the list of the places that networks are sent to."""
    places, move = [], torch.nn.Module.to

    def sent(module, place, *rest, **options):
        places.append(str(place))
        return move(module, place, *rest, **options)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", sent)
    return places


@pytest.mark.parametrize("command", ["label", "evaluate", "report"])
def test_a_gpu_that_is_not_there_is_refused_and_cpu_leaves_one_alone(
    made, tmp_path, capsys, monkeypatch, command
):
    words = words_of(command, made, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([*words, "--device", "gpu"]) == 2
    assert "device is 'gpu' but there is none; take --device cpu" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
    places = with_gpu(monkeypatch)
    assert main([*words, "--device", "cpu"]) == 0
    assert set(places) == {"cpu"}
    assert any(tmp_path.iterdir())


def test_a_segmenter_is_judged_on_the_device_too(made, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "segmenter"
    write_segmenter(folder)
    words = ["evaluate", str(folder), str(made / "data"), "--device"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([*words, "gpu"]) == 2
    assert "device is 'gpu'" in capsys.readouterr().err
    places = with_gpu(monkeypatch)
    assert main([*words, "cpu"]) == 0
    assert set(places) == {"cpu"}
