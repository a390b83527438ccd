"""The mean field against every pair of pixels, and against pydensecrf2.

`goldens/crf.npz` holds what pydensecrf2 1.1 gave; `goldens/crf.py` says how and makes it again.
Where pydensecrf2 is installed, it is asked again on other pictures.
"""

import math

import numpy as np
import pytest
import torch
from scenes import scene

from dealseg.refine import crf, mean_field
from goldens.crf import FILE, SETTINGS, peer
from goldens.crf import scene as golden_scene
from oracles import refine as oracle


class ExactLattice:
    """The Gaussian of every pair in place of the lattice."""

    def __init__(self, features):
        self.kernel = oracle.gaussian(features)

    def filter(self, values):
        return self.kernel @ values


@pytest.fixture
def _exact(monkeypatch):
    monkeypatch.setattr(crf, "build_lattice", ExactLattice)


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("kind", ["colour", "depth", "some depth"])
@pytest.mark.parametrize("iterations", [1, 4])
def test_with_the_exact_kernel_it_equals_the_sum_over_all_pairs(kind, iterations):
    p, image, depth, valid = scene(1)
    valid = valid if kind == "some depth" else torch.ones_like(valid)
    options = {"smooth": (2.0, 1.5), "bilateral": (5.0, 6.0, 40.0), "depth_bilateral": (70.0, 0.7)}
    options["iterations"] = iterations
    more = () if kind == "colour" else (depth, valid)
    found = mean_field(p, image, *more, stride=1, **options)
    for i in range(2):
        own = (None, None) if kind == "colour" else (depth[i, 0], valid[i, 0])
        expected = oracle.mean_field(p[i], image[i], *own, **options)
        torch.testing.assert_close(found[i], expected, atol=1e-10, rtol=0)


@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("stride", [1, 2])
def test_one_depth_everywhere_leaves_the_deviation_of_colour_beside_depth(stride):
    p, image, depth, valid = scene(2)
    flat, more = torch.full_like(depth, 0.3), {"depth_bilateral": (20.0, 0.5), "stride": stride}
    expected = mean_field(p, image, bilateral=(4.0, 50.0, 20.0), stride=stride)
    torch.testing.assert_close(mean_field(p, image, flat, **more), expected, atol=1e-9, rtol=0)
    apart = mean_field(p, image, flat, valid, **more)
    assert not torch.allclose(apart, expected, atol=1e-3)


@pytest.mark.usefixtures("_exact")
def test_cells_of_one_look_change_nothing_inside_them():
    """Pictures that are constant on every cell have the same mean field on cells as on pixels."""
    p, image, depth, valid = (
        each.repeat_interleave(3, -1).repeat_interleave(3, -2) for each in scene(2)
    )
    options = {"smooth": (0.0, 1.0), "bilateral": (5.0, 1e6, 40.0)}
    found = mean_field(p, image, depth, valid, stride=3, **options)
    exact = mean_field(p, image, depth, valid, stride=1, **options)
    inside = (slice(None), slice(None), slice(1, None, 3), slice(1, None, 3))
    assert (found[inside] - exact[inside]).abs().mean() < 0.02


@pytest.mark.parametrize("kind", ["colour", "depth", "some depth"])
def test_with_the_lattice_it_is_near_the_sum_over_all_pairs(kind):
    p, image, depth, valid = scene(3, (20, 27))
    valid = valid if kind == "some depth" else torch.ones_like(valid)
    options = {"bilateral": (3.0, 20.0, 20.0)}
    more = () if kind == "colour" else (depth, valid)
    found = mean_field(p, image, *more, stride=1, **options)
    for i in range(2):
        own = (None, None) if kind == "colour" else (depth[i, 0], valid[i, 0])
        expected = oracle.mean_field(p[i], image[i], *own, **options)
        assert (found[i] - expected).abs().mean() < 0.04
        assert (found[i].argmax(0) == expected.argmax(0)).float().mean() > 0.9


def tensors(image, probabilities):
    return torch.from_numpy(probabilities)[None], torch.from_numpy(image).permute(2, 0, 1)[
        None
    ] / 255


