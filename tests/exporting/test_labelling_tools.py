"""Exports for CVAT and Label Studio, read back pixel by pixel as their formats say."""

import io
import json
import zipfile
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from made import CLASSES, IDS, export, without_ignored, write
from make_bop import write_bop
from make_folder import save, save_palette
from PIL import Image

from dealseg.data import open_dataset
from dealseg.exporting import label_studio
from oracles.brush import decoded


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    confidence = {"a": {"confidence": 0.75}}
    return root, write(root, class_ids=IDS, masks=confidence, weights_sha256="ab" * 32)


def read_cvat(file: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Return class masks (as places in labelmap.txt) and object masks by name, and the labels."""
    with zipfile.ZipFile(file) as archive:
        lines = archive.read("labelmap.txt").decode().splitlines()[1:]
        labels = [line.split(":")[0] for line in lines]
        place = {tuple(map(int, line.split(":")[1].split(","))): i for i, line in enumerate(lines)}
        every = archive.read("ImageSets/Segmentation/default.txt").decode().splitlines()
        classes, objects = {}, {}
        for name in every:
            colours = [
                np.asarray(
                    Image.open(io.BytesIO(archive.read(f"{kind}/{name}.png"))).convert("RGB")
                )
                for kind in ("SegmentationClass", "SegmentationObject")
            ]
            classes[name] = np.array(
                [[place[tuple(c)] for c in row] for row in colours[0].tolist()]
            )
            objects[name] = colours[1] @ [65536, 256, 1]
        assert len(archive.namelist()) == 2 + 2 * len(every)
    return classes, objects, labels


def test_cvat_masks_of_bop_data_are_named_by_the_paths_of_their_images(tmp_path):
    data = write_bop(tmp_path / "data")
    dataset = open_dataset(data)
    for index, name in enumerate(dataset.names):
        save_palette(tmp_path / f"masks/{name}.png", dataset.mask(index).numpy())
    words = ["--data", str(data), "--class-names", ",".join(dataset.classes)]
    classes, _, _ = read_cvat(export(tmp_path, "cvat", *words) / "annotations.zip")
    assert all((data / f"{name}.png").is_file() for name in classes)
    found = classes["train/000003/rgb/000008"]
    assert np.array_equal(found, dataset.mask(dataset.names.index("train/000003/000008")))


@pytest.mark.parametrize("ignored", ["background", "label"])
def test_cvat_declares_every_colour_and_tells_objects_apart(made, ignored):
    root, masks = made
    out = export(root, "cvat", "--ignored", ignored, out=f"cvat_{ignored}")
    classes, objects, labels = read_cvat(out / "annotations.zip")
    assert labels == ["background", *CLASSES, *(["ignored"] if ignored == "label" else [])]
    assert set(classes) == set(masks)
    for name, mask in masks.items():
        expected = np.where(mask == 255, 4 if ignored == "label" else 0, mask)
        assert np.array_equal(classes[name], expected)
        assert np.array_equal(objects[name] > 0, expected > 0)
        for each in np.unique(objects[name])[1:]:
            assert len(np.unique(expected[objects[name] == each])) == 1
    told = json.loads((out / "task_labels.json").read_text())
    assert [each["name"] for each in told] == labels[1:]
    assert told[0]["color"] == "#800000"


def test_cvat_has_colours_for_255_objects_and_says_where_there_are_more(tmp_path, capsys):
    write(tmp_path, ("a.png", "b.png"), empty=None)
    for name, number in (("a", 255), ("b", 256)):
        mask = np.zeros((40, 40), np.uint8)
        mask[::2, ::2].flat[:number] = 1
        save_palette(tmp_path / f"masks/masks/{name}.png", mask)
        save(tmp_path / f"data/images/{name}.png", np.repeat(mask[..., None], 3, 2))
    _, objects, _ = read_cvat(export(tmp_path, "cvat") / "annotations.zip")
    assert [len(np.unique(objects[name])) - 1 for name in "ab"] == [255, 1]
    assert "1 images have more than 255 objects: there, one object per class" in (
        capsys.readouterr().out
    )


def test_label_studio_tasks_fit_their_configuration(made):
    root, masks = made
    out = export(root, "label-studio", "--url-prefix", "/data/local-files/?d=my/", out="ls")
    config = ET.parse(out / "config.xml").getroot()
    control, image = config.find("BrushLabels"), config.find("Image")
    assert [each.get("value") for each in control] == list(CLASSES)
    assert image.get("value") == "$image"
    tasks = json.loads((out / "tasks.json").read_text())
    assert {task["data"]["name"] for task in tasks} == set(masks)
    regions = set()
    for task in tasks:
        name, (prediction,) = task["data"]["name"], task["predictions"]
        url = task["data"]["image"].removeprefix("/data/local-files/?d=my/")
        assert " " not in url
        assert (root / "data" / unquote(url)).is_file()
        assert prediction["model_version"] == "dealseg-abababababab"
        assert prediction.get("score") == (0.75 if name == "a" else None)
        shown = np.zeros_like(masks[name])
        for region in prediction["result"]:
            assert region["type"] == "brushlabels"
            assert (region["from_name"], region["to_name"]) == (control.get("name"), "image")
            assert control.get("toName") == image.get("name") == region["to_name"]
            size = (region["original_height"], region["original_width"])
            assert size == shown.shape
            rgba = np.array(decoded(region["value"]["rle"])).reshape(*size, 4)
            assert set(np.unique(rgba)) <= {0, 255}
            assert (rgba == rgba[..., :1]).all()
            (label,) = region["value"]["brushlabels"]
            shown[rgba[..., 0] == 255] = 1 + CLASSES.index(label)
            regions.add(region["id"])
        assert np.array_equal(shown, without_ignored(masks[name]))
    assert len(regions) == sum(len(t["predictions"][0]["result"]) for t in tasks)


def test_label_studio_shows_ignored_pixels_where_asked(made):
    root, masks = made
    out = export(root, "label-studio", "--ignored", "label", out="ls_ignored")
    assert 'value="ignored"' in (out / "config.xml").read_text()
    for task in json.loads((out / "tasks.json").read_text()):
        mask = masks[task["data"]["name"]]
        shown = [r for r in task["predictions"][0]["result"] if "ignored" in str(r["value"])]
        pixels = sum(sum(decoded(r["value"]["rle"])) for r in shown) / 4 / 255
        assert pixels == (mask == 255).sum()


def test_label_studio_tasks_go_on_in_a_new_file_where_one_is_full(made, monkeypatch):
    root, masks = made
    monkeypatch.setattr(label_studio, "LARGEST", 1)
    out = export(root, "label-studio", out="ls_many")
    names = [f"tasks{'' if i == 1 else f'-{i}'}.json" for i in range(1, len(masks) + 1)]
    tasks = [json.loads((out / name).read_text()) for name in names]
    assert {task["data"]["name"] for (task,) in tasks} == set(masks)
