import json
import shutil

import numpy as np
import pytest
import torch
from make_bop import IDS, dump, quarter, write_bop, write_onboarding, write_scene
from make_folder import SIZE, save, scene

from dealseg.data import DepthInfo, RgbdDataset, check_dataset, open_dataset, training_split
from dealseg.errors import DataError


@pytest.fixture
def root(tmp_path):
    return write_bop(tmp_path / "tabletop")


def tags(dataset):
    rows = [dataset.tags(index) for index in range(len(dataset))]
    return [None if row is None else [int(y) for y in row] for row in rows]


def edit(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_a_root_gives_every_frame_by_its_own_id(root):
    dataset = open_dataset(root)
    assert isinstance(dataset, RgbdDataset)
    scenes = ("train/000003", "train/000004", "val/000001")
    assert dataset.names == tuple(f"{scene}/{image_id:06d}" for scene in scenes for image_id in IDS)
    assert dataset.classes == ("obj_000002", "obj_000005", "obj_000009")
    assert tags(dataset) == [[0, 1, 1]] * 3 + [[0, 0, 1]] * 3 + [[1, 1, 0]] * 3
    assert dataset.image_path(1) == root / "train/000003/rgb/000008.png"


def test_images_depth_and_masks_come_back_in_rgb_metres_and_classes(root):
    dataset = open_dataset(root)
    image, metres, _ = scene(IDS[2])
    assert dataset.image(2).permute(1, 2, 0).tolist() == image.tolist()
    depth, valid = dataset.depth(2)
    assert torch.equal(valid[0], torch.from_numpy(metres > 0))
    assert torch.allclose(depth[0].double(), torch.from_numpy(metres), atol=6e-5)
    assert dataset.depth_info == DepthInfo("mm", 0.1, "metric")
    expected = np.where(quarter(0), 2, np.where(quarter(1), 3, 0))
    assert dataset.mask(2).tolist() == expected.tolist()


def test_depth_scale_is_that_of_the_frame(tmp_path):
    folder = write_scene(tmp_path / "000001", scale=1.0)
    edit(folder / "scene_camera.json", lambda d: d["8"].update(depth_scale=0.5))
    dataset = open_dataset(folder)
    first, second = dataset.depth(0)[0].max(), dataset.depth(1)[0].max()
    assert second / first == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("below", "names"),
    [
        (".", "tabletop/train/000003/000008"),
        ("tabletop", "train/000003/000008"),
        ("tabletop/train", "000003/000008"),
        ("tabletop/train/000003", "000008"),
    ],
)
def test_root_split_and_scene_give_the_same_classes_and_values(root, below, names):
    dataset = open_dataset(root.parent / below)
    index = dataset.names.index(names)
    assert dataset.classes == ("obj_000002", "obj_000005", "obj_000009")
    assert tags(dataset)[index] == [0, 1, 1]
    assert dataset.mask(index).unique().tolist() == [0, 2, 3]


def test_a_split_is_chosen_by_the_beginning_of_its_folder(root):
    (root / "train").rename(root / "train_pbr")
    train, val = open_dataset(root, split="train"), open_dataset(root, split="val")
    assert {name.split("/")[0] for name in train.names} == {"train_pbr"}
    assert val.names == tuple(f"val/000001/{image_id:06d}" for image_id in IDS)
    assert train.classes == val.classes
    with pytest.raises(DataError, match="there is no split 'test'; there are: train_pbr, val"):
        open_dataset(root, split="test")


def test_a_split_file_lists_images_and_scenes(root):
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("val/000001\r\ntrain/000003/000008\r\n")
    dataset = open_dataset(root, split="train")
    assert dataset.names == ("train/000003/000008", *(f"val/000001/{i:06d}" for i in IDS))
    (root / "splits/train.txt").write_text("train/000003\ntrain/00000\n")
    with pytest.raises(DataError, match=r"train\.txt: there is no image or scene 'train/00000'"):
        open_dataset(root, split="train")


