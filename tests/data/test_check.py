import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
from make_bop import IDS, dump, write_bop, write_onboarding, write_scene
from make_folder import SIZE, millimetres, save, scene, write_folder, write_images

from dealseg.data import check_dataset
from dealseg.data.check_report import guess_unit
from dealseg.errors import ConfigError, DataError

GREY = np.full(SIZE, 1000, np.uint16)


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "set")


def found(report, severity):
    problems = report.errors if severity == "error" else report.warnings
    return Counter(problem.kind for problem in problems)


def messages(report):
    return "\n".join(f"{problem.file}: {problem.message}" for problem in report.errors)


def test_a_sound_data_set_is_counted_and_ok(root):
    report = check_dataset(root)
    assert report.ok
    assert not report.problems
    assert (report.format, report.split, report.images, report.opened) == ("folder", None, 4, 4)
    assert report.tag_counts == {"cup": 2, "plate": 2}
    assert (report.background_only, report.untagged) == (1, 0)
    assert (report.with_depth, report.with_mask, report.size_mismatches) == (4, 4, 0)
    metres = scene()[1]
    assert report.valid_share == pytest.approx((metres > 0).mean())
    assert report.median_depth == pytest.approx(np.median(metres[metres > 0]), abs=1e-3)
    assert (report.unit, report.unit_guess) == ("mm", "mm")


def test_a_sound_bop_set_is_ok(tmp_path):
    report = check_dataset(write_bop(tmp_path / "set"), split="train")
    assert report.ok, report.table()
    assert (report.format, report.split, report.images) == ("bop", "train", 6)
    assert report.tag_counts == {"obj_000002": 0, "obj_000005": 3, "obj_000009": 6}
    assert found(report, "warning") == {"class balance": 2}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda r: save(r / "depth/b.png", GREY[:, :24]),
            "depth/b.png: the depth is 24x24 but the",
        ),
        (
            lambda r: save(r / "depth/b.png", scene()[0]),
            "depth/b.png: expected a one-channel depth",
        ),
        (
            lambda r: save(r / "depth/b.png", GREY.astype(np.uint8), format="JPEG"),
            "b.png: a JPEG ch",
        ),
        (lambda r: (r / "depth/b.png").write_bytes(b"x"), "depth/b.png: this depth map is not a"),
        (
            lambda r: (r / "images/a.jpg").write_bytes(b"x"),
            "images/a.jpg: this image is not a JPEG",
        ),
        (
            lambda r: save(r / "masks/c.png", GREY.astype(np.uint8) * 0 + 3),
            "c.png: mask value 3 is",
        ),
        (
            lambda r: save(r / "masks/c.png", np.zeros((5, 5), np.uint8)),
            "c.png: the mask is 5x5 but",
        ),
        (
            lambda r: save(r / "images/b.jpg", scene()[0]),
            "images/b.png: has the same name as b.jpg",
        ),
        (lambda r: save(r / "depth/b.tif", GREY), "depth/b.tif: has the same name as b.png"),
        (lambda r: (r / "images/b.png").unlink(), "tags.csv: line 3: there is no image 'b' in ima"),
        (
            lambda r: (r / "tags.csv").write_text("name,tags\na,cups\n"),
            "tags.csv: tag 'cups' (of im",
        ),
        (lambda r: (r / "tags.csv").write_text("name\na\n"), "the first line must be `name,tags`"),
        (lambda r: (r / "tags.csv").unlink(), "set: no image has a tag: nothing can be learnt"),
        (
            lambda r: (r / "dataset.yaml").write_text("clases: 3"),
            "dataset.yaml: unknown key 'clases'",
        ),
        (
            lambda r: shutil.rmtree(r / "images/") or (r / "images").mkdir(),
            "there is no image here",
        ),
    ],
)
def test_each_mistake_that_harms_training_is_an_error_with_its_file(root, break_it, message):
    break_it(root)
    report = check_dataset(root)
    assert not report.ok
    assert message in messages(report)
    assert message in report.table()


def test_all_mistakes_are_found_in_one_go(root):
    (root / "images/a.jpg").write_bytes(b"x")
    save(root / "depth/a.png", scene()[0])
    save(root / "depth/b.png", GREY[:, :24])
    save(root / "masks/c.png", np.full(SIZE, 9, np.uint8))
    with (root / "tags.csv").open("a") as file:
        file.write("a,plate\nz,cup\ne,spoon\n")
    save(root / "images/e.png", scene()[0])
    files = [problem.file.removeprefix(f"{root}/") for problem in check_dataset(root).errors]
    assert sorted(files) == [
        "depth/a.png",
        "depth/b.png",
        "images/a.jpg",
        "masks/c.png",
        "tags.csv",  # `a` twice
        "tags.csv",  # no image `z`
        "tags.csv",  # unknown tag `spoon`
    ]


