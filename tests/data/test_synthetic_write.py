import hashlib
import json
from collections import Counter

import numpy as np
import pytest
import yaml
from PIL import Image

from dealseg.data.bop import open_bop
from dealseg.data.synthetic import CLASSES, write_synthetic
from dealseg.data.synthetic import write as writing
from dealseg.data.synthetic.plan import FRAMES, plan_scene
from dealseg.errors import ConfigError, DataError

SMALL = {"images": FRAMES + 2, "val_images": 1, "size": 32, "progress": False}


def sums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "set"
    write_synthetic(out, **SMALL)
    return out


def table(scene, name):
    return json.loads((scene / f"{name}.json").read_text())


def test_same_seed_gives_the_same_bytes(made, tmp_path):
    write_synthetic(tmp_path / "again", **SMALL)
    assert sums(tmp_path / "again") == sums(made)


def test_other_seeds_and_splits_give_other_pictures(made, tmp_path):
    write_synthetic(tmp_path / "other", **(SMALL | {"images": 1, "val_images": 0, "seed": 1}))
    first = "train/000000/rgb/000000.png"
    assert sums(tmp_path / "other")[first] != sums(made)[first]
    assert sums(made)[first.replace("train", "val")] != sums(made)[first]


def test_scenes_do_not_depend_on_how_many_there_are(made, tmp_path):
    write_synthetic(tmp_path / "few", **(SMALL | {"images": FRAMES, "val_images": 0}))
    whole, few = sums(made / "train" / "000000"), sums(tmp_path / "few" / "train" / "000000")
    assert whole == few


def test_layout_and_keys_are_those_of_bop(made):
    lengths = [len(list(scene.glob("rgb/*.png"))) for scene in sorted((made / "train").iterdir())]
    assert lengths == [FRAMES, 2]
    scene = made / "train" / "000000"
    truth, info, camera = (table(scene, f"scene_{n}") for n in ("gt", "gt_info", "camera"))
    assert sorted(truth, key=int) == [str(i) for i in range(FRAMES)]
    assert truth.keys() == info.keys() == camera.keys()
    assert set(truth["1"][0]) == {"obj_id", "cam_R_m2c", "cam_t_m2c"}
    assert set(info["1"][0]) == {
        "bbox_obj", "bbox_visib", "px_count_all", "px_count_valid", "px_count_visib", "visib_fract",
    }  # fmt: skip
    assert set(camera["1"]) == {"cam_K", "depth_scale", "cam_R_w2c", "cam_t_w2c"}
    assert yaml.safe_load((made / "dataset.yaml").read_text()) == {"classes": list(CLASSES)}


def test_counts_and_boxes_are_those_of_the_mask_files(made):
    for scene in sorted((made / "train").iterdir()):
        for image, entries in table(scene, "scene_gt_info").items():
            depth = np.array(Image.open(scene / "depth" / f"{int(image):06d}.png"))
            taken = np.zeros(depth.shape, dtype=int)
            for index, entry in enumerate(entries):
                file = scene / "mask_visib" / f"{int(image):06d}_{index:06d}.png"
                mask = np.array(Image.open(file))
                assert set(np.unique(mask)) <= {0, 255}
                y, x = np.nonzero(mask)
                taken += mask > 0
                assert entry["px_count_visib"] == len(x) <= entry["px_count_all"]
                share = len(x) / max(entry["px_count_all"], 1)
                assert entry["visib_fract"] == pytest.approx(share)
                assert (depth[mask > 0] > 0).sum() <= entry["px_count_valid"]
                if len(x):
                    box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
                    assert entry["bbox_visib"] == box
            assert taken.max(initial=0) <= 1


def test_the_reader_finds_what_was_written(made):
    data = open_bop(made, split="train")
    assert len(data) == SMALL["images"]
    assert data.classes == CLASSES
    for i in range(len(data)):
        depth, valid = data.depth(i)
        tags = {k + 1 for k in np.flatnonzero(data.tags(i).numpy())}
        seen = set(data.mask(i).unique().tolist()) - {0, 255}
        assert tags <= seen
        assert data.image(i).shape == (3, 32, 32)
        assert depth.shape == valid.shape == (1, 32, 32)
        assert 0.2 < depth[valid].median() < 3.0


def test_frames_before_the_things_are_put_down_have_no_entry(tmp_path):
    index = next(i for i in range(8) if plan_scene(0, 0, i).starts_empty)
    write_synthetic(
        tmp_path, **(SMALL | {"images": FRAMES * index + 2, "val_images": 0, "size": 16})
    )
    truth = table(tmp_path / "train" / f"{index:06d}", "scene_gt")
    assert truth["0"] == []
    assert len(truth["1"]) > 0
    empty = Counter(
        len(entry) == 0
        for scene in (tmp_path / "train").iterdir()
        for entry in table(scene, "scene_gt").values()
    )
    assert empty[True] == 1


def test_a_broken_run_goes_on_where_it_stopped(made, tmp_path, monkeypatch):
    out, film = tmp_path / "set", writing.film_scene

    def breaks(seed, split, index, *rest):
        for number, picture in enumerate(film(seed, split, index, *rest)):
            if (index, number) == (1, 1):
                raise KeyboardInterrupt
            yield picture

    monkeypatch.setattr(writing, "film_scene", breaks)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(out, **SMALL)
    assert [p.name for p in (out / "train").iterdir() if p.name[0] != "."] == ["000000"]
    assert not (out / "dataset.yaml").exists()
    stamp = (out / "train" / "000000" / "scene_gt.json").stat().st_mtime_ns
    monkeypatch.setattr(writing, "film_scene", film)
    write_synthetic(out, **SMALL)
    assert (out / "train" / "000000" / "scene_gt.json").stat().st_mtime_ns == stamp
    assert sums(out) == sums(made)


def test_a_folder_made_with_other_numbers_is_refused_and_kept(made):
    before = sums(made)
    with pytest.raises(DataError, match=r"made with .*'seed': 0.*asked for .*'seed': 3"):
        write_synthetic(made, **(SMALL | {"seed": 3}))
    assert sums(made) == before


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="not empty"):
        write_synthetic(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_that_cannot_be_made_is_one_line_to_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the data set") as caught:
        write_synthetic(tmp_path / "file" / "set", **SMALL)
    assert "\n" not in str(caught.value)


def test_a_broken_manifest_is_named(tmp_path):
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(DataError, match=r"synthetic\.json: not JSON"):
        write_synthetic(tmp_path, **SMALL)


@pytest.mark.parametrize(("name", "value"), [("images", -1), ("size", 8), ("seed", -2)])
def test_numbers_out_of_range_are_named(tmp_path, name, value):
    with pytest.raises(ConfigError, match=f"{name} must be at least .*got {value}"):
        write_synthetic(tmp_path, **(SMALL | {name: value}))
    assert list(tmp_path.iterdir()) == []
