"""The exports as other programs read them; runs where these are installed (extra `oracles`)."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from made import CLASSES, IDS, export, renamed, without_ignored, write

REASON = "the extra `oracles` is not installed"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the foreign programs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("foreign")
    return root, write(root, class_ids=IDS)


def imported(path, kind, sizes):
    """Return the mask of each item as Datumaro imports it, 255 where it reads `ignored`."""
    datumaro = pytest.importorskip("datumaro", reason=REASON)
    dataset = datumaro.Dataset.import_from(str(path), kind)
    labels = dataset.categories()[datumaro.AnnotationType.label]
    value = {"background": 0, "ignored": 255, **{name: k for k, name in enumerate(CLASSES, 1)}}
    masks = {}
    for item in dataset:
        masks[item.id] = np.zeros(sizes[item.id], np.uint8)
        for each in item.annotations:
            if each.type == datumaro.AnnotationType.bbox:  # COCO's objects have both
                continue
            assert each.type == datumaro.AnnotationType.mask
            masks[item.id][np.asarray(each.image, bool)] = value[labels[each.label].name]
    return masks


def test_datumaro_reads_coco(made):
    root, masks = made
    out = export(root, "coco", out="coco")
    (root / "layout/annotations").mkdir(parents=True)  # where Datumaro wants the file
    shutil.copy(out / "instances.json", root / "layout/annotations/instances_default.json")
    shutil.copytree(root / "data/images", root / "layout/images/default/images")
    sizes = {f"images/{name}": mask.shape for name, mask in masks.items()}
    found = imported(root / "layout", "coco_instances", sizes)
    assert set(found) == set(sizes)
    for name, mask in masks.items():
        assert np.array_equal(found[f"images/{name}"], without_ignored(mask))


def test_datumaro_reads_voc_with_ignored_pixels(made):
    root, masks = made
    out = export(root, "voc", out="voc")
    names = renamed(out)
    sizes = {flat: masks[name].shape for name, flat in names.items()}
    found = imported(out, "voc_segmentation", sizes)
    assert all(np.array_equal(found[names[name]], mask) for name, mask in masks.items())


@pytest.mark.parametrize("ignored", ["background", "label"])
def test_datumaro_which_is_cvats_reader_reads_the_archive(made, ignored):
    root, masks = made
    out = export(root, "cvat", "--ignored", ignored, out=f"cvat_{ignored}")
    with zipfile.ZipFile(out / "annotations.zip") as archive:
        archive.extractall(root / f"unpacked_{ignored}")
    sizes = {name: mask.shape for name, mask in masks.items()}
    found = imported(root / f"unpacked_{ignored}", "voc_segmentation", sizes)
    for name, mask in masks.items():
        assert np.array_equal(found[name], mask if ignored == "label" else without_ignored(mask))


def test_label_studios_own_decoder_reads_the_brushes(made):
    brush = pytest.importorskip("label_studio_converter.brush", reason=REASON)
    root, masks = made
    tasks = json.loads((export(root, "label-studio", out="ls") / "tasks.json").read_text())
    for task in tasks:
        mask = masks[task["data"]["name"]]
        shown = np.zeros_like(mask)
        for region in task["predictions"][0]["result"]:
            size = (region["original_height"], region["original_width"])
            rgba = brush.decode_rle(region["value"]["rle"]).reshape(*size, 4)
            assert np.array_equal(rgba, np.repeat(rgba[..., 3:], 4, axis=2))
            shown[rgba[..., 3] == 255] = 1 + CLASSES.index(region["value"]["brushlabels"][0])
        assert np.array_equal(shown, without_ignored(mask))


def test_hugging_face_datasets_load_images_and_masks_side_by_side(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason=REASON)
    root, masks = made
    out = export(root, "hf", out="hf")
    rows = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path))
    assert set(rows.column_names) >= {"image", "mask", "classes", "name"}
    assert {row["name"] for row in rows} == set(masks)
    for row in rows:
        assert np.array_equal(np.asarray(row["mask"]), masks[row["name"]])
        assert np.asarray(row["image"]).shape == (*masks[row["name"]].shape, 3)
