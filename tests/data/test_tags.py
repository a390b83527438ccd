import json

import pytest
from make_folder import write_coco, write_folder, write_images

from dealseg.data import open_dataset
from dealseg.errors import DataError


def tags(root):
    dataset = open_dataset(root)
    rows = [dataset.tags(index) for index in range(len(dataset))]
    return {
        name: None if row is None else {c for c, y in zip(dataset.classes, row, strict=True) if y}
        for name, row in zip(dataset.names, rows, strict=True)
    }


def test_csv_with_bom_crlf_blanks_suffixes_and_more_columns(tmp_path):
    write_images(tmp_path, "a", "b.jpg", "c")
    text = "\ufeffid, name ,tags\r\n1,a,cup ; plate;\r\n2,b.jpg,\r\n3,c, cup\r\n"
    (tmp_path / "tags.csv").write_bytes(text.encode())
    assert tags(tmp_path) == {"a": {"cup", "plate"}, "b": set(), "c": {"cup"}}
    assert open_dataset(tmp_path).classes == ("cup", "plate")


def test_background_is_no_tag_in_any_source(tmp_path):
    write_images(tmp_path / "csv", "a")
    (tmp_path / "csv/tags.csv").write_text("name,tags\na,background\n")
    write_images(tmp_path / "folders", "background/a", "cup/b")
    write_images(tmp_path / "coco", "a")
    write_coco(tmp_path / "coco/annotations.json", {"a": "background"}, ("background", "cup"))
    assert tags(tmp_path / "csv") == {"a": set()}
    assert tags(tmp_path / "folders") == {"background/a": set(), "cup/b": {"cup"}}
    assert tags(tmp_path / "coco") == {"a": set()}
    assert open_dataset(tmp_path / "coco").classes == ("cup",)


def test_a_single_class_and_background_only_sets_are_valid(tmp_path):
    assert tags(write_folder(tmp_path / "one", {"a": "cup", "b": "cup"}, yaml=None))["a"] == {"cup"}
    empty = write_folder(tmp_path / "none", {"a": "", "b": ""}, yaml=None)
    assert tags(empty) == {"a": set(), "b": set()}
    assert open_dataset(empty).classes == ()


