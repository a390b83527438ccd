"""Each export read back pixel by pixel: by pycocotools, Pillow, or a slow reader of the format."""

import contextlib
import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from made import CLASSES, IDS, blobs, contents, export, renamed, stem, without_ignored, write
from make_bop import write_bop
from make_coco import write_coco
from make_folder import save_palette
from PIL import Image
from pycocotools.coco import COCO

from dealseg.cli import main
from dealseg.data import open_dataset
from dealseg.data.palette import colour_of
from oracles.polygons import filled


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    confidence = {"a": {"confidence": 0.75}}
    return root, write(root, class_ids=IDS, masks=confidence, weights_sha256="ab" * 32)


def picture(file) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def opened(file: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(file))


def painted(coco: COCO, image: dict, values: dict[int, int]) -> np.ndarray:
    mask = np.zeros((image["height"], image["width"]), np.uint8)
    for each in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
        with warnings.catch_warnings():  # pycocotools converts its arrays as before NumPy 2
            warnings.simplefilter("ignore", DeprecationWarning)
            pixels = coco.annToMask(each).astype(bool)
        assert not mask[pixels].any()
        assert each["area"] == pixels.sum()
        mask[pixels] = values[each["category_id"]]
    return mask


@pytest.mark.parametrize("how", ["components", "class"])
def test_coco_objects_give_the_masks_back_with_the_data_sets_own_ids(made, how):
    root, masks = made
    out = export(root, "coco", "--instances", how, out=f"coco_{how}")
    coco = opened(out / "instances.json")
    told = json.loads((out / "categories.json").read_text())
    values = {each["category_id"]: each["mask_value"] for each in told["categories"]}
    assert values == {44: 1, 7: 2, 90: 3}
    assert told["ids_from"] == "the data set"
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {
        44: "cup", 7: "tea pot", 90: "Löffel",
    }  # fmt: skip
    images = coco.loadImgs(coco.getImgIds())
    assert {stem(image["file_name"].removeprefix("images/")) for image in images} == set(masks)
    for image in images:
        assert (root / "data" / image["file_name"]).is_file()
        mask = masks[stem(image["file_name"].removeprefix("images/"))]
        assert np.array_equal(painted(coco, image, values), without_ignored(mask))
    for each in coco.dataset["annotations"]:
        assert (each["iscrowd"], type(each["segmentation"]["counts"])) == (0, str)
    if how == "class":
        pairs = [(each["image_id"], each["category_id"]) for each in coco.dataset["annotations"]]
        assert len(set(pairs)) == len(pairs)


def test_small_objects_can_be_left_out(made):
    root, _ = made
    every = opened(export(root, "coco", out="all") / "instances.json").dataset["annotations"]
    some = export(root, "coco", "--min-area", "20", out="some") / "instances.json"
    areas = [each["area"] for each in opened(some).dataset["annotations"]]
    assert sorted(areas) == sorted(each["area"] for each in every if each["area"] >= 20)
    assert 0 < len(areas) < len(every)


def test_category_ids_may_be_given(made, tmp_path, capsys):
    root, _ = made
    given = tmp_path / "ids.json"
    given.write_text(json.dumps({"cup": 3, "tea pot": 1, "Löffel": 2}))
    out = export(root, "coco", "--category-ids", str(given), out="given")
    assert [c["id"] for c in opened(out / "instances.json").dataset["categories"]] == [1, 2, 3]
    for wrong in ({"cup": 1}, {"cup": 1, "tea pot": 1, "Löffel": 2}):
        given.write_text(json.dumps(wrong))
        words = ["export", str(root / "masks"), "--format", "coco", "--out", str(root / "wrong")]
        assert main([*words, "--category-ids", str(given)]) == 2
        assert "ids.json" in capsys.readouterr().err
    assert not (root / "wrong").exists()