def test_all_mistakes_of_a_bop_set_are_found_in_one_go(tmp_path):
    root = write_bop(tmp_path / "set")
    (root / "train/000003/scene_gt.json").write_text("{")
    (root / "train/000004/rgb/000008.png").unlink()
    (root / "val/000001/mask_visib/000015_000001.png").unlink()
    save(root / "val/000001/depth/000000.png", GREY[:, :9])
    camera = json.loads((root / "val/000001/scene_camera.json").read_text())
    camera["15"].pop("depth_scale")
    dump(root / "val/000001/scene_camera.json", camera)
    (root / "dataset.yaml").write_text("classes: {5: mug, 9: bowl}")
    files = {problem.file.removeprefix(f"{root}/") for problem in check_dataset(root).errors}
    assert files == {
        "train/000003/scene_gt.json",
        "train/000004/rgb",
        "val/000001",  # obj_id 2 has no name
        "val/000001/mask_visib/000015_000001.png",
        "val/000001/depth/000000.png",
        "val/000001/scene_camera.json",
    }


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (
            lambda r: save(r / "depth/b.png", np.arange(768, dtype=np.uint8).reshape(SIZE)),
            "8-bit depth",
        ),
        (lambda r: save(r / "depth/b.png", GREY), "constant depth"),
        (lambda r: save(r / "depth/b.png", GREY << (np.arange(32) > 9)), "quantised depth"),
        (
            lambda r: save(r / "depth/b.png", GREY * (np.arange(32) < 4).astype("u2")),
            "low depth coverage",
        ),
        (lambda r: save(r / "depth/b.png", GREY * 0), "low depth coverage"),
        (lambda r: save(r / "depth/b.png", millimetres(scene()[1])[::2, ::2]), "depth smaller"),
        (lambda r: (r / "depth/b.png").unlink(), "no depth"),
        (lambda r: save(r / "images/e.png", scene()[0]), "untagged"),
        (lambda r: save(r / "depth/b_depth.png", GREY), "stray file"),
        (
            lambda r: (r / "tags.csv").write_text("name,tags\na,cup\nb,cup\nc,cup\nd,cup"),
            "class balance",
        ),
        (lambda r: (r / "dataset.yaml").write_text("depth: {unit: m}"), "depth unit"),
    ],
)
def test_each_weakness_is_a_warning_and_no_error(root, spoil, kind):
    spoil(root)
    report = check_dataset(root)
    assert report.ok, report.table()
    kinds = [name for name in found(report, "warning") if name.startswith(kind)]
    assert kinds, report.table()


def test_a_weakness_names_its_file(root):
    save(root / "depth/b.png", GREY)
    save(root / "images/e.png", scene()[0])
    files = {problem.kind: problem.file for problem in check_dataset(root).warnings}
    assert files["constant depth"] == str(root / "depth/b.png")
    assert files["untagged"] == str(root / "images/e.png")


def test_depth_maps_of_another_size_are_counted_whether_they_fit_or_not(root):
    save(root / "depth/a.png", millimetres(scene()[1])[::2, ::2])
    save(root / "depth/b.png", GREY[:, :24])
    assert check_dataset(root).size_mismatches == 2


def test_classes_in_every_or_no_image_are_named(root):
    (root / "dataset.yaml").write_text("classes: [cup, plate, fork]")
    (root / "tags.csv").write_text("name,tags\na,cup\nb,cup;plate\nc,cup\nd,cup\n")
    said = [p.message for p in check_dataset(root).warnings if p.kind == "class balance"]
    assert said == [
        "class 'cup' is in every tagged image: it cannot be learnt",
        "class 'fork' is in no tagged image: it cannot be learnt",
    ]


@pytest.mark.parametrize(
    ("unit", "median", "guess"),
    [
        ("mm", 1.4, "mm"),
        ("m", 1400.0, "mm"),
        ("mm", 0.0014, "m"),
        ("mm", 49.0, "mm"),
        ("m", 51_000_000_000.0, "unclear"),
        ("1", 1e6, "1"),
        ("mm", None, "mm"),
    ],
)
def test_the_unit_is_guessed_from_an_implausible_median(unit, median, guess):
    assert guess_unit(unit, median) == guess