@pytest.mark.parametrize(
    "nest", [".", "onboarding_static", "hope/hope_onboarding_static/onboarding_static"]
)
def test_onboarding_folders_are_found_in_nested_roots(tmp_path, nest):
    write_onboarding(tmp_path / nest, depth=None)
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 4 * len(IDS)
    assert dataset.classes == ("obj_000001", "obj_000002")
    assert dataset.names[0].endswith("obj_000001_down/000000")
    assert dataset.image_path(0).suffix == ".jpg"
    assert dataset.depth(0) is None
    assert tags(dataset) == [[1, 0]] * 6 + [[0, 1]] * 6
    assert dataset.mask(11).unique().tolist() == [0, 2]


def test_onboarding_sides_are_splits(tmp_path):
    write_onboarding(tmp_path / "onboarding_static")
    up = open_dataset(tmp_path, split="up")
    assert {name.split("/")[1] for name in up.names} == {"obj_000001_up", "obj_000002_up"}
    assert up.classes == open_dataset(tmp_path, split="down").classes
    with pytest.raises(DataError, match=r"there is no split 'left'; there are: .*down.* up"):
        open_dataset(tmp_path, split="left")


def test_an_onboarding_folder_needs_no_json(tmp_path):
    write_onboarding(tmp_path, depth=None)
    for file in tmp_path.rglob("*.json"):
        file.unlink()
    dataset = open_dataset(tmp_path)
    assert [name.split("/")[1] for name in dataset.names[:3]] == [f"{i:06d}" for i in IDS]
    assert tags(dataset)[0] == [1, 0]
    assert dataset.mask(0).unique().tolist() == [0, 1]


def test_an_onboarded_object_is_tagged_however_little_of_it_is_seen(tmp_path):
    write_onboarding(tmp_path, visible=(0.01,))
    assert tags(open_dataset(tmp_path))[0] == [1, 0]


@pytest.mark.parametrize("depth_folder", ["depth", "depth_estimate"])
def test_the_depth_folder_can_be_chosen(tmp_path, depth_folder):
    write_scene(tmp_path / "000001", depth=depth_folder)
    dataset = open_dataset(tmp_path, depth_folder=depth_folder)
    assert dataset.depth(0)[0].max() == pytest.approx(scene()[1].max(), abs=6e-5)
    if depth_folder != "depth":
        assert open_dataset(tmp_path).depth(0) is None
    with pytest.raises(DataError, match="no scene has a depth file in typo/"):
        open_dataset(tmp_path, depth_folder="typo")


def test_gzipped_json_reads_the_same(tmp_path):
    plain = open_dataset(write_scene(tmp_path / "a/000001", (5, 9)))
    zipped = open_dataset(write_scene(tmp_path / "b/000001", (5, 9), zipped=True))
    assert not list((tmp_path / "b").rglob("*.json"))
    assert (plain.names, plain.classes, tags(plain)) == (zipped.names, zipped.classes, tags(zipped))
    assert torch.equal(plain.depth(1)[0], zipped.depth(1)[0])


def test_grey_tif_images_become_rgb(tmp_path):
    dataset = open_dataset(write_scene(tmp_path / "000001", rgb="gray/{:06d}.tif"))
    assert dataset.image(0)[1].tolist() == scene()[0][..., 0].tolist()


def test_objects_barely_visible_give_no_tag_but_stay_in_the_mask(tmp_path):
    folder = write_scene(tmp_path / "000001", (5, 9, 5, 7), visible=(0.05, 0.1, 0.0, 0.02))
    (folder / "mask_visib/000000_000002.png").unlink()  # nothing of it is visible
    dataset = open_dataset(folder)
    assert dataset.classes == ("obj_000005", "obj_000007", "obj_000009")
    assert tags(dataset)[0] == [0, 0, 1]
    assert dataset.mask(0).unique().tolist() == [0, 1, 2, 3]
    assert tags(open_dataset(folder, min_visible=0.0))[0] == [1, 1, 1]
    (folder / "scene_gt_info.json").unlink()
    assert tags(open_dataset(folder))[0] == [1, 1, 1]


