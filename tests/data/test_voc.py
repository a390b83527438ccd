import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_folder import SIZE, save, scene
from make_voc import (
    AUG,
    OBJECTS,
    TRAIN,
    VAL,
    quarters,
    rows,
    save_table,
    write_list,
    write_voc,
    xml,
)
from test_fuzz import damaged, fuzz, survives, try_damaged_text

from dealseg.data import RgbdDataset, check_dataset, open_dataset, training_split, voc
from dealseg.data.voc_tags import CLASSES, read_cls_labels, read_objects
from dealseg.errors import ConfigError, DataError

SHARED = Path(os.environ.get("DEALSEG_SHARED", Path(__file__).parents[2].parent / "shared"))
ANIMALS = SHARED / "data/voc_animals"


@pytest.fixture
def home(tmp_path):
    return write_voc(tmp_path)


def shown(dataset) -> dict:
    found = [dataset.tags(index) for index in range(len(dataset))]
    return {
        name: None if row is None else tuple(c for c, y in zip(CLASSES, row, strict=True) if y)
        for name, row in zip(dataset.names, found, strict=True)
    }


@pytest.mark.parametrize("below", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_may_be_vocdevkit_the_year_or_what_holds_them(home, tmp_path, below):
    dataset = open_dataset(tmp_path / below)
    assert isinstance(dataset, RgbdDataset)
    assert dataset.root == home
    assert dataset.names == tuple(sorted(OBJECTS))
    assert len(dataset.classes) == 20
    assert dataset.classes[14] == "person"


@pytest.mark.parametrize("below", ["JPEGImages", "ImageSets/Segmentation"])
def test_a_folder_inside_a_data_set_is_refused_with_the_one_to_give(home, below):
    with pytest.raises(DataError, match=f"{below}: expected .*; did you mean {home.resolve()}\\?"):
        open_dataset(home / below)


def test_the_newest_year_is_taken_only_where_2012_is_not(home):
    shutil.copytree(home, home.with_name("VOC2007"))
    assert open_dataset(home.parent).root == home
    home.rename(home.with_name("VOC2010"))
    assert open_dataset(home.parent).root.name == "VOC2010"


@pytest.mark.parametrize(
    ("split", "names"),
    [("train", TRAIN), ("train_aug", TRAIN + AUG), ("val", VAL), ("trainval", TRAIN + VAL)],
)
def test_a_list_gives_its_images_in_its_order_also_without_a_last_line_break(home, split, names):
    assert open_dataset(home, split=split).names == names
    write_list(home, split, [*reversed(names), "", ""])
    assert open_dataset(home, split=split).names == names[::-1]


@pytest.mark.parametrize("spelling", ["trainaug", "train_aug_id"])
def test_other_spellings_of_train_aug_are_found(home, spelling):
    file = home / "ImageSets/Segmentation/train_aug.txt"
    file.rename(file.with_name(f"{spelling}.txt"))
    assert open_dataset(home, split="train_aug").names == TRAIN + AUG
    assert training_split(home) == "train_aug"


def test_without_its_list_train_aug_is_sbd_without_the_validation_images(home):
    (home / "ImageSets/Segmentation/train_aug.txt").unlink()
    dataset = open_dataset(home, split="train_aug")
    assert set(dataset.names) == {*TRAIN, *AUG}
    assert "without val.txt" in dataset.facts[0]
    assert training_split(home) == "train_aug"
    (home / "ImageSets/Segmentation/val.txt").unlink()  # then nothing says what to hold out
    with pytest.raises(DataError, match="there is no list 'train_aug'; there are: train, trainval"):
        open_dataset(home, split="train_aug")
    assert training_split(home) == "train"


def test_lists_of_pairs_name_image_and_mask(home, tmp_path):
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in TRAIN]
    file = tmp_path / "pairs.txt"
    file.write_text("\r\n".join(lines))
    dataset = open_dataset(home, split=str(file))
    assert dataset.names == TRAIN
    assert 255 not in dataset.mask(0).unique()  # the list asks for SBD's, which has no rim
    assert 255 in open_dataset(home, split="train").mask(0).unique()