def test_a_wrong_unit_is_told_with_the_right_one(root):
    (root / "dataset.yaml").write_text("classes: [cup, plate]\ndepth: {unit: m}")
    report = check_dataset(root)
    (problem,) = report.warnings
    assert report.unit_guess == "mm"
    assert "looks like mm read as m (as mm it would be 1." in problem.message


def test_relative_depth_is_not_judged_by_its_unit(root):
    (root / "dataset.yaml").write_text("classes: [cup, plate]\ndepth: {kind: relative}")
    report = check_dataset(root)
    assert not report.problems
    assert report.unit == "1"


def test_a_sample_opens_few_files_but_checks_all_tags(root):
    (root / "images/b.png").write_bytes(b"x")
    with (root / "tags.csv").open("a") as file:
        file.write("z,cup\n")
    report = check_dataset(root, sample=2)  # the first and the last
    assert (report.images, report.opened) == (4, 2)
    assert [problem.message for problem in report.errors] == [
        "line 6: there is no image 'z' in images/"
    ]
    assert check_dataset(root, sample=99).opened == 4
    with pytest.raises(ConfigError, match="sample must be at least 1, got 0"):
        check_dataset(root, sample=0)


def test_images_without_depth_and_tags_are_counted(tmp_path):
    report = check_dataset(write_images(tmp_path, "a", "b"))
    assert (report.untagged, report.with_depth, report.valid_share) == (2, 0, None)
    assert found(report, "error") == {"no tags": 1}
    assert found(report, "warning") == {"no depth": 1}


def test_onboarding_folders_are_checked(tmp_path):
    report = check_dataset(write_onboarding(tmp_path, depth=None))
    assert report.ok
    assert report.tag_counts == {"obj_000001": 2 * len(IDS), "obj_000002": 2 * len(IDS)}


def test_what_is_no_data_set_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="expected"):
            check_dataset(path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"format": "voc"}, "there is no VOC here: expected VOCdevkit/"),
        ({"format": "coco"}, "there is no COCO here: expected annotations/"),
        ({"format": "bop"}, "there is no scene here"),
        (
            {"split": "nope"},
            "splits: there is no split 'nope'; write one name a line into NAME.txt",
        ),
        ({"depth_folder": "nope"}, "nope: there is no such depth folder"),
    ],
)
def test_an_option_that_asks_for_what_is_not_there_is_refused(root, option, message):
    with pytest.raises(DataError, match=re.escape(message)):
        check_dataset(root, **option)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"split": "nope"}, "there is no split 'nope'; there are: train, val"),
        ({"split": "side:val"}, "split 'side:val' needs folders obj_XXXXXX_down"),
        ({"depth_folder": "nope"}, "no scene has a depth file in nope/"),
    ],
)
def test_so_is_one_of_a_bop_set(tmp_path, option, message):
    with pytest.raises(DataError, match=re.escape(message)):
        check_dataset(write_bop(tmp_path / "set"), **option)


def test_the_json_holds_figures_and_problems(root):
    save(root / "depth/b.png", GREY[:, :24])
    data = json.loads(check_dataset(root).to_json())
    assert (data["ok"], data["images"], data["tag_counts"]) == (False, 4, {"cup": 2, "plate": 2})
    errors = [problem for problem in data["problems"] if problem["severity"] == "error"]
    assert [problem["file"] for problem in errors] == [str(root / "depth/b.png")]


def test_the_table_shows_every_error_and_a_few_warnings_of_each_kind(tmp_path):
    root = write_folder(tmp_path, {f"n{i}": "cup" if i % 2 else "plate" for i in range(9)})
    for index in range(9):
        save(root / f"depth/n{index}.png", GREY)
        if index < 5:
            (root / f"masks/n{index}.png").write_bytes(b"x")
    table = check_dataset(root).table()
    assert all(f"masks/n{index}.png: this mask is not" in table for index in range(5))
    assert table.count("depth.png") + table.count("constant depth: /") == 3
    assert "constant depth: and 6 more" in table
    assert "cup         4" in table


def test_checking_changes_nothing(root):
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    check_dataset(root)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


def test_memory_does_not_hold_the_pictures(tmp_path):
    tracemalloc = pytest.importorskip("tracemalloc")
    folder = write_scene(tmp_path / "000001", ids=tuple(range(20)))
    big = np.zeros((600, 800, 3), np.uint8)
    for file in (folder / "rgb").iterdir():
        save(file, big)
        save(folder / f"depth/{file.name}", np.full((600, 800), 9000, np.uint16))
    shutil.rmtree(folder / "mask_visib")
    tracemalloc.start()
    check_dataset(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * big.nbytes  # of 20 pictures, each with a depth as large in float64
