import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from make_folder import SIZE, YAML, save, scene, write_folder, write_images

from dealseg.data import DepthInfo, RgbdDataset, open_dataset
from dealseg.data.description import read_description
from dealseg.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "set")


def test_a_written_data_set_comes_back(root):
    dataset = open_dataset(root)
    assert isinstance(dataset, RgbdDataset)
    assert dataset.classes == ("cup", "plate")
    assert dataset.names == ("a", "b", "c", "d")
    assert dataset.depth_info == DepthInfo("mm", 1.0, "metric")
    assert [dataset.tags(i).tolist() for i in range(4)] == [[1, 0], [1, 1], [0, 1], [0, 0]]
    assert dataset.image_path(1) == root / "images/b.png"
    image, metres, mask = scene(1)
    assert dataset.image(1).permute(1, 2, 0).tolist() == image.tolist()
    depth, valid = dataset.depth(1)
    assert torch.equal(valid[0], torch.from_numpy(metres > 0))
    assert torch.allclose(depth[0].double(), torch.from_numpy(metres), atol=6e-4)
    assert dataset.mask(1).tolist() == mask.tolist()
    assert dataset.mask(2).unique().tolist() == [0, 2]


def test_listing_opens_no_picture(root):
    for file in (root / "images").iterdir():
        file.write_bytes(b"no picture")
    assert len(open_dataset(root)) == 4
    with pytest.raises(DataError, match=r"images.a\.jpg: this image is not a JPEG"):
        open_dataset(root).image(0)


def test_depth_masks_tags_and_description_are_optional(tmp_path):
    dataset = open_dataset(write_images(tmp_path, "one", "two.jpeg"))
    assert dataset.names == ("one", "two")
    assert dataset.classes == ()
    assert (dataset.tags(0), dataset.depth(0), dataset.mask(0)) == (None, None, None)
    assert dataset.depth_info == DepthInfo()


@pytest.mark.parametrize(
    ("suffix", "dtype", "unit"), [(".tiff", np.float32, "m"), (".npy", np.float64, "m")]
)
def test_without_description_float_depth_is_metres(tmp_path, suffix, dtype, unit):
    root = write_folder(tmp_path, {"a": "cup"}, yaml=None)
    (root / "depth/a.png").unlink()
    metres = scene()[1].astype(dtype)
    file = root / f"depth/a{suffix}"
    np.save(file, metres) if suffix == ".npy" else save(file, metres)
    dataset = open_dataset(root)
    assert dataset.depth_info == DepthInfo(unit, 1.0, "metric")
    assert torch.allclose(dataset.depth(0)[0][0].double(), torch.from_numpy(metres).double())


def test_without_description_integer_depth_is_millimetres(tmp_path):
    dataset = open_dataset(write_folder(tmp_path, yaml=None))
    assert dataset.depth_info == DepthInfo("mm", 1.0, "metric")
    assert dataset.depth(0)[0].max() == pytest.approx(scene()[1].max(), abs=6e-4)


def test_disparity_is_scaled_and_not_turned_into_distance(tmp_path):
    root = write_folder(tmp_path, yaml="depth: {kind: disparity, scale: 0.5}")
    save(root / "depth/a.png", np.full(SIZE, 30, np.uint16))
    dataset = open_dataset(root)
    assert dataset.depth_info == DepthInfo("1", 0.5, "disparity")
    assert dataset.depth(0)[0].unique().tolist() == [15.0]


def test_another_depth_folder_can_be_chosen(root):
    save(root / "depth_estimate/b.png", np.full(SIZE, 3000, np.uint16))
    dataset = open_dataset(root, depth_folder="depth_estimate")
    assert dataset.depth(0) is None
    assert dataset.depth(1)[0].unique().tolist() == [3.0]
    told = "depth_typo: there is no such depth folder; `dealseg depth` est"
    with pytest.raises(DataError, match=told):
        open_dataset(root, depth_folder="depth_typo")


def test_a_split_keeps_its_order_and_the_classes_of_the_whole_set(tmp_path):
    root = write_folder(tmp_path, yaml=None)
    (root / "splits").mkdir()
    (root / "splits/val.txt").write_bytes(b"\xef\xbb\xbfc\r\n\r\n  a.jpg \r\n")
    dataset = open_dataset(root, split="val")
    assert dataset.names == ("c", "a")
    assert dataset.classes == ("cup", "plate")
    assert dataset.tags(0).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nz\n", r"val\.txt: line 2: there is no image 'z'"),
        ("a\nb\na\n", r"val\.txt: line 3: 'a' is already in line 1"),
        ("\n", r"val\.txt: this split lists no image"),
        (b"\xff\xfe", r"val\.txt: cannot read this text file"),
    ],
)
def test_a_split_that_cannot_be_meant_is_refused(root, text, message):
    (root / "splits").mkdir()
    data = text if isinstance(text, bytes) else text.encode()
    (root / "splits/val.txt").write_bytes(data)
    with pytest.raises(DataError, match=message):
        open_dataset(root, split="val")


def test_an_unknown_split_names_those_there_are(root):
    with pytest.raises(DataError, match=r"there is no split 'val'; write one name a line"):
        open_dataset(root, split="val")
    (root / "splits").mkdir()
    for name in ("train", "test"):
        (root / f"splits/{name}.txt").write_text("a")
    for split in ("val", "../splits/train", "*"):
        with pytest.raises(DataError, match=r"there are: test, train"):
            open_dataset(root, split=split)


def test_two_files_of_one_name_are_refused_and_both_named(root):
    save(root / "images/a.png", scene()[0])
    with pytest.raises(DataError, match=r"images/a\.png: has the same name as a\.jpg"):
        open_dataset(root)
    (root / "images/a.png").unlink()
    np.save(root / "depth/a.npy", scene()[1])
    with pytest.raises(DataError, match=r"depth/a\.png: has the same name as a\.npy"):
        open_dataset(root)