def test_images_depth_and_masks_come_back_as_they_were_written(home):
    dataset = open_dataset(home, split="train")
    depth, valid = dataset.depth(0)
    metres = scene(0)[1]
    assert torch.equal(valid[0], torch.from_numpy(metres > 0))
    assert torch.allclose(depth[0].double(), torch.from_numpy(metres), atol=6e-4)
    assert dataset.mask(0).tolist() == quarters(OBJECTS[TRAIN[0]]).tolist()
    assert dataset.image(0).shape == (3, *SIZE)


def test_the_official_mask_comes_before_sbds_and_an_image_may_have_none(home):
    dataset = open_dataset(home)
    by_name = {name: dataset.mask(index) for index, name in enumerate(dataset.names)}
    assert {name: bool((mask == 255).any()) for name, mask in by_name.items()} == {
        name: name not in AUG for name in OBJECTS
    }
    shutil.rmtree(home / "SegmentationClassAug")
    dataset = open_dataset(home, split="train_aug")
    assert [dataset.mask(index) is None for index in range(3)] == [False, False, True]


@pytest.mark.parametrize("origin", ["cls_labels", "xml", "masks"])
def test_tags_are_the_same_from_each_source(home, origin):
    assert shown(open_dataset(home, tags_from=origin)) == {k: OBJECTS[k] for k in sorted(OBJECTS)}


def test_auto_takes_the_fields_table_then_xml_then_masks(home):
    other = dict.fromkeys(OBJECTS, ("sheep",))
    save_table(home / "cls_labels.npy", rows(other))
    for name in OBJECTS:
        (home / f"Annotations/{name}.xml").write_text(xml(("cow",)))
    for expected in (("sheep",), ("cow",), OBJECTS["2007_000033"]):
        dataset = open_dataset(home, split="val")
        assert shown(dataset) == {"2007_000033": expected}
        shutil.rmtree(home / "Annotations") if expected == ("cow",) else None
        (home / "cls_labels.npy").unlink(missing_ok=True)
    assert dataset.facts[-1] == "tags from the masks"


def test_an_image_that_its_source_does_not_know_has_no_tags(home):
    (home / "Annotations/2007_000033.xml").unlink()
    assert shown(open_dataset(home, split="val", tags_from="xml")) == {"2007_000033": None}
    save_table(home / "cls_labels.npy", {k: v for k, v in rows().items() if k not in VAL})
    assert shown(open_dataset(home, split="val")) == {"2007_000033": None}


@pytest.mark.parametrize("key", [str, lambda k: k.replace("_", ""), int, np.int64, np.str_])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, bool, list])
def test_the_table_of_tags_may_have_ids_as_text_or_numbers(tmp_path, key, kind):
    cast = list if kind is list else lambda row: row.astype(kind)
    table = {key(name): cast(row) for name, row in rows().items()}
    found = read_cls_labels(save_table(tmp_path / "t.npy", table))
    assert found == {name.replace("_", ""): frozenset(names) for name, names in OBJECTS.items()}


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickle_is_read(tmp_path, protocol):
    file = save_table(tmp_path / "t.npy", rows())
    head = file.read_bytes()[:128]
    file.write_bytes(head + pickle.dumps(np.array(rows(), object), protocol=min(protocol, 4)))
    assert len(read_cls_labels(file)) == 4


