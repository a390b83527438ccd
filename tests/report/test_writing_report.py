from pathlib import Path

import pytest
import torch
from make_run import evaluation, make_run, pictures
from PIL import Image

from dealseg.errors import ConfigError, DataError
from dealseg.labeling import LabelOptions, score_image
from dealseg.models import load_run
from dealseg.report import read_runs, write_report
from dealseg.report.assembling import assemble

FAST = LabelOptions(scales=(1.0,), flip=False, threshold=0.3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    judged = evaluation(0.45, 0.47)
    return [
        make_run(root / "baseline", weights=True),
        make_run(root / "deal", "deal", evaluation=judged, weights=True, cells=16),
    ]


def test_examples_hold_what_labelling_gives_cut_at_the_evaluations_threshold(runs):
    data = pictures()
    examples = assemble(read_runs(runs), data, [1, 3], FAST)
    assert [example.name for example in examples] == ["000001", "000003"]
    example = examples[1]
    assert torch.equal(example.truth, data.masks[3])
    assert example.tags == ("cup",)
    assert example.view.gate.shape == (16, 16)
    assert [p.threshold for p in example.predictions] == [0.3, 0.4]
    for path, found in zip(runs, example.predictions, strict=True):
        model = load_run(path).model
        scores = score_image(model, data.image(3), data.tags(3), long_side=32, options=FAST)
        assert torch.equal(found.score, scores.score)
        assert torch.equal(found.winner, scores.winner)


def test_a_report_is_one_page_and_its_figures(runs, tmp_path):
    out = tmp_path / "new" / "report.html"
    assert write_report(runs, out, data=pictures(), examples=2, options=FAST) == out
    html = out.read_text(encoding="utf-8")
    assert "2 of the 5 images, spread evenly by their index" in html
    assert ">000001<" in html
    assert ">000003<" in html
    found = sorted(p.relative_to(out.parent).as_posix() for p in out.parent.rglob("*.*"))
    names = ("examples", "thresholds", "training")
    assert found == [*(f"figures/{name}.png" for name in names), "report.html"]
    for name in names:
        Image.open(out.parent / "figures" / f"{name}.png").verify()


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = make_run(tmp_path / "run", weights=True, metrics="epoch,loss/total\n0,1\n")
    pages = [
        write_report([run], tmp_path / name, data=pictures(), examples=1, options=FAST).read_bytes()
        for name in ("one.html", "two.html")
    ]
    assert pages[0] == pages[1]


def test_an_unfinished_run_and_no_data_still_give_a_page(tmp_path):
    bare = make_run(tmp_path / "bare", metrics=None)
    out = write_report([bare], tmp_path / "bare.html", data=pictures(), examples=1)
    assert "the run is not finished" in out.read_text(encoding="utf-8")
    out = write_report([bare], tmp_path / "none.html")
    assert "No examples were asked for." in out.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_says_so_and_leaves_no_draft(tmp_path):
    run = make_run(tmp_path / "run", metrics=None)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(DataError, match="cannot write the report"):
        write_report([run], taken / "report.html")
    folder = tmp_path / "folder.html"
    folder.mkdir()
    with pytest.raises(DataError, match=r"folder\.html: cannot write"):
        write_report([run], folder)
    assert taken.read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_a_negative_number_of_examples_is_refused():
    with pytest.raises(ConfigError, match="examples must be >= 0, got -1"):
        write_report([Path("run")], Path("out.html"), examples=-1)
