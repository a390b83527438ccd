import numpy as np
import pytest
import torch
from tiny import PLAIN

from dealseg.config import AugmentConfig, DealConfig
from dealseg.data.transforms import to_size
from dealseg.errors import DataError
from dealseg.losses import DepthEdges, depth_edges, grid_size
from dealseg.training.cache import build_edges
from dealseg.training.samples import (
    CachedSamples,
    EpochSampler,
    ImageSamples,
    cached_views,
    common_size,
    required_tags,
    shuffled,
    training_sample,
)
from fakes import MemoryDataset

SIZE = (64, 64)


def images(dataset, config=AugmentConfig(), seed=0, depth_of=None):  # noqa: B008
    own = tuple(range(len(dataset)))
    return ImageSamples(dataset, SIZE, config, seed, own if depth_of is None else depth_of)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_an_epoch_takes_every_image_once_in_an_order_of_its_own():
    sampler = EpochSampler(50, seed=0)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {key[0] for key in keys} == {epoch}
        orders.append([index for _, index in keys])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1]
    assert [index for _, index in EpochSampler(50, seed=1)] != orders[0]


def test_the_order_of_an_epoch_does_not_depend_on_the_epochs_before():
    fresh, used = EpochSampler(50, seed=3), EpochSampler(50, seed=3)
    for epoch in range(5):
        used.set_epoch(epoch)
        list(used)
    fresh.set_epoch(4)
    assert list(fresh) == list(used)