class Act:
    def __init__(self, what, *arguments):
        self.call = (what, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("act", [Act(os.mkdir, "acted"), Act(eval, "1"), Act(np.save, "acted", 1)])
@pytest.mark.parametrize("place", ["value", "key", "whole"])
def test_a_table_that_would_run_something_is_refused_and_nothing_is_run(
    tmp_path, monkeypatch, act, place
):
    monkeypatch.chdir(tmp_path)
    table = {"value": {"a": act}, "key": {(act,): 1}, "whole": act}[place]
    file = tmp_path / "t.npy"
    save_table(file, rows())
    outer = np.empty((), object)
    outer[()] = table
    file.write_bytes(file.read_bytes()[:128] + pickle.dumps(outer))
    with pytest.raises(DataError, match=r"t\.npy: cannot read this table of tags \(it asks for"):
        read_cls_labels(file)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([1, 2], "expected a pickled dictionary, got"),
        (np.array([{"a": 1}], object), "expected a pickled dictionary, got"),
        ({"2007_1": np.zeros(21)}, r"expected 20 numbers 0 or 1 for '2007_1', got \(21,\)"),
        ({"2007_1": np.full(20, 0.5)}, "expected 20 numbers 0 or 1"),
        ({"2007_1": np.full(20, np.nan)}, "expected 20 numbers 0 or 1"),
        ({"2007_1": "cat"}, "expected 20 numbers 0 or 1"),
        ({1.5: np.zeros(20)}, r"keys must be image ids, got '1\.5'"),
        ({True: np.zeros(20)}, "keys must be image ids, got 'True'"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, table, message):
    with pytest.raises(DataError, match=message):
        read_cls_labels(save_table(tmp_path / "t.npy", table))


def test_depth_lies_in_a_folder_beside_or_anywhere_and_says_its_kind(home, tmp_path):
    far = tmp_path / "elsewhere"
    for name in OBJECTS:
        save(far / f"{name}.png", np.full((SIZE[0] // 4, SIZE[1] // 4), 5000, np.uint16))
    dataset = open_dataset(home, split="val", depth_folder=str(far))
    assert dataset.depth(0)[0].shape == (1, 6, 8)
    assert dataset.depth(0)[0].unique().tolist() == [5.0]
    (home / "dataset.yaml").write_text("depth: {kind: disparity}")
    assert open_dataset(home, depth_folder=str(far)).depth_info.kind == "disparity"
    (far / "depth.yaml").write_text("depth: {kind: relative, scale: 0.001}")
    assert open_dataset(home, depth_folder=str(far)).depth_info.kind == "relative"
    assert open_dataset(home).depth_info.kind == "disparity"


def line(*text: str):
    return lambda home: write_list(home, "val", text)


@pytest.mark.parametrize(
    ("break_it", "options", "message"),
    [
        (line("2007_999999"), {}, r"val\.txt: line 1: there is no JPEGImages/2007_999999\.jpg; c"),
        (line("a", *VAL, "b"), {}, r"line 1: there is no JPEGImages/a\.jpg and 1 more listed"),
        (line(*VAL, *VAL), {}, "line 2: '2007_000033' is already in line 1"),
        (line("2007_000033 1"), {}, "line 1: expected an image id, or an image and a mask"),
        (line("/x/a.jpg /y/b.png"), {}, "line 1: the image is 'a' but the mask 'b'"),
        (line("/x/a.jpg /../a.png"), {}, "line 1: expected an image id, or an image and a mask"),
        (line("", ""), {}, r"val\.txt: this list names no image"),
        (line(*VAL), {"split": "test"}, "there is no list 'test'; there are: train, train_aug"),
        (line(*VAL), {"split": "a/b.txt"}, "there is no list"),
        (line(*VAL), {"depth_folder": "no"}, "no: there is no such depth folder"),
        (lambda h: (h / "cls_labels.npy").unlink(), {"tags_from": "cls_labels"},
         "no such file; take"),
        (lambda h: shutil.rmtree(h / "Annotations"), {"tags_from": "xml"},
         "no such folder; take"),
        (lambda h: (h / "dataset.yaml").write_text("classes: [cat]"), {}, "classes of this format"),
        (lambda h: (h / "Annotations/2007_000033.xml").write_text("<a>"), {"tags_from": "xml"},
         r"2007_000033\.xml: this annotation is not XML"),
        (lambda h: (h / "Annotations/2007_000033.xml").write_text("<a/>"), {"tags_from": "xml"},
         r"expected <annotation>, got <a>"),
        (lambda h: (h / "Annotations/2007_000033.xml").write_text(xml(("cup",))),
         {"tags_from": "xml"}, "object 'cup' is not one of the 20 classes of VOC"),
        (lambda h: save(h / "SegmentationClass/2007_000033.png", np.zeros((*SIZE, 3), np.uint8)),
         {"tags_from": "masks"}, "expected a one-channel mask, got mode RGB"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_on_one_line(home, break_it, options, message):
    break_it(home)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(home, **{"split": "val", **options})
    assert "\n" not in str(caught.value)


def test_tags_from_is_refused_for_other_formats(tmp_path):
    (tmp_path / "set/images").mkdir(parents=True)
    with pytest.raises(ConfigError, match="tags_from is for the voc format, and this is folder"):
        open_dataset(tmp_path / "set", tags_from="xml")


def test_a_folder_without_jpegimages_is_no_voc(tmp_path):
    with pytest.raises(DataError, match=r"there is no VOC here: expected VOCdevkit/VOC2012/JPEG"):
        open_dataset(tmp_path, format="voc")
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match="there is no image here"):
        open_dataset(tmp_path)


def test_other_counts_are_a_warning_in_a_full_copy_and_none_in_a_subset(home, monkeypatch):
    def kinds(split):
        report = check_dataset(home, split=split)
        assert report.ok, report.table()
        return [problem.kind for problem in report.warnings], report.facts[0]

    assert "image count" not in kinds("train")[0]
    monkeypatch.setattr(voc, "FULL", 4)
    told, fact = kinds("train")
    assert "image count" in told
    assert fact == "list train.txt: 2 images"
    monkeypatch.setitem(voc.COUNTS, "train", 2)
    told, fact = kinds("train")
    assert "image count" not in told
    assert fact == "list train.txt: 2 images, as VOC 2012 has"


def test_the_counts_are_those_of_the_field():
    assert voc.COUNTS == {
        "train": 1464, "train_aug": 10582, "val": 1449, "trainval": 2913, "test": 1456
    }  # fmt: skip
    assert voc.COUNTS["train"] + voc.COUNTS["val"] == voc.COUNTS["trainval"]


GOOD_TABLE = pickle.dumps(np.array(rows(), object), protocol=4)


@fuzz
@given(data=damaged([GOOD_TABLE, pickle.dumps(np.array(rows(), object), protocol=2)]))
def test_damaged_tables_of_tags(tmp_path, data):
    head = save_table(tmp_path / "good.npy", rows()).read_bytes()[:128]
    (tmp_path / "t.npy").write_bytes(head + data)
    found = survives(lambda: read_cls_labels(tmp_path / "t.npy"))
    assert found is None or set().union(*found.values(), ()) <= set(CLASSES)


@fuzz
@given(data=st.data())
def test_damaged_annotations(tmp_path, data):
    words = st.lists(st.sampled_from(["<object>", "<name>", "cat", "</name>", "&#0;", "]]>", "\0"]))
    made_up = words.map(lambda w: f"<annotation>{''.join(w)}</annotation>".encode())
    content = data.draw(damaged([xml(("cat", "dog")).encode()]) | made_up)
    (tmp_path / "a.xml").write_bytes(content)
    found = survives(lambda: read_objects(tmp_path / "a.xml"))
    assert found is None or found <= set(CLASSES)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("voc"))


@fuzz
@given(data=st.data())
def test_damaged_and_made_up_lists(lasting, data):
    words = st.sampled_from(
        [*OBJECTS, "/JPEGImages/", "2007_000033.jpg ", ".png", " ", "\n", "\ufeff"]
    )
    made_up = st.lists(words, max_size=12).map(lambda parts: "".join(parts).encode())
    file = lasting / "ImageSets/Segmentation/trainval.txt"
    try_damaged_text(lasting, file, data.draw(damaged([file.read_bytes()]) | made_up), "trainval")


@pytest.mark.skipif(not ANIMALS.is_dir(), reason="the real data is not here (set DEALSEG_SHARED)")
def test_a_real_subset_of_voc_opens_and_passes_the_check():
    train, val = open_dataset(ANIMALS, split="train_aug"), open_dataset(ANIMALS, split="val")
    assert (len(train), len(val)) == (700, 150)
    assert not set(train.names) & set(val.names)
    assert training_split(ANIMALS) == "train_aug"
    animals = {"cat", "cow", "dog", "horse", "sheep"}
    assert all(animals & set(tags) for tags in shown(train).values())
    report = check_dataset(ANIMALS, split="val", depth_folder="DepthEstimate", sample=10)
    assert report.ok, report.table()
    assert "image count" not in {problem.kind for problem in report.warnings}
    assert report.facts == ("list val.txt: 150 images", "tags from cls_labels.npy")
    assert report.with_depth == report.with_mask == 150
    assert 1 < report.median_depth < 5