def test_an_image_without_a_row_has_no_tags_given(tmp_path):
    write_images(tmp_path, "a", "b")
    (tmp_path / "tags.csv").write_text("name,tags\na,cup\n")
    assert tags(tmp_path) == {"a": {"cup"}, "b": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,tag\na,cup\n", r"the first line must be `name,tags`: no tags in 'name,tag'"),
        ("a,cup\n", "no name and tags in 'a,cup'"),
        ("", "the first line must be `name,tags`"),
        ("name,tags\na,cup\na,plate\n", "line 3: 'a' is already in line 2"),
        ("name,tags\na,cup\na.png,plate\n", "line 3: 'a.png' is already in line 2"),
        ("name,tags\nz,cup\n", "line 2: there is no image 'z' in images/"),
        ("name,tags\na,cup,plate\n", "line 2: expected `name,tag;tag`"),
        ("name,tags\na\n", "line 2: expected `name,tag;tag`"),
        ('name,tags\na,"cup\n', "this is not CSV"),
        (b"name,tags\na,\xff\n", "cannot read this text file"),
        ("name,tags\na, 7 \x07\n", "is no class name"),
    ],
)
def test_a_csv_that_cannot_be_meant_is_refused_on_one_line(tmp_path, text, message):
    write_images(tmp_path, "a")
    (tmp_path / "tags.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"tags\.csv: .*{message}") as caught:
        open_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tag_that_is_not_in_the_classes_is_refused_with_its_image(tmp_path):
    root = write_folder(tmp_path, {"a": "cup", "b": "cups"})
    with pytest.raises(DataError, match=r"tags\.csv: tag 'cups' \(of image 'b'\) is not in the cl"):
        open_dataset(root)


def test_class_folders_tag_by_the_first_folder_below_images(tmp_path):
    write_images(tmp_path, "cup/day/1.jpg", "plate/1.png", "2")
    assert tags(tmp_path) == {"2": None, "cup/day/1": {"cup"}, "plate/1": {"plate"}}


def test_coco_tags_come_from_annotations_and_images_without_one_are_background(tmp_path):
    write_images(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    write_coco(tmp_path / "instances.json", {"a": "cup", "b": "plate;cup", "c": ""})
    (tmp_path / "notes.json").write_text('{"images": 3}')
    assert tags(tmp_path) == {"a": {"cup"}, "b": {"cup", "plate"}, "c": set(), "d": None}


def test_coco_files_of_the_annotations_folder_are_taken_together(tmp_path):
    write_images(tmp_path, "a.jpg", "b.jpg")
    write_coco(tmp_path / "annotations/train.json", {"a": "cup"}, ("cup", "fork"))
    write_coco(tmp_path / "annotations/val.json", {"b": "plate"})
    assert tags(tmp_path) == {"a": {"cup"}, "b": {"plate"}}
    assert open_dataset(tmp_path).classes == ("cup", "fork", "plate")


def test_pycocotools_and_we_see_the_same_tags(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    given = {"a": "cup", "b": "plate;cup", "c": ""}
    write_images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    theirs = coco.COCO(str(write_coco(tmp_path / "annotations.json", given)))
    seen = {}
    for image in theirs.imgs.values():
        found = theirs.loadAnns(theirs.getAnnIds(imgIds=image["id"]))
        kinds = {theirs.cats[entry["category_id"]]["name"] for entry in found}
        seen[image["file_name"].split("/")[-1].removesuffix(".jpg")] = kinds
    assert tags(tmp_path) == seen


def test_sources_rank_csv_before_coco_before_folders(tmp_path):
    write_images(tmp_path, "fork/a")
    assert tags(tmp_path)["fork/a"] == {"fork"}
    write_coco(tmp_path / "annotations.json", {"a": "plate"}, suffix=".png")
    assert tags(tmp_path)["fork/a"] == {"plate"}
    (tmp_path / "tags.csv").write_text("name,tags\na,cup\n")
    assert tags(tmp_path)["fork/a"] == {"cup"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["images"][0].pop("file_name"), "this COCO json lacks the entry 'file_name'"),
        (lambda d: d["images"][0].update(id=[1]), "an id must be a number"),
        (lambda d: d["images"][0].update(file_name=3), "a name must be text"),
        (
            lambda d: d["annotations"][0].update(category_id=999),
            "this COCO json lacks the entry 999",
        ),
        (lambda d: d["annotations"][0].update(image_id=999), "this COCO json lacks the entry 999"),
        (lambda d: d["categories"].append("cup"), "cannot read this COCO json"),
        (lambda d: d.pop("categories"), "expected a COCO json with the lists images, annotations"),
        (
            lambda d: d["images"].append({"id": 1, "file_name": "z.jpg"}),
            "there is no image 'z.jpg'",
        ),
    ],
)
def test_a_coco_json_that_cannot_be_meant_is_refused(tmp_path, edit, message):
    write_images(tmp_path, "a.jpg")
    file = write_coco(tmp_path / "annotations.json", {"a": "cup"})
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=rf"annotations\.json: .*{message}"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "", "\xff"])
def test_a_broken_json_is_refused(tmp_path, text):
    write_images(tmp_path, "a.jpg")
    (tmp_path / "annotations.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"annotations\.json: cannot read this JSON file"):
        open_dataset(tmp_path)


def test_a_name_that_means_several_images_is_refused(tmp_path):
    write_images(tmp_path, "x/a", "y/a")
    (tmp_path / "tags.csv").write_text("name,tags\na,cup\n")
    with pytest.raises(DataError, match="there is no image 'a'"):
        open_dataset(tmp_path)
    (tmp_path / "tags.csv").write_text("name,tags\nx/a,cup\ny\\a.png,plate\n")
    assert tags(tmp_path) == {"x/a": {"cup"}, "y/a": {"plate"}}