def test_coco_data_keep_image_and_category_ids(tmp_path):
    data = write_coco(tmp_path / "data")
    dataset = open_dataset(data, split="val")
    for index, name in enumerate(dataset.names):
        save_palette(tmp_path / f"masks/{name}.png", dataset.mask(index).numpy())
    words = ["--split", "val", "--class-names", ",".join(dataset.classes)]
    out = export(tmp_path, "coco", "--data", str(data), *words)
    exported = opened(out / "instances.json")
    own = opened(next((data / "annotations").glob("instances_val*.json")))
    for image in exported.dataset["images"]:
        assert own.imgs[image["id"]]["file_name"] == Path(image["file_name"]).name
        pixels = {c: exported.getAnnIds(imgIds=image["id"], catIds=c) for c in own.cats}
        shown = {a["category_id"] for a in own.imgToAnns[image["id"]] if not a["iscrowd"]}
        assert {c for c, found in pixels.items() if found} <= shown
    assert [c["id"] for c in exported.dataset["categories"]] == sorted(own.cats)


def test_voc_masks_images_list_and_colours(made):
    root, masks = made
    out = export(root, "voc", out="voc")
    names = renamed(out)
    assert len(set(names.values())) == len(masks)
    assert (out / "ImageSets/Segmentation/default.txt").read_text().split() == [*names.values()]
    lines = (out / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == [
        "background:0,0,0::", "cup:128,0,0::", "tea pot:0,128,0::", "Löffel:128,128,0::",
        "ignored:224,224,192::",
    ]  # fmt: skip
    for name, flat in names.items():
        with Image.open(out / f"SegmentationClass/{flat}.png") as image:
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), masks[name])
            colours = np.array([colour_of(value) for value in range(256)], np.uint8)
            assert np.array_equal(np.asarray(image.convert("RGB")), colours[masks[name]])
        placed = next((out / "JPEGImages").glob(f"{glob_safe(flat)}.*"))
        original = next((root / "data/images").glob(f"{glob_safe(name)}.*"))
        assert placed.read_bytes() == original.read_bytes()
    assert masks[next(iter(masks))].max() == 255


def glob_safe(name: str) -> str:
    return "".join(f"[{c}]" if c in "[]*?" else c for c in name)


def test_our_own_reader_opens_the_voc_export(made):
    root, masks = made
    out = export(root, "voc", "--images", "jpg", out="voc_again")
    names = renamed(out)
    assert {file.suffix for file in (out / "JPEGImages").iterdir()} == {".jpg"}
    found = open_dataset(out, format="voc", split="default", tags_from="masks")
    assert found.names == tuple(names.values())
    for index, name in enumerate(names):
        assert np.array_equal(found.mask(index).numpy(), masks[name])


def test_bop_data_keep_scenes_and_image_ids_and_lie_over_the_data(tmp_path):
    data = write_bop(tmp_path / "data")
    dataset = open_dataset(data)
    assert dataset.class_ids == (2, 5, 9)
    made = {}
    for seed, name in enumerate(dataset.names):
        made[name] = without_ignored(blobs(seed, (24, 32)))
        save_palette(tmp_path / f"masks/{name}.png", made[name])
    words = ["--data", str(data), "--class-names", ",".join(dataset.classes)]
    out = export(tmp_path, "bop", *words)
    assert renamed(out) == {name: name for name in dataset.names}
    truth = json.loads((out / "train/000003/scene_gt.json").read_text())
    assert list(truth) == ["0", "8", "15"]
    info = json.loads((out / "train/000003/scene_gt_info.json").read_text())
    coco = opened(out / "train/000003/scene_gt_coco.json")
    assert coco.imgs[8]["file_name"] == "rgb/000008.png"
    for key, entries in truth.items():
        for number, (entry, more) in enumerate(zip(entries, info[key], strict=True)):
            file = f"train/000003/mask_visib/{int(key):06d}_{number:06d}.png"
            pixels = picture(out / file)
            assert set(np.unique(pixels)) == {0, 255}
            value = dataset.class_ids.index(entry["obj_id"]) + 1
            assert np.array_equal(pixels > 0, made[f"train/000003/{int(key):06d}"] == value)
            assert more["px_count_visib"] == (pixels > 0).sum()
        shown = painted(coco, coco.imgs[int(key)], {2: 1, 5: 2, 9: 3})
        assert np.array_equal(shown, made[f"train/000003/{int(key):06d}"])
    for scene in ("train/000003", "train/000004", "val/000001"):
        shutil.rmtree(data / scene / "mask_visib")
        shutil.copytree(out / scene, data / scene, dirs_exist_ok=True)
    again = open_dataset(data)
    for index, name in enumerate(again.names):
        mask, own = again.mask(index).numpy(), again.class_ids
        values = {value: dataset.class_ids.index(i) + 1 for value, i in enumerate(own, start=1)}
        assert np.array_equal(np.vectorize({0: 0, **values}.get)(mask), made[name])


