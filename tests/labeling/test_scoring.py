import itertools

import pytest
import torch

from dealseg.cam import threshold_mask
from dealseg.errors import ConfigError, DataError
from dealseg.labeling import LabelOptions, class_maps, score_dataset, score_image, scoring
from fake_networks import ColourCam, fake_run
from fakes import MemoryDataset
from oracles import cam as cam_oracle
from oracles import labels as oracle

SIZES = [(24, 32), (40, 20), (1, 1), (3, 200), (200, 3), (97, 31)]


def picture(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (255 * smooth[0]).round().to(torch.uint8)


def score(image, tags, model=None, long_side=48, **options):
    model = ColourCam() if model is None else model
    tags = None if tags is None else torch.tensor(tags)
    chosen = LabelOptions(**{"scales": (1.0, 1.5), **options})
    return score_image(model, image, tags, long_side=long_side, options=chosen)


def without_near_ties(maps):
    """True where the best class is clearly ahead of the next."""
    if len(maps) == 1:
        return torch.ones_like(maps[0], dtype=torch.bool)
    first, second = maps.sort(0, descending=True).values[:2]
    return first - second > 1e-5


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.5)], ids=str)
@pytest.mark.parametrize("flip", [True, False])
@torch.no_grad()
def test_winner_and_score_equal_the_plain_loop_over_scales_and_mirror_images(size, scales, flip):
    image, model = picture(size), ColourCam()
    tags = torch.tensor([1.0, 0.0, 1.0])
    found = score(image, tags.tolist(), model, scales=scales, flip=flip)
    assert model.calls == len(scales) * (2 if flip else 1)
    maps = oracle.scores(model, image.float(), tags, 48, scales, flip)
    winner, best = map(torch.tensor, cam_oracle.winner_and_score(maps.tolist()))
    torch.testing.assert_close(found.score, best, atol=1e-6, rtol=0)
    clear = without_near_ties(maps[tags.bool()]) & (best > 1e-5)
    assert torch.equal(found.winner[clear], winner[clear].to(torch.uint8))
    assert set(found.winner.unique().tolist()) <= {1, 3}
    assert found.winner.shape == size
    assert found.score.min() >= 0
    assert found.score.max() <= 1


@torch.no_grad()
def test_class_maps_equal_the_plain_loop_for_each_class_that_is_there():
    image, tags = picture((24, 32)), torch.tensor([1.0, 0.0, 1.0])
    chosen = LabelOptions(scales=(1.0, 1.5))
    found = class_maps(ColourCam(), image, tags, long_side=48, options=chosen)
    maps = oracle.scores(ColourCam(), image.float(), tags, 48, (1.0, 1.5), True)
    assert found.present.tolist() == [0, 2]
    torch.testing.assert_close(found.maps, maps[[0, 2]].float(), atol=1e-6, rtol=0)
    assert not found.predicted
    none = class_maps(ColourCam(), image, 0 * tags, long_side=48, options=chosen)
    assert none.maps.shape == (0, 24, 32)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tags", [[1.0, 1.0, 1.0], None], ids=["given", "predicted"])
def test_a_mirrored_image_gives_mirrored_masks(size, tags):
    image = picture(size)
    plain, mirrored = score(image, tags), score(image.flip(-1), tags)
    torch.testing.assert_close(mirrored.score, plain.score.flip(-1), atol=1e-5, rtol=0)
    clear = (plain.score - 0.4).abs() > 1e-4
    masks = [threshold_mask(each.winner, each.score, 0.4) for each in (plain, mirrored)]
    differ = (masks[0] != masks[1].flip(-1)) & clear
    assert differ.float().mean() < 0.02  # ties between classes fall by rounding
    torch.testing.assert_close(mirrored.tag_scores, plain.tag_scores)


@torch.no_grad()
def test_class_probabilities_are_those_of_the_mean_logits():
    image, model = picture((24, 32)), ColourCam()
    _, logits = oracle.summed(model, image.float(), 48, (1.0, 1.5), flip=True)
    torch.testing.assert_close(score(image, None, model).tag_scores, logits.sigmoid())


def test_predicted_tags_are_as_good_as_given_ones_and_are_said_to_be_predicted():
    image, model = picture((24, 32)), ColourCam(classes=6)
    predicted = score(image, None, model)
    likely = (predicted.tag_scores > 0.5).float()
    assert 0 < likely.sum() < 6
    given = score(image, likely.tolist(), model)
    assert torch.equal(predicted.winner, given.winner)
    assert torch.equal(predicted.score, given.score)
    assert predicted.predicted
    assert not given.predicted
    assert set(predicted.winner.unique().tolist()) <= {1 + k for k in range(6) if likely[k]}


def test_a_sterner_probability_predicts_no_class_and_all_is_background():
    found = score(picture((24, 32)), None, probability=1.0)
    assert not found.score.any()


