import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from make_coco import (
    HEIGHT,
    IDS,
    WIDTH,
    annotation,
    box,
    content,
    plain_runs,
    write_coco,
    write_part,
)
from make_folder import SIZE, save, scene, write_folder
from pycocotools import mask as tools
from test_fuzz import damaged, fuzz, try_damaged_text

from dealseg.data import (
    DepthInfo,
    RgbdDataset,
    check_dataset,
    coco,
    coco_index,
    open_dataset,
    training_split,
)
from dealseg.data.coco_masks import decompressed, outline
from dealseg.data.kept import cache_folder, keep, state_of
from dealseg.errors import ConfigError, DataError
from oracles.coco import semantic_mask

NAMES = tuple(f"COCO_train2014_{i:012d}" for i in (9, 25, 30, 36))
ANNOTATED = (*NAMES[:2], NAMES[3])


@pytest.fixture(autouse=True)
def _kept_here(tmp_path, monkeypatch):
    monkeypatch.setenv("DEALSEG_CACHE", str(tmp_path / "kept"))


@pytest.fixture
def root(tmp_path):
    return write_coco(tmp_path / "coco")


def edit(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def shown(dataset):
    rows = [dataset.tags(index).nonzero().flatten().tolist() for index in range(len(dataset))]
    return [tuple(dataset.classes[k] for k in row) for row in rows]


def test_the_two_lists_of_the_field_are_two_splits(root):
    some, every = open_dataset(root, split="train"), open_dataset(root, split="train_full")
    assert isinstance(some, RgbdDataset)
    assert some.names == ANNOTATED
    assert every.names == NAMES
    assert shown(every) == [
        ("person", "stop sign"),
        ("person", "stop sign", "toothbrush"),  # person is there as a crowd only
        (),
        ("person", "stop sign"),
    ]
    assert some.facts == (
        "train2014: images 3 with an annotation (4 in all: --split train2014_full)",
    )
    assert every.facts == ("train2014: images 4 in all (3 with an annotation: --split train2014)",)
    assert len(open_dataset(root)) == 8
    assert training_split(root) == "train"


def test_the_counts_are_those_of_the_field():
    assert coco.COUNTS["train2014"] == (82_783, 82_081)
    assert coco.COUNTS["val2014"] == (40_504, 40_137)


def test_contiguous_values_and_own_ids_go_together(root):
    dataset = open_dataset(root, split="train")
    assert dataset.classes == ("person", "stop sign", "toothbrush")
    assert dataset.class_ids == (1, 13, 90)
    assert dataset.mask(1).unique().tolist() == [0, 2, 3, 255]
    assert check_dataset(root, split="train").class_ids == {"1": 1, "2": 13, "3": 90}


@pytest.mark.parametrize(
    "images", ["{}", "images/{}", "JPEGImages/{}", "images", "train", "images/train"]
)
def test_images_may_lie_in_any_of_the_usual_folders(tmp_path, images):
    folder = images.format("train2014")
    write_part(tmp_path, "train2014", content(), folder)
    dataset = open_dataset(tmp_path, format="coco", split="train")
    assert dataset.image_path(0) == tmp_path / folder / f"{NAMES[0]}.jpg"
    assert dataset.depth_info == DepthInfo("mm", 1.0, "metric")
    depth, valid = dataset.depth(1)
    metres = scene(1)[1]
    assert torch.equal(valid[0], torch.from_numpy(metres > 0))
    assert torch.allclose(depth[0].double(), torch.from_numpy(metres), atol=6e-4)


def test_the_root_may_be_a_folder_above(root):
    assert open_dataset(root.parent, split="train").root == root


def test_the_year_must_be_said_where_there_are_several(tmp_path):
    write_coco(tmp_path, years=("2014", "2017"))
    with pytest.raises(DataError, match="split 'train' may be any of: train2014, train2014_full"):
        open_dataset(tmp_path, split="train")
    assert open_dataset(tmp_path, split="train2017").names[0] == "COCO_train2017_000000000009"
    assert len(open_dataset(tmp_path, split="val2014_full")) == 4


def test_a_folder_data_set_with_coco_tags_is_still_one(tmp_path):
    write_folder(tmp_path, {"a": "cup"})
    write_part(tmp_path, "default", content(), "images")
    assert open_dataset(tmp_path).image_path(0).parent.name == "images"
    assert check_dataset(tmp_path).format == "folder"
    assert check_dataset(tmp_path, format="coco", split="default").format == "coco"


@pytest.mark.parametrize("place", range(4))
def test_masks_are_those_of_the_coco_api_with_smaller_objects_on_top(root, place):
    dataset = open_dataset(root, split="train_full")
    file = root / "annotations/instances_train2014.json"
    expected = semantic_mask(file, (9, 25, 30, 36)[place])
    assert dataset.mask(place).tolist() == expected.tolist()
    assert dataset.mask(place).shape == SIZE == (HEIGHT, WIDTH)


def test_a_mask_is_drawn_once_and_a_damaged_one_again(root):
    dataset = open_dataset(root, split="train")
    first = dataset.mask(1)
    file = root / "annotations/instances_train2014.json"
    written = file.read_bytes()
    file.write_bytes(b" " * len(written))
    assert torch.equal(dataset.mask(1), first)
    with pytest.raises(DataError, match=r"instances_train2014\.json: cannot read this COCO file"):
        dataset.mask(0)  # was not drawn before
    file.write_bytes(written)
    kept = next(cache_folder().rglob(f"{NAMES[1]}.png"))
    for damage in (kept.read_bytes()[:40], b"", b"junk"):
        kept.write_bytes(damage)
        assert torch.equal(dataset.mask(1), first)
        assert len(kept.read_bytes()) > 60


def test_masks_kept_of_a_file_are_not_those_of_its_next_state(root):
    file = root / "annotations/instances_train2014.json"
    before = open_dataset(root, split="train").mask(2)
    edit(file, lambda told: told["annotations"].pop())
    after = open_dataset(root, split="train").mask(2)
    assert (before == 1).any()
    assert not (after == 1).any()


def test_nothing_is_written_beside_the_data_and_a_missing_cache_is_no_error(root, monkeypatch):
    before = sorted(root.rglob("*"))
    expected = open_dataset(root, split="train").mask(0)
    (root.parent / "file").write_text("no folder")
    monkeypatch.setenv("DEALSEG_CACHE", str(root.parent / "file"))
    assert torch.equal(open_dataset(root, split="train").mask(0), expected)
    assert sorted(root.rglob("*")) == before


def test_the_cache_is_the_users_unless_one_is_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("DEALSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x/dealseg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert cache_folder() == tmp_path / "me/.cache/dealseg"


def test_what_is_kept_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    assert keep(tmp_path / "a/b", b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    assert not keep(tmp_path / "a/b", b"new")
    assert [file.read_bytes() for file in (tmp_path / "a").iterdir()] == [b"old"]


def test_a_large_file_is_read_once_and_what_is_kept_of_it_says_the_same(root, monkeypatch):
    monkeypatch.setattr(coco_index, "KEEP_FROM", 0)
    first = open_dataset(root)
    parsed = []
    monkeypatch.setattr(coco_index, "entries", lambda file: parsed.append(file) or iter(()))
    again = open_dataset(root)
    assert not parsed
    assert (again.names, again.classes, again.class_ids) == (
        first.names,
        first.classes,
        (1, 13, 90),
    )
    assert shown(again) == shown(first)
    assert all(torch.equal(again.mask(i), first.mask(i)) for i in range(8))
    file = root / "annotations/instances_train2014.json"
    os.utime(file, (1, 1))  # another state
    with pytest.raises(DataError, match="expected images, annotations"):
        open_dataset(root)
    assert parsed == [file]


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_index_is_made_again(root, monkeypatch, damage):
    monkeypatch.setattr(coco_index, "KEEP_FROM", 0)
    names = open_dataset(root, split="train").names
    kept = next(cache_folder().rglob("index.npz"))
    kept.write_bytes(kept.read_bytes()[:-700] if damage is None else damage)
    assert open_dataset(root, split="train").names == names
    assert len(kept.read_bytes()) > 1000


def test_the_state_of_a_file_follows_place_size_and_time(tmp_path):
    file = tmp_path / "a"
    file.write_text("x")
    os.utime(file, ns=(5, 5))
    states = [state_of(file, 1), state_of(file, 2)]
    os.utime(file, ns=(5, 6))
    states.append(state_of(file, 1))
    file.write_text("xy")
    os.utime(file, ns=(5, 6))
    states.append(state_of(file, 1))
    states.append(state_of(shutil.copy2(file, tmp_path / "b"), 1))
    assert len(set(states)) == 5


@fuzz
@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_plain_and_compressed_are_those_of_the_coco_api(pixels):
    plain = plain_runs(pixels)
    packed = tools.encode(np.asfortranarray(pixels.astype(np.uint8)))
    text = packed["counts"].decode("ascii")
    assert decompressed(text) == plain["counts"]
    for counts in (plain["counts"], text):
        found = outline({"size": list(pixels.shape), "counts": counts}, pixels.shape)
        assert found.tolist() == pixels.tolist()


def test_long_runs_take_several_characters():
    pixels = np.zeros((500, 400), bool)
    pixels[:, 200:] = True
    pixels[17, 3] = True
    packed = tools.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
    assert decompressed(packed) == plain_runs(pixels)["counts"]


def test_without_pycocotools_only_drawing_polygons_fails_and_says_how_to_get_it(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    dataset = open_dataset(root, split="train_full")
    assert dataset.tags(0).sum() == 2
    assert dataset.mask(2).max() == 0
    with pytest.raises(ConfigError, match=r"not installed: pip install 'dealseg\[coco\]'"):
        dataset.mask(0)


def test_missing_images_are_told_once_with_the_first_of_them(root):
    for name in NAMES[1:]:
        (root / f"train2014/{name}.jpg").unlink()
    message = r"000025\.jpg: there is no such image, nor 1 more of 3; put COCO's images there"
    with pytest.raises(DataError, match=message):
        open_dataset(root, split="train")
    report = check_dataset(root, split="train")
    assert len(report.errors) == 1
    assert report.images == 1


def test_a_list_takes_some_of_the_images(root):
    (root / "splits").mkdir()
    (root / "splits/some.txt").write_text(
        f"val2014/{NAMES[1].replace('train', 'val')}\n{NAMES[2]}.jpg"
    )
    dataset = open_dataset(root, split="some")
    assert dataset.names == (NAMES[2], NAMES[1].replace("train", "val"))
    assert dataset.frames[-1].name == dataset.names[-1]
    assert [frame.name for frame in dataset.frames[:]] == list(dataset.names)
    assert dataset.mask(1).unique().tolist() == [0, 2, 3, 255]
    (root / "splits/some.txt").write_text("nothing\n")
    with pytest.raises(DataError, match=r"some\.txt: line 1: there is no image 'nothing'"):
        open_dataset(root, split="some")


def test_depth_may_lie_in_folders_of_the_parts(root):
    (root / "depth").rename(root / "elsewhere")
    shutil.copytree(root / "elsewhere", root / "far/train2014")
    assert len(list((root / "far/train2014").iterdir())) == 8
    assert open_dataset(root, split="train", depth_folder="far").depth(0) is not None
    assert open_dataset(root, split="train").depth(0) is None
    assert open_dataset(root, split="val", depth_folder="far").depth(0) is None
    (root / "far/depth.yaml").write_text("depth: {kind: relative}")
    assert open_dataset(root, depth_folder="far").depth_info.kind == "relative"


def test_names_keep_the_folders_of_file_names(tmp_path):
    told = content()
    for place, entry in enumerate(told["images"]):
        entry["file_name"] = f"{'ab'[place % 2]}/same{place // 2}.jpg"
    write_part(tmp_path, "train2014", told)
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("a/same0", "b/same0", "a/same1", "b/same1")
    assert dataset.image(3).shape == (3, *SIZE)
    assert dataset.frames[1].depth == tmp_path / "depth/b/same0.png"
    told["images"][1]["file_name"] = "a/same0.png"
    write_part(tmp_path, "train2014", told)
    with pytest.raises(DataError, match="two images are called 'a/same0'; rename one"):
        open_dataset(tmp_path)


def test_other_counts_are_a_warning_in_a_full_copy_and_none_in_a_subset(root, monkeypatch):
    def kinds():
        report = check_dataset(root, split="train")
        assert report.ok, report.table()
        return {problem.kind for problem in report.warnings}, report.facts[0]

    assert "image count" not in kinds()[0]
    monkeypatch.setitem(coco.COUNTS, "train2014", (5, 4))
    assert "image count" in kinds()[0]
    monkeypatch.setitem(coco.COUNTS, "train2014", (4, 3))
    told, fact = kinds()
    assert "image count" not in told
    assert fact.endswith("_full), as COCO has")


def first(key, **change):
    return lambda told: told[key][0].update(change)


def segment(value):
    return first("annotations", segmentation=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (first("images", file_name="../a.jpg"), "`file_name` must lie in the image folder"),
        (first("images", file_name="/a.jpg"), "`file_name` must lie in the image folder"),
        (first("images", file_name=5), "`file_name` must be the name of a file, got '5'"),
        (first("images", height=0), "the height of 'COCO_train2014_000000000009.jpg' must be"),
        (first("images", width="x"), "`width` must be a whole number, got 'x'"),
        (first("images", id=25), "image 25 is there twice"),
        (first("annotations", image_id=1), "annotation 1 has image_id 1, which is not listed"),
        (first("annotations", category_id=12), "annotation 1 has category_id 12, which is not"),
        (first("annotations", area=float("nan")), "`area` of an annotation is not a finite"),
        (first("annotations", category_id=None), "`category_id` must be a whole number, got"),
        (first("categories", id=1), "category 1 is there twice"),
        (first("categories", name=""), "is no class name"),
        (first("categories", name="background"), "leave `background` out of classes"),
        (lambda told: told["images"].append(3), "an entry of `images` is no object: '3'"),
        (lambda told: told["images"][0].pop("id"), "lacks the entry 'id'"),
        (lambda told: told.pop("images"), "expected images, annotations and categories, f"),
        (lambda told: told.update(annotations=[], images=[]), "found no `images`"),
        (lambda told: told["images"][0].update(id=2**70), "too big"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_meant_is_refused_on_one_line(root, change, message):
    edit(root / "annotations/instances_train2014.json", change)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(root, split="train_full")
    assert "\n" not in str(caught.value)
    assert "annotations" in str(caught.value).split(":")[0]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "`segmentation` must be polygons or runs, got 'None'"),
        ([[1, 2, 3, 4]], "a polygon needs three points or more, got 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon needs three points or more, got 7 numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "has the coordinate 1000000000.0, far from the image"),
        ([[1, 2, 3, 4, 5, float("inf")]], "has the coordinate inf, far from"),
        ([["a"] * 6], "could not convert"),
        ([7], "not iterable"),
        ({"counts": [5]}, "'size'"),
        ({"size": [1, 1], "counts": [1]}, r"run lengths for the size \[1, 1\], not \[24, 32\]"),
        ({"size": [24, 32], "counts": [767]}, "must be whole numbers that fill the image"),
        ({"size": [24, 32], "counts": [-1, 769]}, "must be whole numbers that fill the image"),
        ({"size": [24, 32], "counts": [0.5]}, "must be whole numbers that fill the image"),
        ({"size": [24, 32], "counts": "P"}, "cut off"),
        ({"size": [24, 32], "counts": "\t"}, "cannot be in compressed run lengths"),
        ({"size": [24, 32], "counts": 7}, "not iterable"),
    ],
)
def test_an_outline_that_cannot_be_meant_is_refused_with_its_number(root, segmentation, message):
    edit(root / "annotations/instances_train2014.json", segment(segmentation))
    dataset = open_dataset(root, split="train")
    with pytest.raises(DataError, match=f"instances_train2014.json: annotation 100: .*{message}"):
        dataset.mask(1)


def test_an_image_of_another_size_than_its_annotation_is_refused(root):
    save(root / f"train2014/{NAMES[0]}.jpg", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(DataError, match="the mask is 32x24 but the image is 10x10"):
        open_dataset(root, split="train").mask(0)


def test_files_with_other_categories_are_not_opened_together(root):
    edit(root / "annotations/instances_val2014.json", first("categories", name="comb"))
    with pytest.raises(
        DataError, match=r"val2014\.json: has other categories than instances_train"
    ):
        open_dataset(root)
    assert "comb" in open_dataset(root, split="val").classes


@pytest.mark.parametrize(
    ("split", "message"),
    [("test", "there is no split 'test'; there are: train2014, train2014_full, val2014"),
     ("full", "there is no split 'full'")],
)  # fmt: skip
def test_an_unknown_split_is_refused_with_those_there_are(root, split, message):
    with pytest.raises(DataError, match=message):
        open_dataset(root, split=split)


def test_a_folder_without_annotations_is_no_coco(tmp_path):
    with pytest.raises(DataError, match=r"there is no COCO here: expected annotations/instances_"):
        open_dataset(tmp_path, format="coco")


def test_objects_without_area_are_drawn_in_the_order_of_the_file(tmp_path):
    told = content()
    told["annotations"] = [
        annotation(9, "person", box(2, 2, 12, 12), 0, id=1),
        annotation(9, "stop sign", box(8, 8, 14, 20), 0, id=2),
    ]
    for entry in told["annotations"]:
        entry.pop("area")
    write_part(tmp_path, "train2014", told)
    assert open_dataset(tmp_path).mask(0)[9, 9] == 1
    assert list(IDS) == list(open_dataset(tmp_path).classes)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("coco"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "image_id", "category_id", "file_name", "height", "size"]), inner
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["images", "annotations", "categories", "info"])


@fuzz
@given(data=st.data())
def test_damaged_and_made_up_annotation_files(lasting, data):
    file = lasting / "annotations/instances_train2014.json"
    made_up = st.dictionaries(KEYS, JSON).map(lambda value: json.dumps(value).encode())

    def changed(parts):
        key, place, entry = parts
        told = content()
        told[key][place % len(told[key])].update(entry)
        return json.dumps(told).encode()

    lists = st.sampled_from(["images", "annotations", "categories"])
    fields = st.sampled_from(["id", "file_name", "image_id", "area", "iscrowd", "segmentation"])
    mixed = st.tuples(lists, st.integers(0, 9), st.dictionaries(fields, JSON, max_size=2)).map(
        changed
    )
    content_ = data.draw(damaged([file.read_bytes()]) | made_up | mixed)
    try_damaged_text(lasting, file, content_, "train_full")