def test_other_data_become_one_bop_scene_with_a_table_of_names(made):
    root, masks = made
    out = export(root, "bop", out="bop")
    names = renamed(out)
    assert sorted(names.values()) == [f"000001/{i:06d}" for i in range(len(masks))]
    truth = json.loads((out / "000001/scene_gt.json").read_text())
    for name, place in names.items():
        key = place.removeprefix("000001/")
        mask = np.zeros_like(masks[name])
        for number, entry in enumerate(truth[str(int(key))]):
            pixels = picture(out / f"000001/mask_visib/{key}_{number:06d}.png") > 0
            mask[pixels] = [44, 7, 90].index(entry["obj_id"]) + 1
        assert np.array_equal(mask, without_ignored(masks[name]))


def test_yolo_polygons_give_the_masks_back_to_the_pixel_holes_included(made):
    root, masks = made
    out = export(root, "yolo", out="yolo")
    told = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))
    assert told == {
        "train": "images/train", "val": "images/train", "names": dict(enumerate(CLASSES)),
    }  # fmt: skip
    for name, flat in renamed(out).items():
        assert len([*(out / "images/train").glob(f"{glob_safe(flat)}.*")]) == 1
        mask = np.zeros_like(masks[name])
        height, width = mask.shape
        for line in (out / f"labels/train/{flat}.txt").read_text().splitlines():
            number, *shares = line.split()
            assert len(shares) >= 6
            assert len(shares) % 2 == 0
            assert all(0 < float(share) < 1 for share in shares)
            points = np.array(shares, float).reshape(-1, 2) * (width, height)
            points = points.astype(int)
            left, top = points.min(axis=0)
            right, bottom = points.max(axis=0) + 1
            shape = filled((points - (left, top)).tolist(), (bottom - top, right - left))
            mask[top:bottom, left:right][shape] = int(number) + 1
        assert np.array_equal(mask, without_ignored(masks[name]))
        assert mask.any() or (out / f"labels/train/{flat}.txt").read_bytes() == b""


def test_hugging_face_rows_name_image_and_mask(made):
    root, masks = made
    out = export(root, "hf", out="hf")
    card = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "train/**"}]
    assert "| 2 | tea pot |" in card
    labels = json.loads((out / "id2label.json").read_text())
    assert labels == {"0": "background", "1": "cup", "2": "tea pot", "3": "Löffel"}
    lines = (out / "train/metadata.jsonl").read_text().splitlines()
    rows = {row["name"]: row for row in map(json.loads, lines)}
    assert set(rows) == set(masks)
    for name, row in rows.items():
        assert np.array_equal(picture(out / "train" / row["mask_file_name"]), masks[name])
        image = picture(out / "train" / row["file_name"])
        assert image.shape[:2] == masks[name].shape
        present = set(np.unique(masks[name])) - {0, 255}
        assert row["classes"] == [CLASSES[value - 1] for value in sorted(present)]
        assert row["confidence"] == (0.75 if name == "a" else None)


@pytest.mark.parametrize(
    "name", ["coco", "voc", "cvat", "label-studio", "bop", "yolo", "hf"]
)  # fmt: skip
def test_the_same_masks_give_the_same_bytes(made, name):
    root, _ = made
    first = contents(export(root, name, out=f"first_{name}"))
    second = contents(export(root, name, out=f"second_{name}"))
    assert first == second
    assert json.loads(first["export.json"])["format"] == name
    assert str(root).encode() not in b"".join(first.values())  # nothing of this machine
