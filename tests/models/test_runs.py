import dataclasses
import hashlib
import json
import os
from dataclasses import fields, replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
import yaml
from hypothesis import given, settings
from safetensors import SafetensorError

import small_segmenters
from dealseg.config import AugmentConfig, DataConfig, DealConfig, ModelConfig, TrainConfig
from dealseg.errors import CheckpointError, ConfigError
from dealseg.models import load_run, runs
from dealseg.models.runs import (
    RunFacts,
    from_mapping,
    load_weights,
    read_config,
    save_weights,
    write_config,
    write_text,
)
from fake_networks import ColourCam, write_run

FACTS = RunFacts(("cup", "Grün ☃", "a: b"), "/data/my set", "disparity")


def full_config(**changes):
    config = TrainConfig(
        losses="none",
        profile="full",
        frozen_stages=3,
        seed=7,
        data=DataConfig(split="train", depth_folder="depth_estimate"),
        model=ModelConfig(weights="w.pth"),
        deal=DealConfig(weight=1e-5, space="log"),
        augment=AugmentConfig(scale=(0.5, 2.0)),
    )
    return replace(config, **changes)


def contents(folder: Path):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_configuration_comes_back_as_it_was_written(tmp_path):
    for config in (full_config(), TrainConfig()):
        write_config(tmp_path, config, FACTS)
        assert read_config(tmp_path) == (config, FACTS)
    found, facts = read_config(tmp_path)
    assert isinstance(found.augment.scale, tuple)
    assert isinstance(facts.classes, tuple)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@given(
    names=st.lists(st.text(min_size=1).filter(str.isprintable), min_size=1, max_size=4),
    rate=st.floats(1e-12, 1e3),
    weight=st.floats(0, 1e9),
)
@settings(max_examples=50, deadline=None)
def test_any_class_names_and_numbers_come_back(tmp_path_factory, names, rate, weight):
    folder = tmp_path_factory.mktemp("run")
    config = TrainConfig(deal=DealConfig(weight=weight))
    config = replace(config, optim=replace(config.optim, lr=rate))
    facts = replace(FACTS, classes=tuple(names))
    write_config(folder, config, facts)
    assert read_config(folder) == (config, facts)


def test_the_file_is_plain_yaml_that_needs_no_python(tmp_path):
    write_config(tmp_path, full_config(), FACTS)
    content = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert content["augment"]["scale"] == [0.5, 2.0]
    assert content["classes"] == list(FACTS.classes)
    known = {f.name for f in (*fields(TrainConfig), *fields(RunFacts))}
    assert set(content) == known - {"edited_tags"}  # as of a run without a review


def test_the_checksum_of_edited_tags_comes_back_and_is_none_where_it_is_not_said(tmp_path):
    for told in (None, "5eed"):
        facts = replace(FACTS, edited_tags=told)
        write_config(tmp_path, TrainConfig(), facts)
        assert read_config(tmp_path)[1] == facts


def edited(folder, change):
    write_config(folder, TrainConfig(), FACTS)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    change(content)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(seeed=1), r"unknown key 'seeed'; known: .*seed"),
        (lambda c: c["optim"].update(epohs=1), r"unknown key 'epohs'; known: .*epochs"),
        (lambda c: c.pop("classes"), "classes"),
        (lambda c: c.update(data=3), "data must be keys and values, got 3"),
        (lambda c: c.update(deal=None), "deal must be keys and values"),
        (lambda c: c.update(classes=None), "NoneType"),
        (lambda c: c["data"].update(long_side="wide"), "long_side|str"),
        (lambda c: c["deal"].update(weight=-1), "deal.weight must be >= 0"),
    ],
)
def test_a_changed_configuration_is_refused_with_its_file_and_reason(tmp_path, change, said):
    with pytest.raises(CheckpointError, match=r"(?s)config\.yaml: .*(" + said + ")"):
        read_config(edited(tmp_path, change))


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "just text", "a: [", "\x00", "nc: 20\nnames: [a]\n", "- a\n- b\n"]
)
def test_a_file_of_something_else_is_refused_on_one_line(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml: not") as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="not readable"):
        read_config(tmp_path)


def test_yaml_that_would_run_code_is_not_run(tmp_path):
    (tmp_path / "config.yaml").write_text("!!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(CheckpointError, match="not readable"):
        read_config(tmp_path)


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_what_is_no_run_folder_is_said_to_be_none(tmp_path, kind):
    folder = tmp_path / "run"
    if kind == "file":
        folder.write_text("")
    elif kind == "empty":
        folder.mkdir()
    with pytest.raises(CheckpointError, match=r"run: not a run|run/config\.yaml: not"):
        load_run(folder)


def test_unknown_keys_are_refused_at_every_level():
    assert from_mapping(TrainConfig, {"data": {"long_side": 64}}).data.long_side == 64
    with pytest.raises(ConfigError, match="unknown key 'size'; known: depth_folder, format"):
        from_mapping(TrainConfig, {"data": {"size": 64}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"optim": {"lr": "fast"}}, "optim.lr must be a number"),
        ({"optim": {"epochs": "two"}}, "optim.epochs must be a whole number"),
        ({"label": {"scales": 1.0}}, "label.scales must be a list"),
        ({"data": "voc"}, "data must be keys and values"),
        ({"precision": "16"}, "precision must be 32-true, bf16-mixed or 16-mixed"),
    ],
)
def test_values_of_another_kind_are_refused_with_their_place(content, said):
    with pytest.raises(ConfigError, match=said):
        from_mapping(TrainConfig, content)


