"""Check, train, label and evaluate on VOC and COCO, each from one command to the next."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dealseg.cli import main
from dealseg.data.miniature.coco import category_ids, write_coco_miniature
from dealseg.data.miniature.voc import write_voc_miniature

TINY = ["--data.long-side=48", "--optim.epochs=1", "--optim.batch-size=4"]
TINY += ["--model.backbone=test_efficientnet", "--model.pretrained=false"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return both sets and a run on each: VOC with estimated depth, COCO without our losses."""
    place = tmp_path_factory.mktemp("sets")
    write_voc_miniature(place / "voc", images=4, val_images=2, size=48)
    write_coco_miniature(place / "coco", images=4, val_images=2, size=48)
    voc, coco = str(place / "voc"), str(place / "coco")
    deal = [*TINY, "--data.depth-folder=depth_estimate", "--data.tags-from=xml"]
    assert main(["train", voc, "--out", str(place / "run_voc"), *deal]) == 0
    assert main(["train", coco, "--out", str(place / "run_coco"), *TINY, "--losses=none"]) == 0
    return SimpleNamespace(place=place, voc=voc, coco=coco)


def test_check_says_list_and_origin_of_the_tags(made, capsys):
    assert main(["check", made.voc, "--split", "train_aug", "--tags-from", "masks"]) == 0
    said = capsys.readouterr().out
    assert "list train_aug.txt: 4 images" in said
    assert "tags from the masks" in said
    assert main(["check", made.coco, "--split", "train", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facts"] == [
        "train2014: images 3 with an annotation (4 in all: --split train2014_full)"
    ]
    assert told["class_ids"]["80"] == 90


@pytest.mark.parametrize(("name", "split"), [("voc", "train_aug"), ("coco", "train")])
def test_training_takes_the_fields_training_list(made, name, split):
    config = (made.place / f"run_{name}/config.yaml").read_text()
    assert f"split: {split}\n" in config


@pytest.mark.parametrize(("name", "images"), [("voc", 2), ("coco", 1)])
def test_masks_of_a_run_are_indexed_and_evaluated_with_their_ids(made, name, images, capsys):
    run, data, out = made.place / f"run_{name}", getattr(made, name), made.place / f"masks_{name}"
    assert main(["label", str(run), data, "--out", str(out), "--split", "val"]) == 0
    files = sorted((out / "masks").glob("*.png"))
    assert len(files) == images
    with Image.open(files[0]) as mask:
        assert mask.mode == "P"
        assert np.asarray(mask).max() <= (20 if name == "voc" else 80)
    assert main(["evaluate", str(out), data, "--split", "val"]) == 0
    said = capsys.readouterr().out
    told = json.loads((out / "evaluation.json").read_text())
    labels = json.loads((out / "labels.json").read_text())
    assert (told["images"], told["split"]) == (images, "val")
    if name == "voc":
        assert told["class_ids"] is None
        assert "class_ids" not in labels
    else:
        by_name = {told["class_map"][value]: own for value, own in told["class_ids"].items()}
        assert by_name == category_ids()
        assert labels["class_ids"] == told["class_ids"]
        assert "mask values are not the data set's ids: 12 is 13" in said


def test_masks_in_cocos_own_ids_are_refused(made, tmp_path, capsys):
    name = "COCO_val2014_000000000010"
    with Image.open(made.place / f"coco/val2014/{name}.jpg") as photo:
        Image.new("L", photo.size, 90).save(tmp_path / f"{name}.png")
    assert main(["evaluate", str(tmp_path), made.coco, "--split", "val"]) == 2
    assert "mask value 90 is out of range: expected 0 to 80" in capsys.readouterr().err


def test_a_run_is_used_with_the_origin_of_tags_it_was_trained_with(made, tmp_path, capsys):
    data = shutil.copytree(made.voc, tmp_path / "voc")
    (data / "VOCdevkit/VOC2012/cls_labels.npy").write_bytes(b"no table")  # auto would read it first
    words = ["label", str(made.place / "run_voc"), str(data), "--split", "val"]
    assert main([*words, "--out", str(tmp_path / "masks")]) == 0
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "m"), "--tags-from", "cls_labels"]) == 2
    assert "cls_labels.npy" in capsys.readouterr().err


