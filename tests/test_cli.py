"""The commands as a user calls them, from data to report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from make_bop import write_bop, write_onboarding
from make_folder import write_folder
from PIL import Image

from commands import ok
from dealseg import cli
from dealseg.cli import COMMANDS, main


def test_synthetic_data_go_all_the_way_to_the_report(tmp_path, capsys, trained):
    assert "images    10" in ok(capsys, "check", trained.data, "--split", "train")
    masks = tmp_path / "masks"
    told = ok(capsys, "label", trained.run, trained.data, "--out", masks, "--split", "val")
    assert told == f"4 masks written in {masks}/masks, threshold 0.4 (method)\n"
    of_run = ok(capsys, "evaluate", trained.run, trained.data, "--split", "val")
    assert "ORACLE" in of_run
    assert f"written to {trained.run}/evaluation.json" in of_run
    of_masks = tmp_path / "masks.json"
    ok(capsys, "evaluate", masks, trained.data, "--split", "val", "--out", of_masks)
    one = json.loads(Path(trained.run, "evaluation.json").read_text())
    other = json.loads(of_masks.read_text())
    assert one["fixed"] == other["fixed"]
    assert (one["split"], one["images"]) == ("val", 4)
    page = tmp_path / "report.html"
    told = ok(capsys, "report", trained.run, "--split", "val", "--out", page, "--examples", "1")
    assert told == f"report in {page}\n"
    assert page.stat().st_size > 1000


def test_a_run_folder_holds_what_is_promised(trained):
    files = {file.name for file in Path(trained.run).iterdir() if file.is_file()}
    assert {"config.yaml", "weights.safetensors", "metrics.csv", "environment.json"} <= files
    assert not [name for name in files if name.endswith(".part")]


@pytest.mark.parametrize("write", [write_folder, write_bop, write_onboarding])
def test_other_people_s_data_are_trained_on_and_labelled_without_further_options(
    tmp_path, capsys, trained, write
):
    data, run = write(tmp_path / "data"), tmp_path / "run"
    ok(capsys, "check", data)
    ok(capsys, "train", data, "--out", run, *trained.train)
    told = ok(capsys, "label", run, data, "--out", tmp_path / "masks", "--scales", "[1.0]")
    count = len(list((tmp_path / "masks").rglob("*.png")))
    assert told.startswith(f"{count} masks written")
    assert count >= 4
    assert "mIoU" in ok(capsys, "evaluate", tmp_path / "masks", data)


@pytest.mark.parametrize(
    ("write", "given", "used"),
    [
        (write_bop, [], "train"),
        (write_folder, [], None),
        (write_bop, ["--data.split", "val"], "val"),
        (write_bop, ["--data.split", "null"], None),
    ],
)
def test_training_takes_the_train_split_where_there_is_one_and_says_so(
    tmp_path, capsys, trained, write, given, used
):
    data = write(tmp_path / "data")
    ok(capsys, "train", data, "--out", tmp_path / "run", *trained.train, *given)
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert config["data"]["split"] == used


def test_a_split_file_named_train_is_taken(tmp_path, capsys, trained):
    data = write_folder(tmp_path / "data")
    (data / "splits").mkdir()
    (data / "splits/train.txt").write_text("a\nb\nc\n")
    ok(capsys, "train", data, "--out", tmp_path / "run", *trained.train)
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert environment["images"] == 3


def test_the_configuration_of_a_run_trains_the_same_network_again(tmp_path, capsys, trained):
    config = Path(trained.run, "config.yaml")
    ok(capsys, "train", "--config", config, trained.data, "--out", tmp_path / "again")
    for name in ("config.yaml", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == Path(trained.run, name).read_bytes()


def test_labelling_says_what_it_kept_and_what_it_predicted(tmp_path, capsys, trained):
    words = ["label", trained.run, trained.data, "--out", tmp_path / "m", "--split", "val"]
    words += ["--tags", "predicted", "--threshold", "0.25", "--flip", "false", "--scales=[1.0]"]
    told = ok(capsys, *words)
    assert "threshold 0.25 (user)" in told
    assert "4 images had no tags: the network predicted them" in told
    assert "0 masks written, 4 kept from before" in ok(capsys, *words)
    manifest = json.loads((tmp_path / "m/labels.json").read_text())
    assert (manifest["flip"], manifest["scales"]) == (False, [1.0])
    for file in (tmp_path / "m").rglob("*.png"):
        with Image.open(file) as picture:
            assert picture.mode == "P"
            assert np.asarray(picture).max() <= 10


def test_a_finished_training_called_again_with_resume_is_left_as_it_is(capsys, trained):
    before = Path(trained.run, "weights.safetensors").stat().st_mtime_ns
    ok(capsys, "train", "--resume", trained.data, "--out", trained.run, *trained.train)
    assert Path(trained.run, "weights.safetensors").stat().st_mtime_ns == before


def test_problems_of_the_data_are_exit_code_1(tmp_path, capsys):
    data = write_folder(tmp_path / "data")
    (data / "images/a.jpg").write_bytes(b"no picture")
    assert main(["check", str(data)]) == 1
    assert "images/a.jpg" in capsys.readouterr().out
    assert main(["check", str(data), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "with --resume goes on") for name in ("train", "train-segmenter")),
        *((name, "goes on") for name in ("synth", "depth", "noise", "label", "predict")),
        *((name, "goes on") for name in ("demo", "experiment")),
        *((name, "starts anew") for name in ("check", "evaluate", "export", "export-model")),
    ],
)
def test_an_interruption_is_exit_code_130_and_says_how_to_go_on(capsys, monkeypatch, name, way):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, name, interrupted)
    monkeypatch.setattr(cli, "parse", lambda *_: (name, {}))
    assert main([name, "data"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"interrupted; the same command {way}\n"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_works(capsys, name):
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"] if name else ["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    summary = (COMMANDS[name].__doc__ or "").splitlines()[0] if name else "pixel masks"
    assert summary in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("synth", "folder to write; a new or empty one, or the same again"),
        ("train", "run folder to write; a new or empty one"),
        ("label", "folder for `masks/` and `labels.json`"),
        ("evaluate", "JSON file; by default `evaluation.json` in SOURCE"),
        ("report", "HTML file; figures go to a folder beside it"),
        ("demo", "folder to write; call again to go on"),
    ],
)
def test_out_means_what_the_help_of_each_command_says(capsys, name, said):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert said in " ".join(capsys.readouterr().out.split())


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import resource, sys\n"
        "from dealseg.cli import main\n"
        "try:\n"
        "    main(['train', '--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'lightning', 'timm', 'matplotlib'} & set(sys.modules)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('FACTS', sorted(heavy), used.ru_utime + used.ru_stime)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    facts = ran.stdout.splitlines()[-1]
    assert facts.startswith("FACTS [] ")
    assert float(facts.split()[-1]) < 0.5  # of processor time; the wall clock is the machine's


def test_the_module_is_the_command(tmp_path):
    def run(*words):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "dealseg", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    version = run("--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "dealseg")
    wrong = run("trian")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "dealseg: error: no command 'trian'; did you mean train?\n"
