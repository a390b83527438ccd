"""Depth for a whole data set: resumable, atomic, beside a sensor's, and usable at once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from make_bop import write_bop, write_onboarding
from make_folder import save, scene, write_folder, write_images
from PIL import Image
from tiny_networks import transformers  # noqa: F401 -- skips without the extra

from dealseg.data import check_dataset, open_dataset
from dealseg.data.files import read_depth
from dealseg.data.miniature.coco import write_coco_miniature
from dealseg.data.miniature.hope import write_hope_miniature
from dealseg.data.miniature.voc import write_voc_miniature
from dealseg.errors import ConfigError, DataError
from dealseg.estimating import Estimator, estimate_depth, load_estimator, restore
from test_cli import ok
from test_cli_errors import fails

COUNTS = {"images": 2, "val_images": 2}


def contents(root):
    """Return every file below a folder with its bytes."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def estimator(networks):
    return load_estimator(str(networks("relative")))


@pytest.fixture
def mixed(tmp_path):
    """Seven images of four sizes, upright and across, in folders, one stored turned."""
    sizes = [(24, 32), (32, 24), (48, 64), (24, 32), (60, 30), (24, 32)]
    for number, size in enumerate(sizes):
        name = f"images/{'cup' if number % 2 else 'plate'}/{number:04d}.png"
        save(tmp_path / "data" / name, scene(number, size)[0])
    turned = scene(9, (30, 60))[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "data/images/cup/9.jpg", turned, exif=exif)
    return tmp_path / "data"


def test_every_image_gets_a_map_of_its_size_of_what_the_network_says(mixed, estimator):
    dataset = open_dataset(mixed)
    done = estimate_depth(dataset, estimator, batch_size=2)
    assert (done.written, done.kept, done.beyond) == (7, 0, 0)
    for index, frame in enumerate(dataset.frames):
        file = mixed / f"depth_estimate/{frame.name}.png"
        image = dataset.image(index)
        size = tuple(image.shape[-2:])
        (expected,) = estimator.estimates(estimator.prepared(image)[None], [size], [size])
        assert read_depth(file).dtype == np.uint16
        step = float(expected.max() - expected.min()) / 65534
        np.testing.assert_allclose(restore(file), expected, atol=2 * step)
    assert read_depth(mixed / "depth_estimate/cup/9.png").shape == (60, 30)  # upright


@pytest.mark.parametrize("write", [write_folder, write_bop, write_onboarding])
def test_the_readers_find_the_maps_and_their_kind_and_the_sensor_s_are_untouched(
    tmp_path, estimator, write
):
    root = write(tmp_path)
    before = contents(root)
    estimate_depth(open_dataset(root), estimator)
    after = contents(root)
    assert {name: after[name] for name in before} == before
    assert all("depth_estimate/" in name for name in after.keys() - before.keys())
    dataset = open_dataset(root, depth_folder="depth_estimate")
    assert dataset.depth_info.kind == "relative"
    for index in range(len(dataset)):
        values, valid = dataset.depth(index)
        assert valid.all()
        assert (values.min(), values.max()) == (1, 65535)
    report = check_dataset(root, depth_folder="depth_estimate")
    assert report.ok
    kinds = {problem.kind for problem in report.problems}
    assert not kinds & {"no depth", "depth unit", "8-bit depth", "stray file", "low depth coverage"}


@pytest.mark.parametrize(
    "write", [write_voc_miniature, write_coco_miniature, write_hope_miniature], ids=["v", "c", "h"]
)
def test_public_data_sets_in_their_own_layouts_take_estimates(tmp_path, estimator, write):
    hope = write is write_hope_miniature
    write(tmp_path, size=48, **({"objects": 1, "frames": 2} if hope else COUNTS))
    before = contents(tmp_path)
    dataset = open_dataset(tmp_path)
    done = estimate_depth(dataset, estimator, "guessed")
    assert done.written == len(dataset) >= 4
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    again = open_dataset(tmp_path, depth_folder="guessed")
    assert (again.names, again.depth_info.kind) == (dataset.names, "relative")
    for index, frame in enumerate(again.frames):
        assert frame.depth == dataset.frames[index].depth_place(dataset.root, "guessed")[1]
        image = dataset.image(index)
        assert again.depth(index)[0].shape[-2:] == image.shape[-2:]


