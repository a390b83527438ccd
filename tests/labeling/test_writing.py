import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from make_folder import save, scene, write_folder
from PIL import Image

from dealseg.cam import threshold_mask
from dealseg.data import open_dataset
from dealseg.errors import DataError
from dealseg.evaluation import MaskFolder
from dealseg.labeling import (
    LabelOptions,
    label_dataset,
    mask_path,
    palette,
    score_dataset,
    write_mask,
    writing,
)
from fake_networks import fake_run

ONE_SCALE = LabelOptions(scales=(1.0,), threshold=0.3)


def label(out, data, run=None, options=ONE_SCALE, origin="user"):
    return label_dataset(run or fake_run(), open_dataset(data), out, options, origin)


def contents(folder: Path):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data")


@pytest.fixture
def undisturbed(tmp_path, data):
    label(tmp_path / "undisturbed", data)
    return contents(tmp_path / "undisturbed")


def test_every_index_survives_the_file_and_has_its_colour(tmp_path):
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_mask(tmp_path / "a/b.png", mask, palette())
    with Image.open(tmp_path / "a/b.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), mask)
        assert picture.getpalette() == palette()
        colours = np.array(palette(), dtype=np.uint8).reshape(256, 3)
        assert np.array_equal(np.asarray(picture.convert("RGB")), colours[mask])


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3)])
def test_a_mask_of_one_value_and_any_shape_survives_the_file(tmp_path, shape):
    for value in (0, 1, 200, 255):
        write_mask(tmp_path / "m.png", np.full(shape, value, np.uint8), palette())
        with Image.open(tmp_path / "m.png") as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture), np.full(shape, value))


def test_masks_are_the_thresholded_scores_of_each_image(tmp_path, data):
    label(tmp_path / "out", data)
    dataset = open_dataset(data)
    for index, scores in score_dataset(fake_run(), dataset, ONE_SCALE):
        expected = threshold_mask(scores.winner, scores.score, 0.3).numpy()
        with Image.open(mask_path(tmp_path / "out", dataset.names[index])) as picture:
            assert np.array_equal(np.asarray(picture), expected)
    assert expected.shape == (24, 32)


def test_the_manifest_says_everything_and_the_evaluation_understands_it(tmp_path, data):
    done = label(tmp_path / "out", data)
    assert (done.written, done.kept, done.predicted) == (4, 0, 0)
    manifest = json.loads((tmp_path / "out/labels.json").read_text())
    assert manifest == {
        "classes": ["cup", "plate"],
        "threshold": 0.3,
        "threshold_origin": "user",
        "tags": "data",
        "split": "all",
        "long_side": 48,
        "scales": [1.0],
        "flip": True,
        "probability": 0.5,
        "run": str(Path("runs/fake").resolve()),
        "weights_sha256": "ab" * 32,
        "data": str(data.resolve()),
        "review": None,
        "ignore_index": 255,
        "refine": "none",
        "refine_depth": None,
        "ignore": 0.0,
        "images": 4,
        "images_with_predicted_tags": 0,
        "masks": {
            open_dataset(data).names[index]: {
                "confidence": float(f"{scores.confidence:.4g}"),
                "ignored": 0.0,
            }
            for index, scores in score_dataset(fake_run(), open_dataset(data), ONE_SCALE)
        },
    }
    assert list(manifest["masks"]) == ["a", "b", "c", "d"]
    folder = MaskFolder(tmp_path / "out")
    assert sorted(folder.files) == ["a", "b", "c", "d"]
    assert (folder.threshold, folder.threshold_origin) == (0.3, "user")
    folder.require_classes(("cup", "plate"))
    assert folder.info.weights_sha256 == "ab" * 32
    assert folder.info.tags == "data"


