"""What the command takes, refuses and leaves alone."""

import json
import os
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from made import CLASSES, blobs, contents, export, write
from make_folder import save, save_palette
from PIL import Image

from dealseg.cli import main
from dealseg.data import open_dataset
from dealseg.data.mask_set import open_masks
from dealseg.data.review import Review, write_review
from dealseg.exporting import FORMATS, export_masks


@pytest.fixture
def made(tmp_path):
    return SimpleNamespace(root=tmp_path, masks=write(tmp_path, ("a.png", "b.jpg", "c.jpg")))


def refused(capsys, root, name, *options, masks="masks", out="out"):
    """Return what the command says when it refuses; nothing may have been written."""
    before = contents(root)
    words = ["export", str(root / masks), "--format", name, "--out", str(root / out), *options]
    assert main(words) == 2
    assert contents(root) == before
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def listed(out):
    lines = (out / "ImageSets/Segmentation").glob("*.txt")
    return {file.stem: file.read_text().split() for file in lines}


def test_rejected_masks_are_left_out_and_the_number_said(made, capsys):
    verdicts = {"b": "rejected", "a": "accepted", "gone": "rejected"}
    write_review(made.root / "masks/review.json", Review(verdicts))
    assert listed(export(made.root, "voc")) == {"default": ["a", "c"]}
    assert "2 masks exported" in (said := capsys.readouterr().out)
    assert "1 rejected masks left out" in said
    write_review(made.root / "other.json", Review({"c": "rejected"}))
    words = ["--review", str(made.root / "other.json")]
    assert listed(export(made.root, "voc", *words)) == {"default": ["a", "b"]}
    write_review(made.root / "masks/review.json", Review(dict.fromkeys("abc", "rejected")))
    assert "every mask was rejected" in refused(capsys, made.root, "voc", out="none")
    assert "no such" in refused(capsys, made.root, "voc", "--review", "gone.json", out="none")


def test_a_review_that_cannot_be_reached_is_not_taken_for_none(made, capsys):
    (made.root / "masks/review.json").symlink_to(made.root / "unmounted/review.json")
    assert "review.json: there is no such review" in refused(capsys, made.root, "voc")


def test_a_split_takes_the_masks_of_its_images_and_gives_its_name(made, capsys):
    (made.root / "data/splits").mkdir()
    (made.root / "data/splits/val.txt").write_text("c\na\n")
    assert listed(export(made.root, "voc", "--split", "val")) == {"val": ["c", "a"]}
    assert "1 masks of images outside of --split val left out" in capsys.readouterr().out
    assert (export(made.root, "yolo", "--split", "val", out="y") / "labels/val/a.txt").is_file()
    assert "there is no split 'x'" in refused(capsys, made.root, "voc", "--split", "x", out="n")


def test_the_split_of_the_masks_is_taken_from_labels_json(tmp_path):
    write(tmp_path, ("a.png", "b.jpg"), split="side")
    (tmp_path / "data/splits").mkdir()
    (tmp_path / "data/splits/side.txt").write_text("a\nb\n")
    assert listed(export(tmp_path, "voc")) == {"side": ["a", "b"]}