def test_metric_estimates_are_read_back_as_metres(tmp_path, networks):
    estimator = load_estimator(str(networks("metric")))
    dataset = open_dataset(write_folder(tmp_path))
    estimate_depth(dataset, estimator)
    again = open_dataset(tmp_path, depth_folder="depth_estimate")
    assert (again.depth_info.kind, again.depth_info.unit) == ("metric", "mm")
    image, (values, _) = dataset.image(0), again.depth(0)
    (expected,) = estimator.estimates(estimator.prepared(image)[None], [(24, 32)], [(24, 32)])
    torch.testing.assert_close(values[0], expected.clamp(min=1e-3), rtol=0, atol=6e-4)


def test_what_is_farther_than_can_be_stored_is_counted(tmp_path, networks):
    far = load_estimator(str(networks("relative")), kind="metric")
    with torch.no_grad():
        far.network.head.conv3.bias += 60
    done = estimate_depth(open_dataset(write_folder(tmp_path)), far)
    maps = [read_depth(file) for file in sorted((tmp_path / "depth_estimate").glob("*.png"))]
    assert 0 < done.beyond < 1
    assert done.beyond == pytest.approx(np.mean([np.mean(m == 65535) for m in maps]), abs=1e-3)


def test_an_interrupted_call_leaves_whole_maps_and_the_same_call_goes_on(
    mixed, estimator, monkeypatch, tmp_path
):
    dataset = open_dataset(mixed)
    estimate_depth(dataset, estimator, "undisturbed")
    own, calls = Estimator.estimates, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return own(self, *arguments)

    monkeypatch.setattr(Estimator, "estimates", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimate_depth(dataset, estimator, threads=1)
    whole = contents(mixed / "undisturbed")
    part = contents(mixed / "depth_estimate")
    assert "depth.yaml" in part
    assert 1 < len(part) < len(whole)
    assert all(whole[name] == data for name, data in part.items())
    times = {p: p.stat().st_mtime_ns for p in (mixed / "depth_estimate").rglob("*.png")}
    done = estimate_depth(dataset, estimator)
    assert (done.written, done.kept) == (8 - len(part), len(part) - 1)
    assert contents(mixed / "depth_estimate") == whole
    assert all(path.stat().st_mtime_ns == before for path, before in times.items())
    assert estimate_depth(dataset, estimator).written == 0


def test_the_map_of_an_image_that_was_replaced_is_made_again(mixed, estimator, tmp_path):
    dataset = open_dataset(mixed)
    estimate_depth(dataset, estimator)
    before = contents(mixed / "depth_estimate")
    shutil.copytree(mixed, tmp_path / "copied")  # other times, same images
    assert estimate_depth(open_dataset(tmp_path / "copied"), estimator).written == 0
    save(mixed / "images/plate/0002.png", scene(5, (50, 64))[0])
    (mixed / "depth_estimate/cup/0001.png").write_bytes(b"cut off")
    done = estimate_depth(dataset, estimator)
    assert (done.written, done.kept, done.renewed) == (2, 5, 2)
    after = contents(mixed / "depth_estimate")
    assert {name for name in after if after[name] != before[name]} == {"plate/0002.png"}


def test_an_image_replaced_by_one_of_as_many_bytes_is_noticed(tmp_path, estimator):
    for number, name in enumerate(("cup", "plate")):
        save(tmp_path / f"images/{name}.png", scene(number, (24, 32))[0], compress_level=0)
    dataset = open_dataset(tmp_path)
    estimate_depth(dataset, estimator)
    cup, plate = (tmp_path / f"images/{name}.png" for name in ("cup", "plate"))
    assert cup.stat().st_size == plate.stat().st_size
    cup.write_bytes(plate.read_bytes())
    done = estimate_depth(dataset, estimator)
    assert (done.written, done.kept, done.renewed) == (1, 1, 1)
    maps = [(tmp_path / f"depth_estimate/{name}.png").read_bytes() for name in ("cup", "plate")]
    assert maps[0] == maps[1]


def test_maps_that_do_not_say_of_which_image_they_are_count_as_whole(mixed, estimator):
    dataset = open_dataset(mixed)
    estimate_depth(dataset, estimator)
    file = mixed / "depth_estimate/cup/0001.png"
    Image.open(file).save(file, format="PNG")  # without its text
    assert estimate_depth(dataset, estimator).written == 0


def test_batches_and_threads_change_no_map_by_more_than_rounding(mixed, estimator):
    dataset = open_dataset(mixed)
    for name, options in (("one", {"threads": 1}), ("many", {"batch_size": 3, "threads": 4})):
        estimate_depth(dataset, estimator, name, **options)
    for frame in dataset.frames:
        one, many = (
            read_depth(mixed / f"{n}/{frame.name}.png").astype(int) for n in ("one", "many")
        )
        assert np.abs(one - many).max() <= 2


def test_a_long_side_makes_the_maps_smaller_and_never_larger(mixed, estimator):
    dataset = open_dataset(mixed)
    estimate_depth(dataset, estimator, long_side=40)
    sizes = {f.name: read_depth(f.depth_place(mixed, "depth_estimate")[1]).shape
             for f in dataset.frames}  # fmt: skip
    assert sizes["plate/0002"] == (30, 40)
    assert sizes["plate/0004"] == (40, 20)
    assert sizes["cup/0001"] == (32, 24)
    assert check_dataset(mixed, depth_folder="depth_estimate").ok


@pytest.mark.parametrize("content", ["a.png", "notes.txt", "depth.yaml"])
def test_a_folder_with_anything_else_in_it_is_refused_untouched(tmp_path, estimator, content):
    root = write_folder(tmp_path)
    for folder in ("depth", "images"):
        with pytest.raises(DataError, match="did not write; choose another --depth-folder"):
            estimate_depth(open_dataset(root), estimator, folder)
    (root / "other").mkdir()
    (root / "other" / content).write_text("depth: {kind: relative}\nsource: {program: other}\n")
    before = contents(root)
    with pytest.raises(DataError, match="did not write"):
        estimate_depth(open_dataset(root), estimator, "other")
    assert contents(root) == before


def test_one_taken_scene_keeps_all_scenes_from_being_written(tmp_path, estimator):
    root = write_bop(tmp_path)
    save(root / "val/000001/depth_estimate/000000.png", np.ones((24, 32), np.uint16))
    before = contents(root)
    with pytest.raises(DataError, match="000001/depth_estimate: holds something"):
        estimate_depth(open_dataset(root), estimator)
    assert contents(root) == before


@pytest.mark.parametrize(
    ("other", "options", "said"),
    [
        ("dpt", {}, "weights_sha256"),
        ("metric", {}, "kind"),
        ("relative", {"long_side": 9}, "long_s"),
    ],
)
def test_maps_of_two_kinds_are_never_mixed(tmp_path, networks, estimator, other, options, said):
    dataset = open_dataset(write_folder(tmp_path))
    estimate_depth(dataset, estimator)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=f"made with another {said}"):
        estimate_depth(dataset, load_estimator(str(networks(other))), **options)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/tmp/a", ".hidden", "a/"])