def test_names_with_folders_and_odd_characters_are_kept(tmp_path):
    names = ["plain", "with space", "sub/dir/deep", "Grün ☃ тарелка", "dots.in.name", "a%b#c&d;e'"]
    for seed, name in enumerate(names):
        save(tmp_path / f"data/images/{name}.png", scene(seed)[0])
    (tmp_path / "data/dataset.yaml").write_text("classes: [cup, plate]\n")
    (tmp_path / "data/tags.csv").write_text("name,tags\nsub/dir/deep,cup\n")
    done = label(tmp_path / "out", tmp_path / "data")
    assert (done.written, done.predicted) == (6, 5)
    assert sorted(MaskFolder(tmp_path / "out").files) == sorted(names)
    assert all(mask_path(tmp_path / "out", name).is_file() for name in names)


@pytest.mark.parametrize(
    ("tags", "said", "predicted"),
    [
        ("a,cup\nb,cup;plate\nc,plate\nd,\n", "data", 0),
        ("a,cup\n", "data, predicted where an image has none", 3),
        (None, "predicted", 4),
    ],
)
def test_the_manifest_tells_given_from_predicted_tags(tmp_path, data, tags, said, predicted):
    (data / "tags.csv").unlink()
    if tags is not None:
        (data / "tags.csv").write_text("name,tags\n" + tags)
    assert label(tmp_path / "out", data).predicted == predicted
    manifest = json.loads((tmp_path / "out/labels.json").read_text())
    assert (manifest["tags"], manifest["images_with_predicted_tags"]) == (said, predicted)


def test_the_same_call_gives_the_same_bytes(tmp_path, data, undisturbed):
    label(tmp_path / "again", data)
    assert contents(tmp_path / "again") == undisturbed
    assert label(tmp_path / "again", data).kept == 4
    assert contents(tmp_path / "again") == undisturbed