def agreement(found, expected):
    """Return the share of pixels with the same label and the mean step of probabilities."""
    expected = torch.as_tensor(expected)[None]
    same = (found.argmax(1) == expected.argmax(1)).float().mean()
    return float(same), float((found - expected).abs().mean())


@pytest.mark.parametrize("name", list(SETTINGS))
def test_agrees_with_what_pydensecrf_gave(name):
    with np.load(FILE) as golden:
        p, image = tensors(golden["image"], golden["probabilities"])
        expected = golden[f"q_{name}"]
    same, step = agreement(mean_field(p, image, stride=1, **SETTINGS[name]), expected)
    # one kernel is their lattice, the other is exact in ours
    assert same >= (1.0 if name == "alike" else 0.998)
    assert step < (1e-5 if name == "alike" else 2e-3)
    assert agreement(p, expected)[0] < 0.98


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.parametrize("size", [(33, 42), (60, 47)], ids=str)
def test_agrees_with_pydensecrf_where_it_is_installed(name, size):
    pytest.importorskip("pydensecrf")
    image, probabilities = golden_scene(*size, seed=5)
    expected = peer(image, probabilities, **SETTINGS[name])
    found = mean_field(*tensors(image, probabilities), stride=1, **SETTINGS[name])
    same, step = agreement(found, expected)
    assert same >= (1.0 if name == "alike" else 0.998)
    assert step < (1e-5 if name == "alike" else 2e-3)


def test_cells_stay_near_the_pixels():
    p, image = tensors(*golden_scene(90, 120))
    exact = mean_field(p, image, stride=1)
    for stride, enough in ((2, 0.98), (4, 0.96)):
        same, _ = agreement(mean_field(p, image, stride=stride), exact[0])
        assert same >= enough


def test_a_class_that_is_nowhere_stays_so_and_changes_nothing():
    p, image, depth, valid = scene(6)
    found = mean_field(torch.cat([p, 0 * p[:, :1]], dim=1), image, depth, valid)
    assert torch.equal(found[:, -1], torch.zeros_like(found[:, -1]))
    torch.testing.assert_close(found[:, :-1], mean_field(p, image, depth, valid))


def test_without_weights_nothing_changes_and_equal_probabilities_stay_equal():
    p, image, depth, valid = scene(7)
    found = mean_field(p, image, depth, valid, smooth=(0, 1.0), bilateral=(0, 1.0, 1.0))
    torch.testing.assert_close(found, p)
    equal = torch.full_like(p, 1 / 3)
    torch.testing.assert_close(mean_field(equal, image, depth, valid), equal)


def test_classes_may_come_in_any_order():
    p, image, depth, valid = scene(8)
    order = [2, 0, 1]
    found = mean_field(p[:, order], image, depth, valid)
    torch.testing.assert_close(found, mean_field(p, image, depth, valid)[:, order])


def test_finite_for_sure_probabilities_and_large_weights():
    p, image, depth, valid = scene(9, dtype=torch.float32)
    sure = torch.nn.functional.one_hot(p.argmax(1), 3).permute(0, 3, 1, 2).float()
    found = mean_field(sure, image, depth, valid, bilateral=(1e4, 50.0, 5.0))
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"stride": 0}, "stride must be >= 1 pixel, got 0"),
        ({"smooth": (-1.0, 3.0)}, r"smooth must be a weight >= 0 and deviations > 0, got \(-1"),
        ({"bilateral": (1.0, 0.0, 3.0)}, "bilateral must be a weight >= 0 and deviations > 0"),
        ({"bilateral": (1.0, 3.0, math.nan)}, "bilateral must be a weight"),
        ({"depth_bilateral": (0.0, 1.0)}, r"depth_bilateral must be deviations > 0, got \(0.0, 1"),
    ],
)
def test_options_that_cannot_work_are_named(option, message):
    p, image, *_ = scene()
    with pytest.raises(ValueError, match=message):
        mean_field(p, image, **option)


def test_an_image_of_zeros_is_refused():
    p, image, *_ = scene()
    p[1] = 0
    with pytest.raises(ValueError, match="probabilities of image 1 are 0 in every channel"):
        mean_field(p, image)