def test_the_folder_must_be_a_plain_name(tmp_path, estimator, name):
    dataset = open_dataset(write_folder(tmp_path / "data"))
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="depth_folder must be the name of a folder"):
        estimate_depth(dataset, estimator, name)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("option", ["batch_size", "long_side", "threads"])
def test_options_below_one_are_refused(tmp_path, estimator, option):
    dataset = open_dataset(write_folder(tmp_path))
    with pytest.raises(ConfigError, match=f"{option} must be at least 1, got 0"):
        estimate_depth(dataset, estimator, **{option: 0})
    assert not (tmp_path / "depth_estimate").exists()


def test_depth_yaml_says_who_made_it(tmp_path, estimator, networks):
    estimate_depth(open_dataset(write_folder(tmp_path)), estimator)
    told = yaml.safe_load((tmp_path / "depth_estimate/depth.yaml").read_text())
    assert told["depth"] == {"kind": "relative", "scale": 1.0}
    assert told["source"]["model"] == str(networks("relative"))
    assert told["source"]["weights_sha256"] == estimator.digest


def test_an_unreadable_image_is_named_and_the_others_are_kept(mixed, estimator):
    (mixed / "images/plate/0002.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0002\.png"):
        estimate_depth(open_dataset(mixed), estimator, threads=1)
    kept = contents(mixed / "depth_estimate")
    save(mixed / "images/plate/0002.png", scene(2)[0])
    done = estimate_depth(open_dataset(mixed), estimator)
    assert done.kept == len(kept) - 1
    assert done.written + done.kept == 7


