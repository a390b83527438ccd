import inspect
from itertools import pairwise

import pytest
import torch

from dealseg.depth import KINDS
from dealseg.errors import ConfigError
from dealseg.noise import LEVELS, MODELS, Noise, gaussian, noise_generator, parse_noise, shift


def ramp(height=48, width=64):
    depth = torch.linspace(0.6, 3.0, width).repeat(1, height, 1)
    depth[:, 12:30, 20:44] = 0.5
    return depth, depth > 0


def run(noise, depth, valid, kind="metric", seed=0):
    return noise(depth, valid, kind=kind, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("gaussian:0.02", (("gaussian", (0.02,)),)),
        ("holes:0.1", (("holes", (0.1, 4.0)),)),
        (" holes:0.1:1 , shift:-4 ", (("holes", (0.1, 1.0)), ("shift", (-4.0, 0.0)))),
        ("shift:4:2,shift:1", (("shift", (4.0, 2.0)), ("shift", (1.0, 0.0)))),
        ("offset:-0.1,scale:1e-1", (("offset", (-0.1,)), ("scale", (0.1,)))),
        ("none", ()),
        ("level:0", ()),
    ],
)
def test_a_specification_is_models_with_their_numbers_in_order(text, steps):
    assert parse_noise(text).steps == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no model ''; known: gaussian, quantise, holes, edge-holes, blur, shift, scale, off"),
        ("gausian:0.1", r"no model 'gausian'; did you mean gaussian\? known: gaussian"),
        ("holes:0.1,", "no model ''"),
        ("none,holes:0.1", "no model 'none'"),
        ("gaussian", r"'gaussian': give the deviation \(1/m\): gaussian:NUMBER"),
        ("gaussian:", "must be a number from 0 to inf, got ''"),
        ("gaussian:-1", "must be a number from 0 to inf, got '-1'"),
        ("gaussian:inf", "got 'inf'"),
        ("gaussian:nan", "got 'nan'"),
        ("holes:1.5", "share must be a number from 0 to 1, got '1.5'"),
        ("holes:0.1:0", r"patch \(pixels\) must be a number from 1"),
        ("shift:1.5", r"right \(whole pixels\) must be"),
        ("scale:-1", "must be a number from -0.99"),
        ("gaussian:1:2", r"too many numbers; expected gaussian:deviation \(1/m\)"),
        ("level:9", "'level:9': expected level:0 to level:4"),
        ("level:1,holes:0.1", "expected level:0 to level:4"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_noise(text)
    assert "\n" not in str(caught.value)


def test_models_act_in_the_order_they_are_written():
    depth, valid = ramp()
    ab = run(parse_noise("quantise:0.1,offset:0.2"), depth, valid)[0]
    ba = run(parse_noise("offset:0.2,quantise:0.1"), depth, valid)[0]
    assert not torch.allclose(ab, ba)
    by_hand = gaussian(
        *shift(depth, valid, 3), 0.1, kind="metric", generator=torch.Generator().manual_seed(5)
    )
    composed = run(parse_noise("shift:3,gaussian:0.1"), depth, valid, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(by_hand, composed, strict=True))


def test_none_is_the_identity_in_new_tensors_with_zeros_where_invalid():
    depth, valid = ramp()
    valid[:, 3, 3] = False
    noisy, kept = run(Noise(()), depth, valid)
    assert noisy[0, 3, 3] == 0
    assert noisy.data_ptr() != depth.data_ptr()
    assert torch.equal(noisy[valid], depth[valid])
    assert torch.equal(kept, valid)


def test_levels_do_ever_more_damage_and_leave_something():
    depth, valid = ramp(120, 160)
    depth[:, 10:30] += 0.4
    for kind in KINDS:
        lost, off = [], []
        for level in range(len(LEVELS)):
            noisy, kept = run(parse_noise(f"level:{level}"), depth, valid, kind)
            lost.append(int((~kept).sum()))
            off.append(float((noisy - depth)[kept].abs().median()))
        assert lost == sorted(lost)
        assert lost[0] == 0
        assert 0.2 * depth.numel() < lost[-1] < 0.5 * depth.numel()
        assert off[0] == 0
        assert all(a < b for a, b in pairwise(off[1:]))


def test_a_level_quadruples_the_noise_of_the_one_before():
    for lower, upper in pairwise(LEVELS[1:]):
        low, high = dict(parse_noise(lower).steps), dict(parse_noise(upper).steps)
        for name in ("gaussian", "quantise"):
            assert high[name][0] / low[name][0] == pytest.approx(4, rel=0.03)


def test_pixels_of_a_level_are_those_of_a_map_of_640():
    noise = parse_noise("level:4")
    only = Noise(tuple(step for step in noise.steps if step[0] == "shift"), noise.side)
    for width, pixels in ((640, 8), (1280, 16), (160, 2), (40, 0)):
        valid = run(only, *ramp(30, width))[1]
        assert int((~valid[0, 0]).sum()) == pixels


def test_the_generator_of_an_image_is_its_own_whatever_was_asked_before():
    first = [torch.rand(3, generator=noise_generator(s, i)).tolist() for s, i in _KEYS]
    again = [torch.rand(3, generator=noise_generator(s, i)).tolist() for s, i in reversed(_KEYS)]
    assert first == again[::-1]
    assert len({tuple(numbers) for numbers in first}) == len(_KEYS)


_KEYS = [(0, 0), (0, 1), (1, 0), (1, 1), (2**40, 3)]


def test_every_model_takes_the_numbers_and_the_rest_that_it_is_given():
    for model in MODELS.values():
        names = list(inspect.signature(model.function).parameters)
        assert names[:2] == ["depth", "valid"]
        assert tuple(names[2 + len(model.parameters) :]) == model.needs
        assert model.parameters[0].default is None
        assert all(parameter.default is not None for parameter in model.parameters[1:])
