import errno
import json
import logging
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import SMALL, config, equal

from dealseg.config import ModelConfig
from dealseg.data import open_dataset
from dealseg.errors import DataError
from dealseg.models import create
from dealseg.training import cache, train
from dealseg.training.cache import build_features, cache_stem

SIZE = (64, 64)
X = "features.0.x"
POSIX = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate here")


@pytest.fixture
def scene(scenes, tmp_path):
    """Return a copy that may be changed: one scene of the set."""
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    shutil.copy(scenes / "dataset.yaml", root)
    first = sorted((scenes / "train").iterdir())[0]
    shutil.copytree(first, root / "train" / first.name)
    return root


@pytest.fixture
def small(dataset):
    net = create(
        "cam",
        classes=len(dataset.classes),
        frozen_stages=3,
        generator=torch.Generator().manual_seed(0),
        **vars(SMALL),
    )
    return net.eval()


def key(root, chosen=None, stages=2, size=SIZE):
    return cache_stem(root, open_dataset(root, split="train"), chosen or config(), stages, size)


def files(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_the_key_knows_image_bytes_and_which_images(scene):
    before = key(scene)
    assert key(scene) == before
    picture = sorted(scene.rglob("rgb/*.png"))[0]
    pixels = np.array(Image.open(picture))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    changed = key(scene)
    assert changed != before
    scenes = scene / "train"
    first = next(scenes.iterdir())
    shutil.copytree(first, scenes / "000099")
    assert key(scene) not in (before, changed)


@pytest.mark.parametrize(
    "change",
    [
        {"size": (64, 80)},
        {"stages": 3},
        {"chosen": config(model=ModelConfig(backbone="test_resnet", pretrained=False))},
        {"chosen": config(model=replace(SMALL, output_stride=8))},
        {"chosen": config(model=replace(SMALL, pretrained=True))},
        {"chosen": config(seed=1)},  # draws an untrained backbone
    ],
)
def test_the_key_knows_the_network_and_the_size(change, scene):
    assert key(scene, **change) != key(scene)


def test_the_key_does_not_know_the_seed_of_a_pretrained_backbone_nor_the_losses(scene):
    plain = config(model=ModelConfig())
    for other in (replace(plain, seed=1), replace(plain, losses="none"), replace(plain, workers=3)):
        assert key(scene, other) == key(scene, plain)


def test_the_key_knows_the_weights_file_s_content_not_its_name(scene, tmp_path):
    one, two = tmp_path / "one.pth", tmp_path / "two.pth"
    one.write_bytes(b"1234")
    two.write_bytes(b"1234")
    model = replace(SMALL, pretrained=True, weights=str(one))
    before = key(scene, config(model=model))
    assert key(scene, config(model=replace(model, weights=str(two)))) == before
    times = one.stat().st_atime_ns, one.stat().st_mtime_ns
    one.write_bytes(b"1235")
    os.utime(one, ns=times)
    assert key(scene, config(model=model)) != before


def test_the_key_does_not_know_depth_masks_or_tags(scene):
    before = key(scene)
    for file in (*scene.rglob("depth/*.png"), *scene.rglob("mask_visib/*.png")):
        file.unlink()
    for file in scene.rglob("scene_gt_info.json"):
        content = json.loads(file.read_text())
        for entry in (entry for entries in content.values() for entry in entries):
            entry["visib_fract"] = 0.0
        file.write_text(json.dumps(content))
    assert not any(open_dataset(scene).tags(0))
    assert key(scene) == before


def test_features_are_the_frozen_stages_of_the_image_and_of_its_mirror_image(
    dataset, small, tmp_path
):
    parts = build_features(tmp_path / "f", dataset, small, SIZE)
    assert list(parts) == ["features.0.x"]
    found = parts["features.0.x"]
    assert found.shape[:2] == (len(dataset), 2)
    assert found.dtype == np.float16
    image = dataset.image(4)[None].float() / 255
    with torch.no_grad():
        for side, picture in enumerate((image, image.flip(-1))):
            wanted = small.encode(picture)["x"][0].numpy()
            np.testing.assert_allclose(found[4, side], wanted, rtol=2e-3, atol=2e-3)
    assert not np.allclose(found[4, 0], found[4, 1], atol=1e-2)


def test_features_are_computed_once(dataset, small, tmp_path, monkeypatch):
    first = np.array(build_features(tmp_path / "f", dataset, small, SIZE)[X])
    monkeypatch.setattr(cache, "_write_features", None)
    assert np.array_equal(build_features(tmp_path / "f", dataset, small, SIZE)[X], first)
    assert files(tmp_path) == ["f-0.x.npy"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_an_interrupted_build_leaves_no_file_and_the_network_in_its_mode(
    error, dataset, small, tmp_path
):
    class Broken:
        def __getattr__(self, name):
            return getattr(dataset, name)

        def __len__(self):
            return len(dataset)

        def image(self, index):
            if index == 5:
                raise error("stop")
            return dataset.image(index)

    small.train()
    with pytest.raises(error):
        build_features(tmp_path / "f", Broken(), small, SIZE)
    assert files(tmp_path) == []
    assert small.training


def test_what_a_killed_build_left_is_removed_in_time_but_not_another_s_work(
    dataset, small, tmp_path
):
    old, new, other = (
        tmp_path / f".{n}.part" for n in ("f-0.x.npy.1", "f-0.x.npy.2", "g-0.x.npy.1")
    )
    for file in (old, new, other):
        file.write_bytes(b"half")
    long_ago = time.time() - 2 * cache.STALE
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    build_features(tmp_path / "f", dataset, small, SIZE)
    assert files(tmp_path) == sorted([new.name, other.name, "f-0.x.npy"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: os.truncate(path, 20),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: np.save(path, np.zeros((3, 2, 1), np.float16)),
        lambda path: np.save(path, np.zeros((16, 2, 1), np.float64)),
    ],
)
def test_a_damaged_cache_is_said_and_computed_anew(damage, dataset, small, tmp_path, caplog):
    stem, path = tmp_path / "f", tmp_path / "f-0.x.npy"
    whole = np.array(build_features(stem, dataset, small, SIZE)[X])
    damage(path)
    with caplog.at_level(logging.WARNING, logger="dealseg"):
        again = build_features(stem, dataset, small, SIZE)[X]
    assert np.array_equal(again, whole)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: damaged, its features are computed anew"
    ]


@POSIX
def test_a_full_disk_is_said_at_once_in_one_line(dataset, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"no room for .* MB of cached features") as caught:
        train(dataset, tmp_path / "run", config(), cache_dir=tmp_path / "features")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "features") in str(caught.value)
    assert "--cache-dir" in str(caught.value)
    assert files(tmp_path / "features") == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["function", "support"])
def test_where_room_cannot_be_reserved_free_room_is_looked_at(
    missing, dataset, small, tmp_path, monkeypatch
):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    if missing == "function":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    assert len(build_features(tmp_path / "f", dataset, small, SIZE)[X]) == len(dataset)
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="no room"):
        build_features(tmp_path / "g", dataset, small, SIZE)
    assert files(tmp_path) == ["f-0.x.npy"]


def test_two_trainings_share_features_beside_the_runs(dataset, trained, tmp_path):
    for losses in ("deal", "none"):
        train(dataset, tmp_path / losses, config(losses=losses))
    assert files(tmp_path) == [".features", "deal", "none"]
    assert len(files(tmp_path / ".features")) == 1
    assert equal(tmp_path / "deal", trained(config()))