def test_a_loaded_run_gives_what_the_saved_network_gave(tmp_path):
    run = write_run(tmp_path / "run")
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    again = load_run(tmp_path / "run")
    with torch.no_grad():
        one, other = run.model(image), again.model(image)
    assert torch.equal(one.cams["cam"], other.cams["cam"])
    assert one.cams["cam"].std() > 0
    assert not again.model.training
    file = tmp_path / "run/weights.safetensors"
    assert again.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert again.facts.classes == ("cup", "plate")
    assert again.path == tmp_path / "run"


def test_weights_are_saved_as_they_are_whatever_their_layout_in_memory(tmp_path):
    model = ColourCam()
    model.mix.weight.data = model.mix.weight.data.repeat(1, 1, 2, 2)[..., :1, :1]
    save_weights(tmp_path, model)
    other = ColourCam(seed=9)
    load_weights(tmp_path, other)
    assert torch.equal(other.mix.weight, model.mix.weight)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_unfinished_run_says_how_to_finish_it(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run/weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"run: the run is not finished .*--resume"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("damage", ["truncated", "emptied", "garbled", "folder"])
def test_damaged_weights_are_refused_with_their_file(tmp_path, damage):
    write_run(tmp_path / "run")
    file = tmp_path / "run/weights.safetensors"
    whole = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        kept = {"truncated": whole[:-100], "emptied": b"", "garbled": b"\xff" * 64}
        file.write_bytes(kept[damage])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors") as caught:
        load_run(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_weights_of_another_number_of_classes_are_refused(tmp_path):
    run = write_run(tmp_path / "run")
    write_config(run.path, run.config, replace(run.facts, classes=("a", "b", "c")))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: not the weights of"):
        load_run(run.path)


@pytest.mark.parametrize(("key", "value"), [("backbone", "nonesuch"), ("backbone", "test_vit")])
def test_a_run_of_another_network_is_refused(tmp_path, key, value):
    run = write_run(tmp_path / "run")
    model = dataclasses.replace(run.config.model, **{key: value})
    write_config(run.path, replace(run.config, model=model), run.facts)
    with pytest.raises((CheckpointError, ConfigError), match=r"nonesuch|not the weights"):
        load_run(run.path)


def test_loading_needs_neither_the_pretrained_weights_nor_their_file(tmp_path):
    run = write_run(tmp_path / "run")
    model = replace(run.config.model, pretrained=True, weights="/no/longer/there.pth")
    write_config(run.path, replace(run.config, model=model), run.facts)
    assert load_run(run.path).weights_sha256 == run.weights_sha256


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_text_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path, monkeypatch, error
):
    write_text(tmp_path / "a.json", json.dumps({"old": 1}))

    def half(self, text, **options):
        self.write_bytes(text.encode()[:3])
        raise error

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(type(error)):
        write_text(tmp_path / "a.json", json.dumps({"new": 2}))
    assert contents(tmp_path) == {"a.json": b'{"old": 1}'}


def test_weights_that_cannot_be_written_leave_nothing_behind(tmp_path, monkeypatch):
    def full(state, file):
        Path(file).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(runs, "save_file", full)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: cannot be .*No space left"):
        save_weights(tmp_path, ColourCam())
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_all_files_of_a_run_have_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_run(tmp_path / "run")
        small_segmenters.write_segmenter(tmp_path / "segmenter")
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("*/*")}
    assert {"config.yaml", "weights.safetensors", "model.safetensors"} <= set(modes)
    assert modes == dict.fromkeys(modes, 0o666 & ~umask)


def test_what_an_interrupted_writer_left_lends_no_permissions(tmp_path):
    (tmp_path / ".weights.safetensors.part").write_text("half")
    (tmp_path / ".weights.safetensors.part").chmod(0o600)
    (tmp_path / "any").write_text("")
    save_weights(tmp_path, ColourCam())
    modes = {file.name: file.stat().st_mode for file in tmp_path.iterdir()}
    assert modes == {"any": modes["any"], "weights.safetensors": modes["any"]}


def test_weights_cannot_be_written_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: cannot be written"):
        save_weights(tmp_path / "file", ColourCam())
