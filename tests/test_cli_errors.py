"""Whatever goes wrong is one line with the way out, exit code 2, and nothing is lost."""

import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from make_folder import write_folder
from PIL import Image

from commands import fails
from dealseg.cli import main


def contents(folder: Path):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("command", ["check", "train", "label", "evaluate"])
def test_missing_data_are_named(tmp_path, capsys, trained, command):
    run = [trained.run] if command in ("label", "evaluate") else []
    out = ["--out", tmp_path / "out"] if command in ("train", "label") else []
    said = fails(capsys, command, *run, tmp_path / "nowhere", *out)
    assert "nowhere: expected the folder of a data set, found nothing" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "D", "--out", "O", "--seeed", "1"], "did you mean --seed?"),
        (["train", "D", "--out", "O", "--optim.epochs", "two"], "--optim.epochs: expected int"),
        (["train", "D", "--out", "O", "--losses", "isl,sil"], "losses must be 'none', or some of"),
        (["train", "D", "--out", "O", "--method", "gradcam"], "method must be one of"),
        (["train", "D", "--out", "O", "--config", "nix"], "nix: neither a file nor a recipe"),
        (["train", "D", "--out", "O", "--init", "nix"], "nix: no such weights file"),
        (["train", "D", "--out", "O", "--label.scales", "0"], "label.scales must be positive"),
        (["evaluate", "R", "D", "--protocol", "voc"], "--protocol: expected one of 'full', 'seam'"),
        (["train", "D", "--out", "O", "--seed", "-1"], "seed must be in [0, 2^63)"),
        (["train", "D", "--out", "O", "--workers", "-1"], "workers must be >= 0"),
        (["train", "D", "--out", "O", "--data.split", "nix"], "there is no split 'nix'"),
        (["train", "D", "--out", "O", "--data.depth-folder", "nix"], "depth file in nix"),
        (["check", "D", "--format", "voc"], "there is no VOC here: expected VOCdevkit/VOC2012/"),
        (["check", "D", "--split", "nix"], "there is no split 'nix'; there are: "),
        (["check", "D", "--depth-folder", "nix"], "depth file in nix"),
        (["train", "D", "--out", "O", "--model.backbone", "nix"], "timm knows no 'nix'"),
        (["train", "D", "--out", "O", "--model.weights", "nix"], "nix: no such weights file"),
        (["label", "R", "D", "--out", "O", "--threshold", "-0.1"], "threshold must be in [0, 1]"),
        (["label", "R", "D", "--out", "O", "--scales", "[]"], "scales must be positive"),
        (["label", "nix", "D", "--out", "O"], "nix: not a run folder (there is no such folder)"),
        (["evaluate", "nix", "D"], "nix: no such folder"),
        (["report", "nix"], "nix: not a run folder (there is no such folder)"),
        (["synth", "--out", "O", "--images", "-1"], "images must be at least 0"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(tmp_path, capsys, trained, words, said):
    paths = {"D": trained.data, "R": trained.run, "O": str(tmp_path / "out")}
    assert said in fails(capsys, *[paths.get(word, word) for word in words])
    assert not (tmp_path / "out").exists()


def test_a_misspelt_key_in_a_file_is_named(tmp_path, capsys, trained):
    (tmp_path / "c.yaml").write_text("optim: {epohs: 3}\n")
    words = ["train", trained.data, "--out", tmp_path / "out", "--config", tmp_path / "c.yaml"]
    said = fails(capsys, *words)
    assert "--optim.epohs (in the --config file); did you mean --optim.epochs?" in said


def test_an_unfinished_run_says_how_to_finish_it(tmp_path, capsys, trained):
    (tmp_path / "run").mkdir()
    shutil.copy(Path(trained.run, "config.yaml"), tmp_path / "run")
    for words in (["label", "--out", tmp_path / "out"], ["evaluate"]):
        said = fails(capsys, words[0], tmp_path / "run", trained.data, *words[1:])
        assert "the run is not finished (weights.safetensors is missing)" in said
    assert not (tmp_path / "out").exists()


def test_data_of_other_classes_are_refused(tmp_path, capsys, trained):
    data = write_folder(tmp_path / "data")
    said = fails(capsys, "label", trained.run, data, "--out", tmp_path / "out")
    assert "its classes ['cup', 'plate'] are not those of the run" in said
    assert "are not those of the run" in fails(capsys, "evaluate", trained.run, data)
    assert not (tmp_path / "out").exists()


def test_without_ground_truth_there_is_no_evaluation(tmp_path, capsys, trained):
    shutil.copytree(trained.data, tmp_path / "data")
    for folder in (tmp_path / "data").rglob("mask_visib"):
        shutil.rmtree(folder)
    words = ["evaluate", trained.run, tmp_path / "data", "--out", tmp_path / "e.json"]
    assert "mask" in fails(capsys, *words)
    assert not (tmp_path / "e.json").exists()


@pytest.mark.parametrize("command", ["synth", "train", "label"])
def test_a_folder_that_is_taken_is_left_untouched(tmp_path, capsys, trained, command):
    out = tmp_path / "taken"
    (out / "sub").mkdir(parents=True)
    (out / "sub/mine.txt").write_text("mine")
    before = contents(tmp_path)
    words = {
        "synth": ["--images", "1"],
        "train": [trained.data, *trained.train],
        "label": [trained.run, trained.data],
    }
    assert "choose another" in fails(capsys, command, *words[command], "--out", out)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("where", ["below a file", "in no real folder"])
@pytest.mark.parametrize("command", ["synth", "train", "label", "evaluate", "report"])
def test_an_output_that_cannot_be_written_is_named(tmp_path, capsys, trained, command, where):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file/out" if where == "below a file" else Path("/proc/out")
    if where != "below a file" and not Path("/proc/self").exists():
        pytest.skip("there is no /proc here")
    words = {
        "synth": ["--images", "1", "--val-images", "0", "--size", "32"],
        "train": [trained.data, *trained.train],
        "label": [trained.run, trained.data],
        "evaluate": [trained.run, trained.data, "--split", "val", "--boundaries", "false"],
        "report": [trained.run, "--split", "val", "--examples", "1"],
    }
    said = fails(capsys, command, *words[command], "--out", out)
    assert f"error: {out.parent}/" in said  # for `train` it is the cache beside the run
    assert (tmp_path / "file").read_text() == "mine"


def test_figures_are_shown_even_if_their_file_cannot_be_written(capsys, trained):
    words = ["evaluate", trained.run, trained.data, "--split", "val", "--boundaries", "false"]
    assert main([*words, "--out", "/proc/out.json"]) == 2
    assert "ORACLE" in capsys.readouterr().out


def test_a_full_disk_stops_labelling_and_the_same_call_goes_on(
    tmp_path, capsys, trained, monkeypatch
):
    words = ["label", trained.run, trained.data, "--out", tmp_path / "out", "--scales=[1.0]"]
    real, saved = Image.Image.save, []

    def full(self, file, **options):
        if len(saved) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        saved.append(file)
        real(self, file, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    assert "cannot be read or written (No space left on device)" in fails(capsys, *words)
    monkeypatch.undo()
    assert len(list((tmp_path / "out/masks").rglob("*.png"))) == 5
    assert main([str(word) for word in words]) == 0
    assert "9 masks written, 5 kept from before" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_also_from_a_reading_process(tmp_path, capsys, trained, workers):
    data = write_folder(tmp_path / "data")
    whole = (data / "images/c.jpg").read_bytes()
    (data / "images/c.jpg").write_bytes(whole[: len(whole) // 2])
    words = ["train", data, "--out", tmp_path / "run", "--profile", "full", *trained.train]
    said = fails(capsys, *words, "--workers", workers)
    assert f"{data}/images/c.jpg: cannot read this image" in said
    assert said.startswith(f"dealseg: error: {data}")


def test_tracebacks_are_there_for_those_who_ask(tmp_path, monkeypatch):
    monkeypatch.setenv("DEALSEG_DEBUG", "1")
    with pytest.raises(Exception, match="expected the folder of a data set"):
        main(["check", str(tmp_path / "nowhere")])


def test_a_reader_that_has_read_enough_is_no_error():
    """As in `dealseg methods | head -1`."""
    program = (
        "import sys, dealseg.cli as c\n"
        "def talk() -> int:\n"
        "    'Talk.'\n"
        "    print('x\\n' * 100_000)\n"
        "    return 0\n"
        "c.COMMANDS['talk'] = talk\n"
        "sys.exit(c.main(['talk']))"
    )
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE
