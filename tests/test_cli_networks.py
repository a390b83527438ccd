"""The commands that say what there is: methods and weights; recipes, and starting from weights."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dealseg.config import TrainConfig, recipes
from dealseg.config.losses import DealConfig, FslConfig, IslConfig
from dealseg.models import METHODS
from dealseg.models.combinations import check_combination
from dealseg.models.runs import WEIGHTS_FILE, read_config
from dealseg.models.weights import read_state
from test_cli import ok
from test_cli_errors import fails


def test_methods_lists_what_each_method_states(capsys):
    told = json.loads(ok(capsys, "methods", "--json"))
    assert set(told["methods"]) == set(METHODS)
    for name, kind in METHODS.items():
        facts = told["methods"][name]
        assert facts["backbone"] == kind.default_backbone
        assert facts["masks_from"] == kind.label_cam
        assert facts["attach"] == dict(kind.attach)
        assert facts["threshold"] == kind.threshold
        assert {n: tuple(c.values()) for n, c in facts["cams"].items()} == {
            n: tuple(c) for n, c in kind.cams.items()
        }
    assert set(told["losses"]) == {"deal", "isl", "fsl"}
    assert list(told["recipes"]) == list(recipes.recipes())


def test_methods_says_of_a_recipe_what_its_file_says(capsys, recipe):
    assert json.loads(ok(capsys, "methods", "--json"))["recipes"] == {recipe: "A test's recipe"}
    assert f"  {recipe:<16} A test's recipe\n" in ok(capsys, "methods")


def test_methods_is_a_text_of_a_hundred_columns_that_names_everything(capsys):
    text = ok(capsys, "methods")
    assert max(map(len, text.splitlines())) <= 100
    for name, kind in METHODS.items():
        block = next(b for b in text.split("\n\n") if b.startswith(f"{name}: "))
        assert {kind.default_backbone + ";", *kind.cams, *kind.options} <= {
            word.removeprefix("--model.").rstrip(",") for word in block.split()
        }
        rows = {line.split()[0]: line for line in block.splitlines()[4:]}
        for loss, cam in kind.attach.items():
            assert loss in rows[cam]
            assert all(loss not in rows[other] for other in kind.cams if other != cam)


def test_which_methods_can_be_cached_is_what_their_networks_allow(capsys):
    told = json.loads(ok(capsys, "methods", "--json"))["methods"]
    assert {name: facts["cached_profile"] for name, facts in told.items()} == {
        "cam": True,
        "seam": True,
        "weaktr": False,
    }


@pytest.mark.parametrize("given", ["folder", "file"])
def test_weights_inspect_knows_a_run_by_its_folder_or_its_file(capsys, trained, given):
    path = trained.run if given == "folder" else f"{trained.run}/{WEIGHTS_FILE}"
    facts = json.loads(ok(capsys, "weights", "inspect", path, "--json"))
    config, found = read_config(Path(trained.run))
    assert facts["kind"] == "run of dealseg, method cam"
    assert facts["backbone"] == config.model.backbone
    assert facts["classes"] == len(found.classes)
    assert set(facts["fits"]) == {"cam", "seam"}
    text = ok(capsys, "weights", "inspect", path)
    assert text.startswith(f"{path}\n  what      run of dealseg")
    assert "weaktr    cannot load it" in text


def test_weights_inspect_runs_nothing_and_says_so(capsys, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "mark",))

    torch.save({"model": {}, "trap": Trap()}, tmp_path / "a.pth")
    said = fails(capsys, "weights", "inspect", tmp_path / "a.pth")
    assert "nothing of it was run" in said
    assert not (tmp_path / "mark").exists()
    assert "no such weights file" in fails(capsys, "weights", "inspect", tmp_path / "none.pth")
    assert "neither a checkpoint nor a run" in fails(capsys, "weights", "inspect", tmp_path)
    assert "one of 'inspect', got burn" in fails(capsys, "weights", "burn", tmp_path / "a.pth")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A packaged recipe of this test's own."""
    monkeypatch.setattr(recipes, "_FOLDER", tmp_path / "recipes")
    (tmp_path / "recipes").mkdir()
    content = {"seed": 7, "losses": "none", "label": {"threshold": 0.31, "scales": [1.0]}}
    text = "# A test's\n# recipe: more of it.\n\n# not this: one\n" + yaml.safe_dump(content)
    (tmp_path / "recipes/house.yaml").write_text(text)
    return "house"


@pytest.mark.parametrize("joined", [False, True])
def test_config_takes_the_name_of_a_recipe(tmp_path, capsys, trained, recipe, joined):
    words = [f"--config={recipe}"] if joined else ["--config", recipe]
    ok(capsys, "train", *words, trained.data, "--out", tmp_path / "run", *trained.train)
    config, _ = read_config(tmp_path / "run")
    assert (config.seed, config.losses, config.label.threshold) == (7, "none", 0.31)
    assert config.optim.epochs == 1  # the command line overrides


@pytest.mark.parametrize(
    ("word", "way_out"), [("hous", "did you mean house?"), ("xyzzy", "recipes: house")]
)
def test_a_word_that_is_neither_file_nor_recipe_is_told_the_recipes(
    word, way_out, tmp_path, capsys, recipe
):
    said = fails(capsys, "train", "d", "--out", tmp_path / "run", "--config", word)
    assert f"--config {word}: neither a file nor a recipe; {way_out}" in said


