import pytest
import torch
from make_bop import write_scene
from make_folder import scene

from dealseg.data import RgbdDataset, open_dataset
from dealseg.data.noisy import NoisyDepth
from dealseg.noise import noise_generator, parse_noise

NOISE = parse_noise("gaussian:0.05,holes:0.2")


@pytest.fixture
def clean(tmp_path):
    folder = write_scene(tmp_path / "000001", (5, 9))
    (folder / "depth/000015.png").unlink()
    return open_dataset(folder)


def test_all_but_depth_is_that_of_the_data_set(clean):
    noisy = NoisyDepth(clean, NOISE, seed=0)
    assert isinstance(noisy, RgbdDataset)
    assert len(noisy) == len(clean)
    for name in ("root", "classes", "names", "depth_info"):
        assert getattr(noisy, name) == getattr(clean, name)
    for index in range(len(clean)):
        assert noisy.image_path(index) == clean.image_path(index)
        for part in ("image", "tags", "mask"):
            assert torch.equal(getattr(noisy, part)(index), getattr(clean, part)(index))
    assert noisy.depth(2) is None


def test_depth_has_the_noise_of_its_seed_and_index_whenever_it_is_read(clean):
    noisy = NoisyDepth(clean, NOISE, seed=3)
    for index in (1, 0, 1):
        expected = NOISE(*clean.depth(index), kind="metric", generator=noise_generator(3, index))
        assert all(torch.equal(a, b) for a, b in zip(noisy.depth(index), expected, strict=True))
    assert not torch.equal(noisy.depth(0)[0], clean.depth(0)[0])
    assert not torch.equal(noisy.depth(0)[0], NoisyDepth(clean, NOISE, seed=4).depth(0)[0])


def test_noise_knows_what_kind_of_depth_it_acts_on(tmp_path):
    folder = write_scene(tmp_path / "000001", (5,))
    metric = NoisyDepth(open_dataset(folder), parse_noise("offset:0.5"), seed=0)
    depth, valid = metric.depth(0)
    before = torch.from_numpy(scene(0)[1])
    assert torch.allclose(depth[valid].double(), before[valid[0]] + 0.5, atol=1e-4)
    (folder / "dataset.yaml").write_text("depth: {kind: disparity}")
    values, valid = open_dataset(folder).depth(0)
    moved, kept = NoisyDepth(open_dataset(folder), parse_noise("offset:0.5"), 0).depth(0)
    assert torch.allclose(moved[kept], values[kept] + 0.5 * values[valid].median())