@pytest.mark.parametrize("size", [1, 2, 7, 16])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_an_epoch_equally_and_step_by_step_they_see_one_process_s_batch(
    size, world
):
    shares = [list(EpochSampler(size, 0, rank, world)) for rank in range(world)]
    whole = list(EpochSampler(size, 0))
    assert (
        {len(share) for share in shares}
        == {-(-size // world)}
        == {len(EpochSampler(size, 0, 0, world))}
    )
    together = [key for step in zip(*shares, strict=True) for key in step]
    assert together[:size] == whole
    assert set(together[size:]) <= set(whole)


@pytest.mark.parametrize("count", [2, 3, 16, 101])
def test_the_control_gives_every_image_another_s_depth_once(count):
    partners = shuffled(count, seed=0)
    assert sorted(partners) == list(range(count))
    assert all(index != partner for index, partner in enumerate(partners))
    assert shuffled(count, seed=0) == partners
    assert shuffled(1, seed=0) == (0,)


def test_a_sample_depends_on_seed_epoch_and_index_alone(dataset):
    one, two = images(dataset), images(dataset)
    [two[0, index] for index in range(4)]
    assert same(one[3, 5], two[3, 5])
    for seed, epoch, index in ((1, 3, 5), (0, 4, 5), (0, 3, 6)):
        assert not torch.equal(
            images(dataset, seed=seed)[epoch, index]["image"], one[3, 5]["image"]
        )


def test_unaugmented_samples_are_what_the_data_set_has(dataset):
    found, wanted = images(dataset, PLAIN)[7, 3], to_size(training_sample(dataset, 3), SIZE)
    assert set(found) == {"image", "tags", "depth", "valid"}
    for name in found:
        assert torch.equal(found[name], wanted[name]), name


def test_a_mirrored_image_has_mirrored_depth(dataset):
    always = AugmentConfig(scale=(1.0, 1.0), flip=1.0, colour=0.0)
    plain, mirrored = images(dataset, PLAIN)[0, 3], images(dataset, always)[0, 3]
    for name in ("image", "depth", "valid"):
        assert torch.equal(mirrored[name], plain[name].flip(-1)), name
    assert torch.equal(mirrored["tags"], plain["tags"])


def test_the_control_keeps_image_and_tags_and_takes_the_other_s_depth(dataset):
    partners = shuffled(len(dataset), seed=0)
    control, own = images(dataset, PLAIN, depth_of=partners), images(dataset, PLAIN)
    found, mine, other = control[0, 3], own[0, 3], own[0, partners[3]]
    for name, wanted in (("image", mine), ("tags", mine), ("depth", other), ("valid", other)):
        assert torch.equal(found[name], wanted[name]), name
    assert not torch.equal(other["depth"], mine["depth"])


def test_edges_of_a_mirrored_sample_are_the_mirrored_depth_s_edges(dataset):
    deal = DealConfig(cells=16)
    edges = build_edges(dataset, deal, SIZE, range(len(dataset)))
    features = {"features.0.x": np.zeros((len(dataset), 2, 1), np.float16)}
    tags = torch.zeros(len(dataset), 1)
    mirrored = CachedSamples(features, tags, edges, None, flip=1.0, seed=0)
    for index in (0, 7):
        sample = to_size(training_sample(dataset, index), SIZE)
        wanted = depth_edges(
            sample["depth"].flip(-1)[None], sample["valid"].flip(-1)[None], size=(16, 16)
        )
        found = mirrored[0, index]
        assert torch.equal(found["edges_valid"], wanted.valid[0])
        torch.testing.assert_close(found["edges"].float(), wanted.strength[0], rtol=0, atol=1e-3)
        assert not torch.equal(found["edges"], found["edges"].flip(-1))


def test_features_edges_and_colours_are_mirrored_together_and_as_often_as_asked():
    count = 8
    part = np.arange(2, dtype=np.float16)[None, :, None].repeat(count, 0)
    features = {"features.0.x": part, "features.1.x": part, "features.1.y": part}
    colours = torch.tensor([0, 1], dtype=torch.uint8).expand(count, 3, 1, 2)
    strength = torch.tensor([0.0, 1.0]).expand(count, 1, 1, 2)
    edges = DepthEdges(strength, strength > 0)
    seen = []
    for flip in (0.0, 0.5, 1.0):
        samples = CachedSamples(features, torch.zeros(count, 1), edges, colours, flip, seed=0)
        found = [samples[epoch, index] for epoch in range(50) for index in range(count)]
        for sample in found:
            (first, second) = cached_views(sample, 2)
            mirrored = float(first["x"])
            assert mirrored == float(second["x"]) == float(second["y"])
            assert sample["colours"][0, 0, 0] == mirrored
            assert sample["edges"][0, 0, 0] == mirrored
            assert bool(sample["edges_valid"][0, 0, 0]) == bool(mirrored)
        seen.append(np.mean([float(sample["features.0.x"]) for sample in found]))
    assert seen[0] == 0
    assert seen[2] == 1
    assert abs(seen[1] - 0.5) < 4 * 0.5 / 20  # four standard deviations of 400 draws


def test_edges_follow_the_order_they_are_asked_in(dataset):
    deal, order = DealConfig(cells=16), (5, 0, 9)
    some, every = (build_edges(dataset, deal, SIZE, o) for o in (order, range(len(dataset))))
    assert torch.equal(some.strength, every.strength[list(order)])
    assert some.strength.dtype == torch.float16
    assert some.strength.shape[-2:] == grid_size(*SIZE, 16)


def test_an_image_without_a_depth_file_has_no_valid_depth(dataset):
    class Flat:
        def __getattr__(self, name):
            return getattr(dataset, name)

        def depth(self, _):
            return None

    sample = training_sample(Flat(), 0)
    assert not sample["valid"].any()
    assert sample["depth"].shape == (1, *sample["image"].shape[-2:])
    assert "depth" not in training_sample(dataset, 0, depth=False)
    assert "mask" not in training_sample(dataset, 0)


def test_an_image_without_tags_is_named(dataset):
    class Untagged:
        def __getattr__(self, name):
            return getattr(dataset, name)

        def tags(self, _):
            return None

    with pytest.raises(DataError, match="has no tags") as caught:
        required_tags(Untagged(), 3)
    assert str(dataset.image_path(3)) in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(480, 640)] * 3, (48, 64)),
        ([(640, 480)] * 3, (64, 48)),
        ([(500, 500)] * 3, (64, 64)),
        ([(480, 640), (480, 640), (640, 480)], (48, 64)),
        ([(100, 1000)], (32, 64)),  # never less than 32 pixels
    ],
)
def test_the_common_size_has_the_median_aspect(shapes, expected):
    pictures = MemoryDataset([torch.zeros(*shape, dtype=torch.uint8) for shape in shapes])
    assert common_size(pictures, 64) == expected