def test_an_image_too_small_for_the_network_is_named(tmp_path, networks):
    save(tmp_path / "images/a.png", scene(0, (40, 64))[0])
    save(tmp_path / "images/b.png", np.zeros((5, 64, 3), np.uint8))
    with pytest.raises(DataError, match=r"b\.png: the network cannot take this image"):
        estimate_depth(open_dataset(tmp_path), load_estimator(str(networks("glpn"))))


def test_a_map_without_any_number_is_an_error_not_a_file(tmp_path, estimator):
    with torch.no_grad():
        estimator.network.head.conv3.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="gave no finite number; try --precision 32-true"):
        estimate_depth(open_dataset(write_folder(tmp_path)), estimator)
    assert not list((tmp_path / "depth_estimate").glob("*.png"))


def test_the_command_needs_no_tags_and_training_takes_what_it_wrote(
    tmp_path, capsys, networks, trained
):
    root = write_folder(tmp_path / "data")
    told = ok(capsys, "depth", root, "--model", networks("relative"), "--batch-size", "2")
    assert told.startswith(f"4 depth maps (relative inverse depth) written in {root}, depth_est")
    assert "--data.depth-folder depth_estimate" in told
    again = ok(capsys, "depth", root, "--model", networks("relative"))
    assert "0 depth maps (relative inverse depth) written, 4 kept from before" in again
    ok(capsys, "check", root, "--depth-folder", "depth_estimate")
    words = [*trained.train, "--data.depth-folder", "depth_estimate"]
    ok(capsys, "train", root, "--out", tmp_path / "run", *words)
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert config["depth_kind"] == "relative"
    bare = write_images(tmp_path / "bare", "a", "b/c")
    assert ok(capsys, "depth", bare, "--model", networks("metric"), "--depth-folder", "depth")
    assert open_dataset(bare).depth_info.kind == "metric"


def test_the_command_says_what_was_cut_and_takes_a_split(tmp_path, capsys, networks):
    root = write_bop(tmp_path)
    words = ["--model", networks("metric"), "--split", "val", "--device", "cpu"]
    assert ok(capsys, "depth", root, *words).startswith("3 depth maps (metres) written")
    assert len(list(root.rglob("depth_estimate/*.png"))) == 3


def test_the_command_refuses_before_it_loads_a_network(tmp_path, capsys):
    root = write_folder(tmp_path)
    words = ["depth", root, "--model", "no/such/network"]
    assert "did not write" in fails(capsys, *words, "--depth-folder", "depth")
    assert "no such model" in fails(capsys, *words)
    assert not (root / "depth_estimate").exists()


def test_the_estimate_s_name_of_its_model_does_not_matter_for_going_on(tmp_path, estimator):
    dataset = open_dataset(write_folder(tmp_path))
    estimate_depth(dataset, estimator)
    moved = replace(estimator, name="the same from elsewhere")
    assert estimate_depth(dataset, moved).kept == 4