def with_format(run, place, name):
    """Return a copy of a run that was trained with `--data.format NAME`."""
    copied = shutil.copytree(run, place / "run")
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(text.replace("format: auto", f"format: {name}"))
    return str(copied)


def test_a_run_is_used_with_the_format_it_was_trained_with(made, tmp_path):
    data, run = tmp_path / "own", with_format(made.place / "run_coco", tmp_path, "coco")
    (data / "annotations").mkdir(parents=True)
    listed = Path(made.coco, "annotations/instances_val2014.json")
    shutil.copy(listed, data / "annotations/instances_my.json")
    shutil.copytree(Path(made.coco, "val2014"), data / "images")  # `auto` takes it for a folder
    assert main(["evaluate", run, str(data), "--split", "my"]) == 0


def test_masks_are_used_with_the_format_they_were_made_for(made, tmp_path, capsys):
    data, run = tmp_path / "own", with_format(made.place / "run_coco", tmp_path, "coco")
    (data / "annotations").mkdir(parents=True)
    listed = Path(made.coco, "annotations/instances_val2014.json")
    shutil.copy(listed, data / "annotations/instances_my.json")
    shutil.copytree(Path(made.coco, "val2014"), data / "images")  # `auto` takes it for a folder
    masks = str(tmp_path / "masks")
    assert main(["label", run, str(data), "--split", "my", "--out", masks]) == 0
    assert main(["evaluate", masks, str(data), "--split", "my"]) == 0
    assert main(["export", masks, "--format", "coco", "--out", str(tmp_path / "coco")]) == 0
    second = ["train-segmenter", str(data), "--labels", masks, "--out", str(tmp_path / "second")]
    tiny = ["--model.backbone=test_efficientnet", "--model.pretrained=false", "--optim.epochs=1"]
    assert main([*second, *tiny, "--data.long-side=64", "--device=cpu"]) == 0
    told = json.loads(Path(masks, "labels.json").read_text())
    assert told["data_format"] == "coco"
    copied = shutil.copytree(data, tmp_path / "copy")  # nothing is known of another place
    capsys.readouterr()
    assert main(["evaluate", masks, str(copied), "--split", "my"]) == 2
    assert "there is no split 'my'" in capsys.readouterr().err
    del told["data_format"]  # as older ones are
    Path(masks, "labels.json").write_text(json.dumps(told))
    assert main(["evaluate", masks, str(data), "--split", "my"]) == 2
    assert main(["evaluate", masks, str(data), "--split", "my", "--format", "coco"]) == 0


def test_of_other_data_the_run_s_format_is_named_in_the_error(made, tmp_path, capsys):
    run = with_format(made.place / "run_voc", tmp_path, "voc")
    photos = shutil.copytree(
        Path(made.voc, "VOCdevkit/VOC2012/JPEGImages"), tmp_path / "data/images"
    ).parent
    words = ["label", run, str(photos), "--out", str(tmp_path / "masks")]
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "there is no VOC here" in said
    assert "--format auto" in said
    assert not (tmp_path / "masks").exists()
    assert main([*words, "--format", "auto"]) == 0  # nor are the tags asked of the XML files


def test_the_report_shows_the_depth_that_the_run_was_trained_with(made, tmp_path):
    words = ["report", str(made.place / "run_voc"), "--split", "val", "--examples", "1"]
    metres = re.compile(r"\d\.\d\d\N{EN DASH}\d\.\d\d m\b")  # the estimate has no unit
    page = tmp_path / "page.html"
    assert main([*words, "--out", str(page)]) == 0
    assert metres.search(page.read_text()) is None
    assert main([*words, "--out", str(page), "--depth-folder", "depth"]) == 0
    assert metres.search(page.read_text())