def test_masks_without_images_are_refused(made, capsys):
    save_palette(made.root / "masks/masks/gone.png", blobs(9))
    said = refused(capsys, made.root, "coco")
    assert "there is no image of the mask 'gone'; is --data the data set the masks are of?" in said
    save(made.root / "else/images/x.png", np.zeros((3, 3), np.uint8))
    assert "'a' nor of 3 more" in refused(
        capsys, made.root, "coco", "--data", str(made.root / "else")
    )
    assert "nothing" in refused(capsys, made.root, "coco", "--data", str(made.root / "gone"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_mask_of_another_size_or_value_stops_every_format(made, capsys, name):
    save_palette(made.root / "masks/masks/b.png", blobs(1, (9, 8)))
    said = refused(capsys, made.root, name)
    assert "b.png: the mask is 8x9 but the image is 37x31 (width x height)" in said
    save_palette(made.root / "masks/masks/b.png", np.full((31, 37), 4, np.uint8))
    assert "mask value 4 is out of range: expected 0 to 3" in refused(capsys, made.root, name)


def test_a_damaged_mask_leaves_the_earlier_export_as_it_was(made, capsys):
    before = contents(export(made.root, "voc"))
    (made.root / "masks/masks/c.png").write_bytes(b"x")
    refused(capsys, made.root, "voc")
    assert contents(made.root / "out") == before
    assert sorted(os.listdir(made.root)) == ["data", "masks", "out"]


def test_a_folder_that_is_not_an_untouched_export_is_refused(made, capsys):
    export(made.root, "voc")
    export(made.root, "coco")
    assert (made.root / "out/instances.json").is_file()
    assert not (made.root / "out/labelmap.txt").exists()
    (made.root / "out/notes.txt").write_text("mine")
    assert "is not empty, nor an earlier export" in refused(capsys, made.root, "coco")
    for where in ("masks/masks/out", "data/images/out", "data/images"):
        assert "which is read; choose another --out" in refused(
            capsys, made.root, "coco", out=where
        )
    assert "is not empty" in refused(capsys, made.root, "coco", out="masks")


def test_an_export_is_kept_out_of_all_folders_that_are_searched_for_images(tmp_path, capsys):
    write(tmp_path, ("near/a.png", "far/b.png"))
    said = refused(capsys, tmp_path, "voc", out="data/images/out")
    assert "out: lies in " in said
    assert "data/images, which is read" in said
    assert export(tmp_path, "voc", out="data/out").is_dir()
    (tmp_path / "data/images").rename(tmp_path / "shots")
    words = ["--data", str(tmp_path / "shots"), "--data-format", "images"]
    assert "shots, which is read" in refused(capsys, tmp_path, "voc", *words, out="shots/out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--format", "pascal"],
            "--format must be one of coco, voc, cvat, label-studio, bop, yolo",
        ),
        (["--format", "voc", "--min-area", "3"], "--min-area says nothing to --format voc; its"),
        (["--format", "coco", "--images", "copy"], "its options are: --instances, --min-area"),
        (["--format", "yolo", "--instances", "class"], "--instances says nothing to --format yolo"),
        (
            ["--format", "voc", "--category-ids", "i.json"],
            "--category-ids says nothing to --format",
        ),
        (["--format", "coco", "--min-area", "-3"], "min_area must be 0 pixels or more, got -3"),
        (["--format", "coco", "--instances", "blob"], "--instances: expected one of"),
        ([], "export needs --format"),
        (["--format", "coco", "--class-names", "a,b,c"], "says the classes are"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(made, capsys, words, message):
    root = made.root
    assert main(["export", str(root / "masks"), "--out", str(root / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (root / "out").exists()


def test_masks_of_other_programs_need_class_names_and_data(made, capsys):
    (made.root / "masks/labels.json").unlink()
    assert "what the mask values mean" in refused(capsys, made.root, "coco")
    named = ["--class-names", ",".join(CLASSES)]
    assert "where the images are; give --data" in refused(capsys, made.root, "coco", *named)
    out = export(made.root, "coco", *named, "--data", str(made.root / "data"))
    told = json.loads((out / "categories.json").read_text())
    assert told["ids_from"] == "the mask values"
    assert [each["category_id"] for each in told["categories"]] == [1, 2, 3]


def test_masks_of_a_plain_folder_of_images_are_exported_too(tmp_path, capsys):
    masks = write(tmp_path, ("a.png", "sub/b.tif"))
    (tmp_path / "data/images").rename(tmp_path / "shots")
    words = ["--data", str(tmp_path / "shots")]
    out = export(tmp_path, "coco", *words)
    files = {
        each["file_name"] for each in json.loads((out / "instances.json").read_text())["images"]
    }
    assert files == {"a.png", "sub/b.tif"}
    jpg = export(tmp_path, "voc", *words, "--data-format", "images", "--images", "jpg", out="voc")
    assert sorted(os.listdir(jpg / "JPEGImages")) == ["a.jpg", "sub__b.jpg"]
    assert len(masks) == 2
    assert "expected images/" in refused(capsys, tmp_path, "coco", *words, "--split", "x", out="n")
    (tmp_path / "nothing").mkdir()
    said = refused(capsys, tmp_path, "coco", "--data", str(tmp_path / "nothing"), out="n")
    assert "there is no image here" in said


def test_class_names_that_a_format_cannot_hold_are_refused(tmp_path, capsys):
    for classes, message in (
        (["a:b", "c", "d"], "'a:b' cannot be written to labelmap.txt"),
        (["#a", "c", "d"], "'#a' cannot be written"),
        (["ignored", "c", "d"], "must not be called `ignored`"),
    ):
        write(tmp_path, ("a.png",), classes=classes)
        assert message in refused(capsys, tmp_path, "voc")
    assert export(tmp_path, "cvat").is_dir()
    for name in ("cvat", "label-studio"):
        assert "`ignored`" in refused(capsys, tmp_path, name, "--ignored", "label", out="x")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_replaced_or_refused_with_the_image(tmp_path, capsys):
    write(tmp_path, ("a.png", "\udcff\udcfe.png"))
    for name in FORMATS:
        if name != "cvat":
            assert export(tmp_path, name, out=name).is_dir()
    assert sorted(os.listdir(tmp_path / "voc/JPEGImages")) == ["__.png", "a.png"]
    tasks = json.loads((tmp_path / "label-studio/tasks.json").read_text())
    assert tasks[1]["data"]["image"].endswith("images/%FF%FE.png")
    assert r"rename the image 'images/\udcff\udcfe'" in refused(capsys, tmp_path, "cvat", out="x")
    for folder in ("data/images", "masks/masks"):
        os.rename(tmp_path / folder / "\udcff\udcfe.png", tmp_path / folder / "a\u202f\u3000b.png")
    with zipfile.ZipFile(export(tmp_path, "cvat", out="x") / "annotations.zip") as archive:
        assert "SegmentationClass/a\u202f\u3000b.png" in archive.namelist()


def test_images_are_copied_linked_or_left(made):
    linked = export(made.root, "voc", "--images", "link", out="linked")
    for file in (linked / "JPEGImages").iterdir():
        assert file.is_symlink()
        assert file.read_bytes() == (made.root / "data/images" / file.name).read_bytes()
    assert not (export(made.root, "voc", "--images", "none", out="none") / "JPEGImages").exists()
    jpg = export(made.root, "hf", "--images", "jpg", out="jpg") / "train"
    rows = map(json.loads, (jpg / "metadata.jsonl").read_text().splitlines())
    assert [row["file_name"] for row in rows] == [f"images/{name}.jpg" for name in "abc"]
    with (
        Image.open(jpg / "images/a.jpg") as image,
        Image.open(made.root / "data/images/a.png") as o,
    ):
        assert image.format == "JPEG"
        apart = np.abs(np.asarray(image).astype(int) - np.asarray(o))
        assert apart.mean() < 20  # noise is what JPEG does worst


@pytest.mark.parametrize(("suffix", "how"), [("jpg", "copy"), ("jpg", "link"), ("png", "copy")])
def test_images_stored_turned_are_written_upright_as_their_masks_are(tmp_path, suffix, how):
    write(tmp_path, (f"a.{suffix}",))
    upright = np.zeros((30, 37, 3), np.uint8)
    upright[:10, :20] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.rot90(upright).copy())
    turned.save(tmp_path / f"data/images/a.{suffix}", exif=exif)
    out = export(tmp_path, "voc", "--images", how)
    with Image.open(out / f"JPEGImages/a.{suffix}") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert np.abs(np.asarray(image).astype(int) - upright).max() < 60
    images = json.loads((export(tmp_path, "coco", out="c") / "instances.json").read_text())
    assert (images["images"][0]["height"], images["images"][0]["width"]) == (30, 37)


def test_every_format_takes_254_classes_and_an_image_without_objects(tmp_path):
    classes = tuple(f"class {number}" for number in range(1, 255))
    write(tmp_path, ("a.png", "b.png"), classes=classes)
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32).repeat(2, 0)
    save_palette(tmp_path / "masks/masks/a.png", mask)
    save(tmp_path / "data/images/a.png", np.repeat(mask[..., None], 3, 2))
    masks, data = open_masks(tmp_path / "masks"), open_dataset(tmp_path / "data")
    for name in FORMATS:
        done = export_masks(masks, data, tmp_path / name, name)
        assert (done.images, done.rejected, done.elsewhere) == (2, 0, 0)
    with Image.open(tmp_path / "voc/SegmentationClass/a.png") as image:
        assert np.array_equal(np.asarray(image), mask)
