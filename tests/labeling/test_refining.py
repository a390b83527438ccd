import pytest
import torch
from make_folder import write_folder

from dealseg.cam import lead, threshold_mask
from dealseg.data import open_dataset
from dealseg.depth import to_space
from dealseg.errors import ConfigError, DataError
from dealseg.labeling import LabelOptions, class_maps, score_dataset, score_image
from dealseg.labeling.refining import guide_of, refined
from dealseg.refine import LONG_SIDES, METHODS, class_probabilities
from fake_networks import ColourCam, fake_run
from fakes import MemoryDataset

TAGS = torch.tensor([1.0, 0.0, 1.0])


def picture(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (255 * smooth[0]).round().to(torch.uint8)


def options(refine, **more):
    return LabelOptions(**{"refine": refine, "scales": (1.0,), "threshold": 0.3, **more})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_dataset(write_folder(tmp_path_factory.mktemp("data") / "set"))


@pytest.mark.parametrize("refine", ["affinity", "crf"])
@torch.no_grad()
def test_a_refined_mask_is_the_argmax_of_the_refined_probabilities(refine):
    image, chosen = picture((24, 32)), options(refine)
    model = ColourCam()
    maps = class_maps(model, image, TAGS, long_side=48, options=chosen).maps[None]
    votes = METHODS[refine](class_probabilities(maps, 0.3), image[None] / 255)[0]
    expected = torch.tensor([0, 1, 3])[votes.argmax(0)]
    found = score_image(model, image, TAGS, long_side=48, options=chosen)
    assert torch.equal(threshold_mask(found.winner, found.score, 0.3).long(), expected)
    torch.testing.assert_close(found.lead, lead(votes))
    plain = score_image(model, image, TAGS, long_side=48, options=options("none"))
    mask = threshold_mask(plain.winner, plain.score, 0.3)
    assert 0 < (mask != expected).float().mean() < 0.5
    assert found.confidence != plain.confidence


@torch.no_grad()
def test_depth_of_the_data_guides_the_refinement_as_inverse_depth(data):
    chosen = options("crf")
    guide = guide_of(data, 0, chosen)
    depth, valid = data.depth(0)
    assert torch.equal(guide.depth, to_space(depth, valid, "inverse", "metric"))
    assert torch.equal(guide.valid, valid)
    assert not bool(valid.all())
    maps = torch.rand(2, 24, 32, generator=torch.Generator().manual_seed(0))
    image = data.image(0)
    votes = refined(maps, image, guide, chosen)
    along = (guide.depth[None], guide.valid[None])
    given = class_probabilities(maps[None], 0.3)
    torch.testing.assert_close(votes, METHODS["crf"](given, image[None] / 255, *along)[0])
    assert not torch.allclose(votes, refined(maps, image, None, chosen), atol=1e-3)


def test_depth_is_only_read_where_refinement_may_use_it(data, monkeypatch):
    monkeypatch.setattr(type(data), "depth", lambda *_: pytest.fail("depth was read"))
    assert guide_of(data, 0, options("none")) is None
    assert guide_of(data, 0, options("crf", refine_depth=False)) is None


class Unmeasured(MemoryDataset):
    def depth(self, index):
        return torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)


@pytest.mark.parametrize("kind", [MemoryDataset, Unmeasured])
def test_an_image_without_depth_is_refined_by_colour_unless_the_user_insists(kind):
    images = kind([torch.zeros(4, 4, dtype=torch.uint8)], tag_rows=[torch.ones(3)])
    run = fake_run(images.classes)
    ((_, found),) = score_dataset(run, images, options("affinity"))
    assert not found.with_depth
    with pytest.raises(DataError, match=r"000000\.png: has no depth .*--refine_depth auto"):
        list(score_dataset(run, images, options("affinity", refine_depth=True)))


@pytest.mark.parametrize("refine", ["affinity", "crf"])
@pytest.mark.parametrize("shape", [(1.0, 0.5), (0.25, 1.0)], ids=["wide", "high"])
def test_larger_images_are_refined_at_a_smaller_size_and_brought_back(refine, shape, monkeypatch):
    sizes, method = [], METHODS[refine]
    monkeypatch.setitem(LONG_SIDES, refine, 40)

    def recorded(given, image, *along):
        sizes.append((given.shape[1:], image.shape[1:], *(each.shape[1:] for each in along)))
        return method(given, image, *along)

    monkeypatch.setitem(METHODS, refine, recorded)
    width, height = (round(100 * side) for side in shape)
    small = tuple(round(40 * side) for side in shape[::-1])
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0))
    votes = refined(maps, picture((height, width)), None, options(refine))
    assert sizes == [((3, *small), (3, *small))]
    assert votes.shape == (3, height, width)
    torch.testing.assert_close(votes.sum(0), torch.ones(height, width))


def test_images_without_classes_need_no_refinement():
    found = score_image(
        ColourCam(), picture((5, 7)), 0 * TAGS, long_side=48, options=options("crf")
    )
    assert not found.score.any()
    assert torch.equal(found.lead, torch.ones(5, 7))  # nothing else may be there
    assert found.confidence == 1


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_refinement_needs_a_threshold_that_weighs_something(threshold):
    with pytest.raises(ConfigError, match="above 0 and below 1 for refinement"):
        options("crf", threshold=threshold)
    options("none", threshold=threshold)