def test_an_image_without_classes_is_all_background():
    found = score(picture((5, 7)), [0.0, 0.0, 0.0])
    assert torch.equal(found.score, torch.zeros(5, 7))
    assert not threshold_mask(found.winner, found.score, 0.0).any()


def test_a_class_whose_cam_is_nowhere_positive_is_nowhere():
    model = ColourCam()
    with torch.no_grad():
        model.mix.weight[1], model.mix.bias[1] = 0, -1
    found = score(picture((24, 32)), [0.0, 1.0, 0.0], model)
    assert not found.score.any()


def test_one_class_is_enough():
    found = score(picture((24, 32)), [1.0], ColourCam(classes=1))
    assert torch.equal(found.winner, torch.ones(24, 32, dtype=torch.uint8))
    assert found.score.max() > 0.9


def test_the_254th_class_keeps_its_number():
    model, tags = ColourCam(classes=254, seed=1), [0.0] * 253 + [1.0]
    assert score(picture((8, 8)), tags, model).winner.unique().tolist() == [254]


def test_only_the_classes_present_come_to_the_size_of_the_image(monkeypatch):
    image, shapes, resize = picture((300, 400)), [], scoring.F.interpolate

    def recorded(*arguments, **options):
        result = resize(*arguments, **options)
        shapes.append(tuple(result.shape))
        return result

    monkeypatch.setattr(scoring.F, "interpolate", recorded)
    score(image, [1.0, 1.0] + [0.0] * 198, ColourCam(classes=200))
    assert [shape[1] for shape in shapes if shape[-2:] == (300, 400)] == [2]
    assert all(shape[-1] <= 48 * 1.5 for shape in shapes if shape[-1] != 400)


def test_scoring_leaves_network_and_image_as_they_were_and_keeps_no_graph():
    image, model = picture((24, 32)), ColourCam()
    before = image.clone(), {key: value.clone() for key, value in model.state_dict().items()}
    found = score(image, [1.0, 1.0, 1.0], model)
    assert torch.equal(image, before[0])
    assert all(torch.equal(v, before[1][k]) for k, v in model.state_dict().items())
    assert not found.score.requires_grad


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"threshold": -0.1}, "threshold must be in"),
        ({"threshold": 1.1}, "threshold must be in"),
        ({"threshold": float("nan")}, "threshold must be in"),
        ({"scales": ()}, "scales must be positive"),
        ({"scales": (1.0, 0.0)}, "scales must be positive"),
        ({"scales": (float("nan"),)}, "scales must be positive"),
        ({"scales": (float("inf"),)}, "scales must be positive"),
        ({"scales": (1.0, 512.0)}, r"scales must be positive, at most 16 .*not pixels\), got"),
        ({"tags": "both"}, "tags must be"),
        ({"probability": 1.5}, "probability must be"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, named):
    with pytest.raises(ConfigError, match=named):
        LabelOptions(**options)


def dataset(tag_rows, classes=("cup", "plate")):
    masks = [torch.zeros(6, 8, dtype=torch.uint8) for _ in tag_rows]
    return MemoryDataset(masks, classes=classes, tag_rows=tag_rows)


def test_a_data_set_is_scored_lazily_and_in_the_order_asked_for():
    images = dataset([torch.tensor([1.0, 0.0])] * 1000)
    stream = score_dataset(fake_run(), images, LabelOptions(), indices=itertools.count())
    assert [index for index, _ in itertools.islice(stream, 3)] == [0, 1, 2]
    picked = score_dataset(fake_run(), images, LabelOptions(), indices=[7, 2])
    assert [index for index, _ in picked] == [7, 2]


@pytest.mark.parametrize(
    ("tags", "predicted"), [("auto", [False, True]), ("predicted", [True, True])]
)
def test_tags_come_from_where_the_options_say(tags, predicted):
    images = dataset([torch.tensor([1.0, 0.0]), None])
    found = score_dataset(fake_run(), images, LabelOptions(tags=tags))
    assert [scores.predicted for _, scores in found] == predicted


def test_insisting_on_tags_names_the_image_without():
    images = dataset([torch.tensor([1.0, 0.0]), None])
    with pytest.raises(DataError, match=r"000001\.png: has no tags; .*--tags predicted"):
        list(score_dataset(fake_run(), images, LabelOptions(tags="data")))


@pytest.mark.parametrize("classes", [("plate", "cup"), ("cup",), ("cup", "plate", "fork")])
def test_other_classes_or_another_order_are_refused(classes):
    images = dataset([None], classes)
    with pytest.raises(DataError, match=r"not those of the run .*dataset\.yaml"):
        next(score_dataset(fake_run(), images, LabelOptions()))


def test_pictures_without_any_class_list_are_fine():
    ((_, scores),) = score_dataset(fake_run(), dataset([None], ()), LabelOptions())
    assert scores.predicted
    ((_, scores),) = score_dataset(fake_run(), dataset([torch.zeros(0)], ()), LabelOptions())
    assert not scores.score.any()
