"""The command, from data to tables and figures, with real trainings."""

import functools
import json
import shutil
import sys
from pathlib import Path

import pytest
from make_folder import write_folder
from small_grid import GRID, Counting

from dealseg.cli import main
from dealseg.data.miniature import coco, voc
from dealseg.data.miniature.pictures import film
from dealseg.experiments import experiment, miniature
from dealseg.experiments.experiment import Experiment
from dealseg.experiments.running import train_and_judge

TINY = ["--miniature", "--methods", "cam", "--losses", "none,deal", "--seeds", "0"]
TABLES = ["--tables", "losses,noise", "--noise", "none,level:2"]


def ok(capsys, *words):
    capsys.readouterr()
    assert main(["experiment", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A miniature done in one go."""
    out = tmp_path_factory.mktemp("experiment") / "out"
    assert main(["experiment", "synthetic", "--out", str(out), *TINY, *TABLES]) == 0
    return out


@pytest.fixture
def fresh(done, tmp_path):
    """A folder to write to in which the miniature's pictures are already."""
    shutil.copytree(done / "miniature", tmp_path / "out" / "miniature")
    return tmp_path / "out"


def tables(out):
    files = [*(out / "tables").iterdir(), out / "results.jsonl"]
    return {file.name: file.read_bytes() for file in files}


def test_an_experiment_gives_tables_in_three_forms_and_figures(done):
    assert {name.removeprefix("synthetic-") for name in tables(done)} == {
        *(f"{table}.{form}" for table in ("losses", "noise") for form in ("md", "csv", "tex")),
        "results.jsonl",
    }  # fmt: skip
    assert {file.name.removeprefix("synthetic-") for file in (done / "figures").iterdir()} == {
        *(f"{table}-thresholds.png" for table in ("losses", "noise")),
        *(f"{table}-noise.png" for table in ("losses", "noise")),
        "cams-cam.png",
        "masks-cam.png",
    }
    lines = [json.loads(line) for line in (done / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 1 + 2
    assert "MINIATURE" in tables(done)["synthetic-losses.md"].decode()


def test_done_again_it_trains_nothing_and_gives_the_same_tables(done, capsys):
    before = tables(done)
    weights = {file: file.stat().st_mtime_ns for file in done.rglob("weights.safetensors")}
    told = ok(capsys, "synthetic", "--out", done, *TINY, *TABLES, "--figures=false")
    assert told.count("finished before") == len(weights) == 3
    assert {file: file.stat().st_mtime_ns for file in weights} == weights
    assert tables(done) == before


def test_two_shards_one_interrupted_and_a_corrupt_result_give_the_same_tables(
    done, fresh, capsys, monkeypatch, caplog
):
    real = train_and_judge
    words = ["synthetic", "--out", str(fresh), *TINY, *TABLES, "--figures=false"]
    counting = Counting(stop_at=1)

    def stops(data, folder):
        do = real(data, folder)

        def work(job, run):
            counting(job, run)
            return do(job, run)

        return work

    monkeypatch.setattr(experiment, "train_and_judge", stops)
    assert main(["experiment", *words, "--shard", "1/2"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(experiment, "train_and_judge", real)
    assert "2 of 3 results" in ok(capsys, *words, "--shard=2/2")
    next((fresh / "results").iterdir()).write_text("{")
    assert main(["experiment", *words, "--shard=1/2"]) == 0
    assert main(["experiment", *words, "--shard=2/2"]) == 0
    assert "damaged" in caplog.text
    assert tables(fresh) == tables(done)


def test_a_plan_lists_the_jobs_and_writes_nothing(tmp_path, capsys):
    data = write_folder(tmp_path / "data")
    grid = tmp_path / "mine.yaml"
    grid.write_text(
        "data: {format: folder, train: null, val: null}\nmethods: {cam: {}}\n"
        "depths: {sensor: {}}\nseeds: [0, 1, 2]\n"
        "tables: {t: {title: t, methods: [cam], losses: [none, deal], depths: [sensor]}}\n"
    )
    words = ("synthetic", "--data", data, "--grid", grid, "--out", tmp_path / "out", "--plan")
    told = ok(capsys, *words)
    assert len(told.splitlines()) == 6
    assert all(line.split()[0] == "open" for line in told.splitlines())
    assert len(ok(capsys, *words, "--shard", "2/4").splitlines()) == 2
    assert not (tmp_path / "out").exists()


def test_gathering_trains_nothing_and_marks_what_is_missing(fresh, capsys):
    words = ("synthetic", "--out", fresh, *TINY, "--tables=losses", "--gather")
    assert "0 of 2 results" in ok(capsys, *words)
    assert "missing" in (fresh / "tables" / "synthetic-losses.md").read_text()
    assert not (fresh / "runs").exists()


def test_figures_are_of_what_is_there(fresh, capsys):
    """With one variant trained there are masks, but no comparison of CAMs."""
    words = ("synthetic", "--out", fresh, *TINY, "--tables=losses")
    ok(capsys, *words, "--losses=deal")
    names = {file.name for file in (fresh / "figures").iterdir()}
    assert names == {"synthetic-losses-thresholds.png", "synthetic-masks-cam.png"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["voc"], "experiment needs --data, or --miniature"),
        (["vok", "--miniature"], "expected one of"),
        (["voc", "--miniature", "--shard", "3/2"], "shard must be i/n"),
        (["voc", "--miniature", "--seeds", "0,x"], "--seeds must be numbers with commas"),
        (["voc", "--miniature", "--losses", "none,edge"], "losses must be none, or some of"),
        (["voc", "--miniature", "--methods", "irn"], "methods of table losses must be some of"),
        (["voc", "--miniature", "--set", "optim.epoch=3"], "unknown key 'epoch'"),
        (["voc", "--data", "DATA"], "DATA: expected the folder of a data set, found nothing"),
        (["voc", "--miniature", "--noise", "levle:2"], "no model 'levle'"),
        (["voc", "--miniature", "--set", "optim.lr=fast"], "optim.lr must be a number"),
        (["voc", "--grid", "no.yaml", "--data", "DATA"], "no.yaml: not readable"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(tmp_path, capsys, words, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", *words, "--out", "out"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


SIZES = {
    "voc": {"images": 6, "val_images": 3},
    "coco": {"images": 7, "val_images": 4},  # one of each without an annotation
    "hope": {"objects": 2, "frames": 10},
}


@functools.cache
def film_once(*arguments):
    return tuple(film(*arguments))


@pytest.fixture
def small_miniatures(monkeypatch):
    """Miniatures with fewer images; VOC's and COCO's are of the same photographs, rendered once."""
    for module in (voc, coco):
        monkeypatch.setattr(module, "film", film_once)
    for name, sizes in SIZES.items():
        smaller = functools.partial(miniature.WRITERS[name], **sizes)
        monkeypatch.setitem(miniature.WRITERS, name, smaller)


@pytest.mark.usefixtures("small_miniatures")
def test_what_cannot_be_judged_is_said_before_anything_is_trained(tmp_path, capsys, monkeypatch):
    data, grid = write_folder(tmp_path / "data"), tmp_path / "mine.yaml"
    grid.write_text(
        "data: {format: folder, train: null, val: null}\nmethods: {cam: {}}\ndepths: {}\n"
        "tables: {t: {title: t, methods: [cam], losses: [none], depths: [none]}}\n"
    )
    shutil.rmtree(data / "masks")
    words = ["--data", str(data), "--grid", str(grid), "--out", str(tmp_path / "out")]
    assert main(["experiment", "synthetic", *words]) == 2
    assert "data: there is no ground truth to judge by" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setenv("DEALSEG_CACHE", str(tmp_path / "cache"))
    assert main(["experiment", "coco", "--miniature", "--out", str(tmp_path / "coco")]) == 2
    assert "pip install 'dealseg[coco]'" in capsys.readouterr().err
    assert not (tmp_path / "coco/runs").exists()


def test_an_experiment_is_not_written_into_its_data(tmp_path, capsys):
    data = write_folder(tmp_path / "data")
    words = ["experiment", "synthetic", "--data", str(data), "--out", str(data / "runs")]
    assert main(words) == 2
    assert "lies in the data set" in capsys.readouterr().err


def test_torchrun_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    data = write_folder(tmp_path / "data")
    with pytest.raises(ValueError, match="take --shard to use several GPUs"):
        Experiment.of(GRID, data, tmp_path / "out").run(print)


@pytest.mark.usefixtures("small_miniatures")
@pytest.mark.parametrize(("name", "images"), [("voc", (6, 3)), ("coco", (6, 3)), ("hope", (32, 8))])
def test_the_miniatures_of_the_paper_s_data_sets_go_all_the_way(tmp_path, capsys, name, images):
    words = (name, "--miniature", "--out", tmp_path, "--tables=losses", "--figures=false")
    told = ok(capsys, *words, "--methods=weaktr", "--losses=none,deal", "--seeds=0")
    assert "2 of 2 results" in told
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    runs = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/environment.json")]
    assert [(run["images"], line["images"]) for run, line in zip(runs, lines, strict=True)] == [
        images,
        images,
    ]
    assert lines[0]["fixed"] != lines[1]["fixed"]  # DEAL acted
    table = (tmp_path / "tables" / f"{name}-losses.md").read_text()
    assert "| published | DEAL's best gain" in table
    assert "MINIATURE" in table