def test_depth_in_class_folders_may_be_flat_only_where_names_are_unique(tmp_path):
    write_images(tmp_path, "cup/1", "cup/2", "plate/2")
    for name in ("1", "2", "plate/2"):
        save(tmp_path / f"depth/{name}.png", np.full(SIZE, 1000, np.uint16))
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("cup/1", "cup/2", "plate/2")
    assert [dataset.depth(i) is not None for i in range(3)] == [True, False, True]


def test_jpeg_depth_is_refused_when_read(root):
    (root / "depth/a.png").unlink()
    save(root / "depth/a.jpg", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=r"depth/a\.jpg: a JPEG changes the numbers of a depth map"):
        open_dataset(root).depth(0)


def test_a_folder_in_place_of_a_file_is_refused_when_read(root):
    (root / "depth/a.png").unlink()
    (root / "depth/a.png").mkdir()
    with pytest.raises(DataError, match=r"depth/a\.png: expected a depth map, found a folder"):
        open_dataset(root).depth(0)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("clases: [cup, plate]", "unknown key 'clases': did you mean classes"),
        ("depth: {units: mm}", r"unknown key depth\.'units': did you mean unit"),
        ("depth: {unit: feet}", r"depth\.unit must be one of m, dm, cm, mm, um, got 'feet'"),
        ("depth: {unit: [m]}", r"depth\.unit must be one of"),
        ("depth: {kind: disparity, unit: mm}", "depth of kind disparity has no unit"),
        ("depth: {kind: metrical}", r"depth\.kind must be one of metric, disparity, relative"),
        ("depth: {kind: [metric]}", r"depth\.kind must be one of"),
        ("depth: {scale: 0}", r"depth\.scale must be a number above 0, got '0'"),
        ("depth: {scale: .nan}", r"depth\.scale must be a number above 0"),
        ("depth: {scale: yes}", r"depth\.scale must be a number above 0"),
        ("depth: mm", "depth must be `key: value` pairs, got 'mm'"),
        ("classes: cup", "classes must be a list of names, got 'cup'"),
        ("classes: [cup, no]", "class names must be text: put 'False' in quotes"),
        ("classes: [cup, 7]", "class names must be text: put '7' in quotes"),
        ("classes: [cup, cup]", "class 'cup' is there twice"),
        ("classes: [background, cup]", "leave `background` out of classes"),
        ("classes: ['cup;plate', plate]", "is no class name"),
        ("classes: {1: cup, 3: plate}", "must be 1, 2, ... without a gap"),
        ("classes: {0: cup, 1: plate}", "must be whole numbers from 1, got '0'"),
        (f"classes: [{', '.join(f'c{n}' for n in range(255))}]", "at most 254 classes"),
        ("ignore_index: 256", "ignore_index must be a whole number from 0 to 255, got 256"),
        ("{classes: [cup, plate], ignore_index: 2}", "ignore_index 2 is the value of a class"),
        ("- cup", "the file must be `key: value` pairs, got 'list'"),
        ("classes: [cup", "this is not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "this is not YAML"),
    ],
)
def test_a_description_that_cannot_be_meant_is_refused_on_one_line(root, yaml, message):
    (root / "dataset.yaml").write_text(yaml)
    with pytest.raises(DataError, match=rf"dataset\.yaml: .*{message}") as caught:
        open_dataset(root)
    assert "\n" not in str(caught.value)


def test_classes_may_be_a_mapping_and_a_scale_written_as_1e_3(root):
    (root / "dataset.yaml").write_text("classes: {2: plate, 1: cup}\ndepth: {unit: m, scale: 1e-3}")
    dataset = open_dataset(root)
    assert dataset.classes == ("cup", "plate")
    assert dataset.depth_info == DepthInfo("m", 0.001, "metric")


def test_a_misnamed_description_is_not_overlooked(root):
    (root / "dataset.yaml").rename(root / "dataset.yml")
    with pytest.raises(DataError, match=r"dataset\.yml: rename this file to dataset\.yaml"):
        open_dataset(root)


def test_what_is_no_data_set_is_refused_with_what_was_expected(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty/images").mkdir(parents=True)
    for name, message in {
        "absent": "expected the folder of a data set, found nothing",
        "file": "expected the folder of a data set, found a file",
        "empty": "there is no image here",
        "empty/images": r"expected images/ \(folder format\), scenes",
    }.items():
        with pytest.raises(DataError, match=message):
            open_dataset(tmp_path / name)
    with pytest.raises(DataError, match="expected a folder images/ in it"):
        open_dataset(tmp_path, format="folder")


def test_arguments_are_checked(root):
    with pytest.raises(ConfigError, match="min_visible must be from 0 to 1, got 2"):
        open_dataset(root, min_visible=2)


def test_opening_reads_and_changes_nothing_else(root):
    (root / "dataset.yaml").write_text(YAML)
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    dataset = open_dataset(root)
    for index in range(len(dataset)):
        dataset.image(index), dataset.depth(index), dataset.mask(index)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


def test_the_descriptions_in_the_document_are_valid(tmp_path):
    text = (Path(__file__).parents[2] / "docs/data.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    inline = [f"depth: {found}" for found in re.findall(r"`(\{.*?\})`", text)]
    assert len(blocks) == 2
    assert len(inline) == 3
    for yaml in (*map(textwrap.dedent, blocks), *inline):
        (tmp_path / "dataset.yaml").write_text(yaml)
        description = read_description(tmp_path)
        assert description.classes or description.depth