def test_frames_without_objects_are_background_and_without_entry_untagged(tmp_path):
    folder = write_scene(tmp_path / "000001", (5,))
    for name in ("scene_gt.json", "scene_gt_info.json"):
        edit(folder / name, lambda d: (d.update({"0": []}), d.pop("15")))
    dataset = open_dataset(folder)
    assert tags(dataset) == [[0], [1], None]
    assert dataset.mask(0).unique().tolist() == [0]
    assert dataset.mask(2) is None


def test_names_of_classes_come_from_a_description_above(root):
    (root / "dataset.yaml").write_text("classes: {5: mug, 9: bowl, 2: spoon, 77: fork}")
    for path in (root, root / "train", root / "train/000003"):
        dataset = open_dataset(path)
        assert dataset.classes == ("spoon", "mug", "bowl", "fork")
        assert tags(dataset)[0] == [0, 1, 1, 0]
        assert dataset.mask(0).unique().tolist() == [0, 2, 3]


def test_a_list_of_classes_names_the_objects_from_1(tmp_path):
    root = write_onboarding(tmp_path, (1, 2))
    (root / "dataset.yaml").write_text("classes: [ketchup, mustard]")
    assert open_dataset(root).classes == ("ketchup", "mustard")
    (root / "dataset.yaml").write_text("classes: [ketchup]")
    with pytest.raises(
        DataError, match=r"obj_000002_down: obj_id 2 is not in the classes of .*yaml"
    ):
        open_dataset(root)


def test_a_description_of_depth_overrides_depth_scale(root):
    (root / "dataset.yaml").write_text("depth: {kind: relative, scale: 2}")
    dataset = open_dataset(root)
    assert dataset.depth_info == DepthInfo("1", 2.0, "relative")
    assert dataset.depth(0)[0].max() == pytest.approx(2 * 10_000 * scene()[1].max(), rel=1e-4)


def test_depth_without_depth_scale_is_refused_unless_described(root):
    file = root / "val/000001/scene_camera.json"
    edit(file, lambda d: d["8"].pop("depth_scale"))
    with pytest.raises(DataError, match=r"scene_camera\.json: image 8 has no depth_scale"):
        open_dataset(root)
    (root / "dataset.yaml").write_text("depth: {unit: mm, scale: 0.1}")
    assert len(open_dataset(root)) == 9


def test_the_later_instance_wins_where_masks_overlap(tmp_path):
    folder = write_scene(tmp_path / "000001", (5, 9))
    save(folder / "mask_visib/000000_000001.png", np.full(SIZE, 255, np.uint8))
    assert open_dataset(folder).mask(0).unique().tolist() == [2]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda s: (s / "rgb/000008.png").unlink(), r"rgb: there is no image 000008, which the"),
        (lambda s: (s / "scene_gt.json").write_text("{"), r"scene_gt\.json: cannot read this JSON"),
        (lambda s: (s / "scene_gt.json").write_text("[]"), "expected one list for each image id"),
        (lambda s: (s / "scene_gt.json").write_text('{"0": {}}'), "expected one list for each"),
        (lambda s: (s / "scene_gt.json").write_text('{"x": []}'), "cannot read this BOP file"),
        (lambda s: (s / "scene_gt.json").write_text('{"-1": []}'), "must not be negative, got -1"),
        (lambda s: dump(s / "scene_gt.json", {"0": [{}]}), "lacks the entry 'obj_id'"),
        (lambda s: dump(s / "scene_gt.json", {"0": [5]}), "cannot read this BOP file"),
        (lambda s: dump(s / "scene_gt.json", {"0": [{"obj_id": "5"}]}), "obj_id must be a whole"),
        (lambda s: dump(s / "scene_gt_info.json", {"0": []}), "1 objects, in scene_gt_info 0"),
        (lambda s: dump(s / "scene_camera.json", {"0": {"depth_scale": 0}}), "must be above 0"),
        (lambda s: dump(s / "scene_camera.json", {"0": {"depth_scale": None}}), "cannot read"),
        (lambda s: dump(s / "scene_camera.json", {}), "image 0 has no depth_scale"),
    ],
)
def test_a_scene_that_cannot_be_meant_is_refused(tmp_path, break_it, message):
    folder = write_scene(tmp_path / "000001")
    break_it(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value)