def test_every_packaged_recipe_is_a_configuration_that_goes_together():
    from dealseg.arguments import parse
    from dealseg.cli import COMMANDS

    for name in recipes.recipes():
        _, values = parse(COMMANDS, ["train", "d", "--out", "o", "--config", name])
        fields = {key: values[key] for key in TrainConfig.__dataclass_fields__}
        check_combination(TrainConfig(**fields))


def test_labelling_and_evaluation_take_what_the_run_says_and_the_user_overrides_it(
    tmp_path, capsys, trained, recipe
):
    run, masks = tmp_path / "run", tmp_path / "masks"
    ok(capsys, "train", "--config", recipe, trained.data, "--out", run, *trained.train)
    label = ["label", run, trained.data, "--split", "val"]
    assert "threshold 0.31 (run)" in ok(capsys, *label, "--out", masks)
    manifest = json.loads((masks / "labels.json").read_text())
    assert (manifest["scales"], manifest["flip"]) == ([1.0], True)
    told = ok(capsys, *label, "--out", tmp_path / "other", "--threshold", "0.2", "--flip", "false")
    assert "threshold 0.2 (user)" in told
    assert json.loads((tmp_path / "other/labels.json").read_text())["flip"] is False
    evaluate = ["evaluate", run, trained.data, "--split", "val", "--boundaries", "false"]
    ok(capsys, *evaluate)
    fixed = json.loads((run / "evaluation.json").read_text())["fixed"]
    assert (fixed["threshold"], fixed["threshold_origin"]) == (0.31, "run")


def test_a_run_starts_from_another_run_s_weights(tmp_path, capsys, caplog, trained):
    for start in (trained.run, f"{trained.run}/{WEIGHTS_FILE}"):
        out = tmp_path / Path(start).name
        words = [*trained.train, "--optim.lr=1e-12", "--init", start]
        with caplog.at_level(logging.INFO):
            ok(capsys, "train", trained.data, "--out", out, *words)
        assert f"{start} (" in caplog.text
        before, after = (read_state(Path(run) / WEIGHTS_FILE) for run in (trained.run, out))
        for name, value in before.items():
            torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-6)


def test_an_init_of_another_network_is_refused_before_anything_is_written(
    tmp_path, capsys, trained
):
    torch.save({"a.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    words = [trained.data, "--out", tmp_path / "out", *trained.train]
    said = fails(capsys, "train", *words, "--init", tmp_path / "a.pth")
    assert "only 0% of the backbone's parameters fit" in said
    assert "weights inspect" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "seam", "--losses", "isl", "--isl.cam", "pcm"], "'pcm' of method seam is no"),
        (["--method", "weaktr", "--deal.cam", "cam"], "makes no CAM 'cam'; deal can act on coarse"),
        (["--method", "weaktr", "--profile", "cached"], "take --profile full"),
        (["--method", "weaktr", "--frozen-stages", "3"], "frozen_stages must be 0"),
    ],
)
def test_a_combination_that_cannot_work_is_refused_with_the_reason(
    tmp_path, capsys, trained, words, said
):
    assert said in fails(capsys, "train", trained.data, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["seam", "weaktr"])
def test_a_protocol_is_named_in_output_and_file(tmp_path, capsys, trained, name):
    out = tmp_path / "e.json"
    words = ["evaluate", trained.run, trained.data, "--split", "val", "--out", out]
    text = ok(capsys, *words, "--protocol", name, "--boundaries", "false")
    result = json.loads(out.read_text())
    search = result["protocol"]
    line = next(line for line in text.splitlines() if line.startswith("ORACLE  "))
    assert line.endswith(f"with the ground truth, protocol {name}")
    assert f"{100 * result['oracle']['mean_iou']:.1f}" in line
    assert search["protocol"] == name
    assert (search["first"], search["last"]) == {"seam": (0, 0.59), "weaktr": (0.4, 0.59)}[name]
    assert result["oracle"]["threshold"] == search["best"] in search["thresholds"]
    assert result["oracle"]["mean_iou"] == search["best_mean_iou"] == max(search["curve"])
    assert len(result["curve"]) == 101
    assert ("WARNING" in text) == (search["stopped_early"] or search["best"] in (0.4, 0.59))
    assert f"(protocol full): best {100 * max(result['curve']):.1f} at " in text


def test_finished_masks_have_no_protocol(tmp_path, capsys, trained):
    masks = tmp_path / "masks"
    ok(capsys, "label", trained.run, trained.data, "--split", "val", "--out", masks)
    words = ["evaluate", masks, trained.data, "--split", "val"]
    assert "finished masks" in fails(capsys, *words, "--protocol", "seam")
    assert not (masks / "evaluation.json").exists()


def test_the_defaults_of_every_method_go_together():
    groups = {"deal": DealConfig, "isl": IslConfig, "fsl": FslConfig}
    for name, kind in METHODS.items():
        config = TrainConfig(method=name, losses="deal,isl,fsl")
        check_combination(config)
        for loss, cam in kind.attach.items():
            check_combination(replace(config, **{loss: groups[loss](cam=cam)}))
