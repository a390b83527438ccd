import pytest
import torch
from make_bop import write_bop
from make_folder import save, scene, write_folder

from dealseg.data import check_dataset, open_dataset
from dealseg.data.depth_apart import depth_apart
from dealseg.errors import DataError


def write_apart(folder, names, rule="depth: {unit: m, scale: 0.001}"):
    """Write a depth map for each name, all 1.5 m but for a number of its own in one corner."""
    for number, name in enumerate(names):
        stored = (0 * scene()[1] + 1500).astype("uint16")
        stored[0, 0] = number + 1
        save(folder / f"{name}.png", stored)
    (folder / "depth.yaml").write_text(rule)
    return folder


@pytest.mark.parametrize("write", [write_bop, write_folder])
def test_depth_apart_is_found_by_the_names_of_the_images(tmp_path, write):
    root = write(tmp_path / "data")
    names = open_dataset(root).names
    apart = write_apart(tmp_path / "other/apart", names)
    dataset = open_dataset(root, depth_folder=str(apart))
    assert dataset.names == names
    for index in range(len(names)):
        depth, valid = dataset.depth(index)
        assert valid.all()
        assert depth[0, 0, 0] == pytest.approx((index + 1) / 1000)
        assert depth[0, 3, 3] == pytest.approx(1.5)
        assert torch.equal(dataset.image(index), open_dataset(root).image(index))
        assert torch.equal(dataset.mask(index), open_dataset(root).mask(index))


def test_images_whose_map_is_not_there_have_no_depth(tmp_path):
    root = write_bop(tmp_path / "data")
    names = open_dataset(root).names
    apart = write_apart(tmp_path / "apart", names[:2])
    dataset = open_dataset(root, depth_folder=str(apart))
    assert [dataset.depth(i) is None for i in range(4)] == [False, False, True, True]
    assert [f.name for f in dataset.frames[1:3]] == list(names[1:3])


def test_the_depth_yaml_of_the_folder_counts_and_not_the_description_of_the_set(tmp_path):
    root = write_bop(tmp_path / "data")
    (root / "dataset.yaml").write_text("depth: {unit: mm}")
    apart = write_apart(tmp_path / "apart", open_dataset(root).names, "depth: {kind: relative}")
    dataset = open_dataset(root, depth_folder=str(apart))
    assert dataset.depth_info.kind == "relative"
    assert dataset.depth(0)[0].max() == 1500


def test_a_path_counts_from_the_working_directory_after_the_data_set(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "data")
    names = open_dataset(root).names
    write_apart(tmp_path / "here/apart", names)
    monkeypatch.chdir(tmp_path / "here")
    assert open_dataset(root, depth_folder="apart").depth(0)[0].max() == pytest.approx(1.5)
    write_apart(root / "apart", names, "depth: {unit: m, scale: 0.01}")
    assert open_dataset(root, depth_folder="apart").depth(0)[0].max() == pytest.approx(15)
    write_apart(tmp_path / "here/depth", names)
    assert depth_apart(root, "depth") is None


def test_a_folder_for_another_data_set_is_refused_and_one_without_description_unknown(tmp_path):
    root = write_bop(tmp_path / "data")
    apart = write_apart(tmp_path / "apart", ["a", "b"])
    with pytest.raises(DataError, match=r"no depth map here has the name of an image, such as tr"):
        open_dataset(root, depth_folder=str(apart))
    (apart / "depth.yaml").unlink()
    with pytest.raises(DataError, match="no scene has a depth file in"):
        open_dataset(root, depth_folder="apart")


def test_the_check_looks_at_depth_apart(tmp_path):
    root = write_bop(tmp_path / "data")
    apart = write_apart(tmp_path / "apart", open_dataset(root).names)
    assert check_dataset(root, depth_folder=str(apart)).ok
    save(apart / "train/000003/000000.png", scene()[0])
    report = check_dataset(root, depth_folder=str(apart))
    assert not report.ok
    assert any("one-channel depth map" in problem.message for problem in report.problems)