def test_a_plain_json_comes_before_a_gzipped_one(tmp_path):
    folder = write_scene(tmp_path / "000001")
    (folder / "scene_gt.json.gz").write_bytes(b"junk")
    assert len(open_dataset(folder)) == 3
    (folder / "scene_gt.json").unlink()
    with pytest.raises(DataError, match=r"scene_gt\.json\.gz: cannot read this JSON file"):
        open_dataset(folder)


def test_a_missing_or_broken_instance_mask_is_refused_when_read(tmp_path):
    folder = write_scene(tmp_path / "000001", (5, 9))
    (folder / "mask_visib/000000_000001.png").unlink()
    save(folder / "mask_visib/000008_000000.png", np.zeros((3, 3), np.uint8))
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match=r"000000_000001\.png: there is no such mask"):
        dataset.mask(0)
    with pytest.raises(
        DataError, match=r"000008_000000\.png: the mask is 3x3 but the image is 32x24"
    ):
        dataset.mask(1)
    shutil.rmtree(folder / "mask_visib")
    assert open_dataset(folder).mask(0) is None


def test_a_folder_without_scenes_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no scene here"):
        open_dataset(tmp_path, format="bop")
    (tmp_path / "000001/rgb").mkdir(parents=True)
    dump(tmp_path / "000001/scene_camera.json", {})
    with pytest.raises(DataError, match="the scenes here list no image"):
        open_dataset(tmp_path)


def test_a_link_back_to_the_root_does_not_trap_the_search(tmp_path):
    write_scene(tmp_path / "train/000001")
    (tmp_path / "train/loop").symlink_to(tmp_path, target_is_directory=True)
    assert open_dataset(tmp_path).names == tuple(f"train/000001/{i:06d}" for i in IDS)


def test_the_ids_of_the_objects_travel_with_the_data_set(root):
    assert open_dataset(root).class_ids == (2, 5, 9)
    assert open_dataset(root, split="val").class_ids == (2, 5, 9)
    assert check_dataset(root).class_ids == {"1": 2, "2": 5, "3": 9}


def test_the_ids_of_named_objects_are_those_of_the_description(root):
    (root / "dataset.yaml").write_text("classes: {9: bowl, 2: spoon, 5: mug}\n")
    dataset = open_dataset(root)
    by_name = dict(zip(dataset.classes, dataset.class_ids, strict=True))
    assert by_name == {"spoon": 2, "mug": 5, "bowl": 9}


def test_frames_are_held_out_of_onboarding_sequences_alone_where_there_are_any(tmp_path):
    write_onboarding(tmp_path / "onboarding_static", (5, 9), ids=tuple(range(5)))
    write_bop(tmp_path)
    names = [
        n for part in ("train", "val") for n in open_dataset(tmp_path, split=f"frames:{part}").names
    ]
    assert len(names) == 4 * 5
    assert all(name.startswith("onboarding_static/") for name in names)


def test_of_sequences_beside_training_images_the_split_to_train_on_has_to_be_said(tmp_path):
    write_onboarding(tmp_path / "onboarding_static", (5, 9))
    assert training_split(tmp_path) is None
    write_scene(tmp_path / "train_pbr/000000", (5, 9))
    expected = r"onboarding sequences and train_pbr.*onboarding.*frames:train.*or train"
    with pytest.raises(DataError, match=expected):
        training_split(tmp_path)
    assert len(open_dataset(tmp_path, split="onboarding")) == 4 * len(IDS)