def test_deleted_masks_are_made_again_and_the_others_kept(tmp_path, data, undisturbed):
    label(tmp_path / "out", data)
    for name in ("a", "c"):
        mask_path(tmp_path / "out", name).unlink()
    before = mask_path(tmp_path / "out", "b").stat().st_mtime_ns
    done = label(tmp_path / "out", data)
    assert (done.written, done.kept) == (2, 2)
    assert mask_path(tmp_path / "out", "b").stat().st_mtime_ns == before
    assert contents(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
@pytest.mark.parametrize("at", [0, 2, 3])
def test_an_interrupted_call_is_taken_up_to_the_same_bytes(
    tmp_path, data, undisturbed, monkeypatch, error, at
):
    calls, scored = [], writing.score_dataset

    def breaking(*arguments):
        for item in scored(*arguments):
            if len(calls) == at:
                raise error
            calls.append(item)
            yield item

    monkeypatch.setattr(writing, "score_dataset", breaking)
    with pytest.raises(error):
        label(tmp_path / "out", data)
    monkeypatch.undo()
    assert not (tmp_path / "out/labels.json").exists()
    done = label(tmp_path / "out", data)
    assert (done.kept, done.written) == (at, 4 - at)
    assert contents(tmp_path / "out") == undisturbed


def test_a_full_disk_leaves_no_half_mask_and_the_call_goes_on_later(
    tmp_path, data, undisturbed, monkeypatch
):
    real = Image.Image.save

    def full(self, file, **options):
        real(self, file, **options)
        if Path(file).name == ".c.png.part":
            Path(file).write_bytes(Path(file).read_bytes()[:20])
            raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        label(tmp_path / "out", data)
    monkeypatch.undo()
    left = contents(tmp_path / "out")
    assert sorted(left) == [".labels.part.json", "masks/a.png", "masks/b.png"]
    assert left["masks/a.png"] == undisturbed["masks/a.png"]
    label(tmp_path / "out", data)
    assert contents(tmp_path / "out") == undisturbed


def test_what_a_killed_process_left_half_written_is_no_mask(tmp_path, data, undisturbed):
    label(tmp_path / "out", data)
    mask_path(tmp_path / "out", "b").unlink()
    (tmp_path / "out/masks/.b.png.part").write_bytes(undisturbed["masks/b.png"][:30])
    assert sorted(MaskFolder(tmp_path / "out").files) == ["a", "c", "d"]
    label(tmp_path / "out", data)
    assert contents(tmp_path / "out") == undisturbed


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"threshold": 0.5}, "threshold"),
        ({"scales": (1.0, 2.0)}, "scales"),
        ({"flip": False}, "flip"),
        ({"tags": "predicted"}, "tags"),
        ({"probability": 0.9}, "probability"),
        ({"refine": "crf"}, "refine"),
        ({"ignore": 0.1}, "ignore"),
        ({"auto_threshold": True}, "threshold"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_masks_of_other_settings_are_not_mixed(
    tmp_path, data, undisturbed, changed, named, finished
):
    out = tmp_path / "out"
    label(out, data)
    if not finished:
        (out / "labels.json").rename(out / ".labels.part.json")
        mask_path(out, "d").unlink()
    before = contents(out)
    other = dataclasses.replace(ONE_SCALE, **changed)
    with pytest.raises(DataError, match=f"another {named} .*choose another --out"):
        label(out, data, options=other)
    assert contents(out) == before


def test_another_network_or_data_set_is_refused_but_another_spelling_of_the_path_is_not(
    tmp_path, data, monkeypatch
):
    label(tmp_path / "out", data)
    before = contents(tmp_path / "out")
    with pytest.raises(DataError, match="another weights_sha256"):
        label(tmp_path / "out", data, fake_run(sha="cd" * 32))
    with pytest.raises(DataError, match="another data"):
        label(tmp_path / "out", write_folder(tmp_path / "other"))
    assert contents(tmp_path / "out") == before
    run = fake_run(path=Path("runs/fake").resolve())
    monkeypatch.chdir(tmp_path)
    assert label(Path("out"), Path("data"), run).kept == 4


def test_a_folder_of_something_else_is_left_untouched(tmp_path, data):
    before = contents(data)
    with pytest.raises(DataError, match=r"is not an empty folder; choose another --out"):
        label(data, data)
    assert contents(data) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is not an empty folder"):
        label(tmp_path / "file", data)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("text", ["{", "[]", "\x00", ""])
def test_a_damaged_manifest_is_named_and_kept(tmp_path, data, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/labels.json").write_text(text)
    with pytest.raises(DataError, match=r"out/labels\.json: "):
        label(tmp_path / "out", data)
    assert (tmp_path / "out/labels.json").read_text() == text


def test_nothing_is_written_for_a_call_that_cannot_work(tmp_path, data):
    with pytest.raises(DataError, match="not those of the run"):
        label(tmp_path / "out", data, fake_run(classes=("plate", "cup")))
    (data / "tags.csv").write_text("name,tags\na,cup\nc,plate\n")
    with pytest.raises(DataError, match="has no tags"):
        label(tmp_path / "out", data, options=LabelOptions(tags="data"))
    assert not (tmp_path / "out").exists()


def test_a_truncated_image_is_named_and_the_masks_before_it_stay(tmp_path, data, undisturbed):
    whole = (data / "images/c.jpg").read_bytes()
    (data / "images/c.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"images/c\.jpg: cannot read this image"):
        label(tmp_path / "out", data)
    assert sorted(MaskFolder(tmp_path / "out").files) == ["a", "b"]
    (data / "images/c.jpg").write_bytes(whole)
    assert label(tmp_path / "out", data).kept == 2
    assert contents(tmp_path / "out") == undisturbed


def test_the_network_stays_in_evaluation_mode_and_random_numbers_are_not_used(tmp_path, data):
    run = fake_run()
    before = torch.get_rng_state()
    label(tmp_path / "out", data, run)
    assert torch.equal(torch.get_rng_state(), before)
    assert not run.model.training


def test_facts_stay_in_the_file_beside_the_mask(tmp_path):
    mask = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    write_mask(tmp_path / "m.png", mask, palette(), {"confidence": "0.75"})
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.info["confidence"] == "0.75"
        assert np.array_equal(np.asarray(picture), mask)
