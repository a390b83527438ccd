import functools
import hashlib
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dealseg.data import check_dataset, open_dataset
from dealseg.data.coco_masks import outline
from dealseg.data.miniature import coco, pictures, voc
from dealseg.data.miniature.coco import category_ids, polygons, runs, write_coco_miniature
from dealseg.data.miniature.voc import write_voc_miniature
from dealseg.data.synthetic import CLASSES
from dealseg.data.voc_tags import read_cls_labels
from dealseg.errors import ConfigError, DataError

SMALL = {"images": 5, "val_images": 2, "size": 40}
WRITERS = {"voc": write_voc_miniature, "coco": write_coco_miniature}


def sums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module", autouse=True)
def _render_once():
    """Both miniatures show the same scenes: render each once and for all tests."""
    film = functools.cache(lambda *scene: list(pictures.film(*scene[:2], 5, scene[2])))
    blank = functools.cache(pictures.empty)
    with pytest.MonkeyPatch.context() as patch:
        for room in (voc, coco):
            patch.setattr(room, "film", lambda s, split, n, size: iter(film(s, split, size)[:n]))
        patch.setattr(coco, "empty", blank)
        yield


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    place = tmp_path_factory.mktemp("miniatures")
    for name, write in WRITERS.items():
        write(place / name, **SMALL)
    return place


@pytest.mark.parametrize(
    ("name", "split", "images"),
    [("voc", "train", 3), ("voc", "train_aug", 5), ("voc", "val", 2), ("voc", "trainval", 5),
     ("coco", "train", 4), ("coco", "train_full", 5), ("coco", "val", 1), ("coco", "val_full", 2)],
)  # fmt: skip
@pytest.mark.parametrize("depth", ["depth", "depth_estimate"])
def test_every_split_passes_the_check_with_both_depths(roots, name, split, images, depth):
    report = check_dataset(roots / name, split=split, depth_folder=depth)
    assert report.ok, report.table()
    assert (report.format, report.images) == (name, images)
    assert report.with_depth == report.with_mask == images
    assert report.unit == ("mm" if depth == "depth" else "1")
    assert report.valid_share > (0.8 if depth == "depth" else 0.999)


@pytest.mark.parametrize("name", WRITERS)
def test_tags_are_the_classes_that_masks_show_or_ignore(roots, name):
    dataset = open_dataset(roots / name)
    for index in range(len(dataset)):
        mask, tags = dataset.mask(index), dataset.tags(index)
        assert mask.shape == dataset.image(index).shape[1:]
        seen = {value - 1 for value in mask.unique().tolist() if value not in {0, 255}}
        tagged = set(tags.nonzero().flatten().tolist())
        assert seen <= tagged
        assert seen == tagged or (mask == 255).any()


def test_voc_has_the_files_and_formats_of_the_real_set(roots):
    home = roots / "voc/VOCdevkit/VOC2012"
    aug = (home / "ImageSets/Segmentation/train_aug.txt").read_text()
    assert not aug.endswith("\n")
    names = aug.split("\n")
    assert len(read_cls_labels(home / "cls_labels.npy")) == 7
    with Image.open(home / f"SegmentationClass/{names[0]}.png") as mask:
        assert mask.mode == "P"
        colours = np.array(mask.getpalette("RGB")).reshape(-1, 3)
    assert colours[[0, 1, 15, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192],
    ]  # fmt: skip
    assert {p.stem for p in (home / "SegmentationClassAug").iterdir()} > set(names)
    assert not (home / f"SegmentationClass/{names[1]}.png").exists()
    with Image.open(home / f"JPEGImages/{names[0]}.jpg") as photo:
        assert (photo.format, photo.size) == ("JPEG", (40, 30))
    with Image.open(home / f"JPEGImages/{names[3]}.jpg") as photo:
        assert photo.size == (30, 40)
    tags = [open_dataset(home, tags_from=origin) for origin in ("cls_labels", "xml", "masks")]
    for index in range(7):
        rows = [dataset.tags(index).tolist() for dataset in tags]
        assert rows[0] == rows[1]
        assert all(np.array(rows[2]) <= rows[0])  # a rim may hide a small thing


def test_official_masks_have_a_rim_of_ignored_pixels_and_sbds_have_none(roots):
    home = roots / "voc/VOCdevkit/VOC2012"
    for file in (home / "SegmentationClass").iterdir():
        official = np.array(Image.open(file))
        other = np.array(Image.open(home / "SegmentationClassAug" / file.name))
        assert 255 not in other
        assert (official == other)[official != 255].all()
        things = ndimage.binary_dilation(other > 0)
        assert things[official == 255].all()
        assert 0.3 < (official == 255).sum() / (other > 0).sum() < 3


def test_coco_has_the_categories_polygons_crowds_and_unlabelled_images_of_the_real_set(roots):
    told = json.loads((roots / "coco/annotations/instances_train2014.json").read_text())
    ids = [entry["id"] for entry in told["categories"]]
    assert (len(ids), ids[-1]) == (80, 90)
    assert sorted(set(range(1, 91)) - set(ids)) == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    names = category_ids()
    assert (names["person"], names["stop sign"], names["toothbrush"]) == (1, 13, 90)
    kinds = {type(entry["segmentation"]) for entry in told["annotations"]}
    assert kinds == {list, dict}
    assert all(e["iscrowd"] == isinstance(e["segmentation"], dict) for e in told["annotations"])
    shown = {entry["image_id"] for entry in told["annotations"]}
    assert len({entry["id"] for entry in told["images"]} - shown) == 1
    assert all((roots / "coco/train2014" / e["file_name"]).exists() for e in told["images"])


def test_the_same_arguments_give_the_same_bytes_and_an_interrupted_call_goes_on(
    roots, tmp_path, monkeypatch
):
    calls = iter(range(99))

    def interrupted(root, name, shot):
        pictures.write_depths(root, name, shot)
        if next(calls) % 3 == 2:
            raise KeyboardInterrupt

    for name, write in WRITERS.items():
        with monkeypatch.context() as patch:
            patch.setattr({"voc": voc, "coco": coco}[name], "write_depths", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write(tmp_path / name, **SMALL)
        assert sums(tmp_path / name) != sums(roots / name)
        write(tmp_path / name, **SMALL)
        assert sums(tmp_path / name) == sums(roots / name)


def test_pictures_are_a_function_of_seed_and_place():
    first, again, other = (list(pictures.film(s, 1, 1, 32)) for s in (0, 0, 1))
    assert (first[0].rgb == again[0].rgb).all()
    assert (first[0].rgb != other[0].rgb).any()
    assert first[0].rgb.shape == (24, 32, 3)


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_there_is_kept_and_something_else_is_never_overwritten(
    roots, tmp_path, monkeypatch, name
):
    monkeypatch.setattr({"voc": voc, "coco": coco}[name], "write_photo", None)
    WRITERS[name](roots / name, **SMALL)  # nothing is left to write
    with pytest.raises(DataError, match="choose another folder"):
        WRITERS[name](roots / name, **{**SMALL, "seed": 1})
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(DataError, match="not empty and not made by this command"):
        WRITERS[name](tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(ConfigError, match="val_images must be at least 1, got 0"):
        WRITERS[name](tmp_path / "new", **{**SMALL, "val_images": 0})


def test_every_class_of_the_renderer_has_a_name_of_its_own():
    for names in (voc.NAMES, coco.NAMES):
        assert len(set(names)) == len(CLASSES)
    assert set(coco.NAMES) <= category_ids().keys()


@pytest.mark.parametrize("seed", range(6))
def test_polygons_and_runs_drawn_again_give_the_region_with_its_holes_filled(seed):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((30, 40)), 1.5)
    pixels = noise > np.quantile(noise, 0.6)
    assert outline(runs(pixels), pixels.shape).tolist() == pixels.tolist()
    filled = ndimage.binary_fill_holes(pixels, np.ones((3, 3)))
    drawn = outline(polygons(pixels), pixels.shape)
    assert (drawn != filled).mean() < 0.002
