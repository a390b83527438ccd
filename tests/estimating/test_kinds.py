"""The kind of depth is what a network's own configuration says of it."""

from types import SimpleNamespace

import pytest

from dealseg.errors import ConfigError
from dealseg.estimating import Output, output_of


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("DepthAnythingConfig()", Output("relative")),
        ("DepthAnythingConfig(depth_estimation_type='metric', max_depth=80)", Output("metric", 80)),
        ("DPTConfig()", Output("relative")),  # MiDaS 3.0 and 3.1
        ("DPTConfig(add_projection=True)", Output("metric")),  # DINOv2 on NYU and KITTI
        ("GLPNConfig(max_depth=10)", Output("metric", 10)),
        ("ZoeDepthConfig()", Output("metric", 10)),
        ("DepthProConfig()", Output("metric")),
    ],
)
def test_transformers_own_configurations_are_understood(config, expected):
    transformers = pytest.importorskip("transformers", reason="needs the extra `depth`")
    assert output_of(eval(f"transformers.{config}", {"transformers": transformers})) == expected


def test_zoedepth_for_two_kinds_of_scene_reaches_as_far_as_the_farther():
    bins = [{"name": "nyu", "max_depth": 10.0}, {"name": "kitti", "max_depth": 80.0}]
    config = SimpleNamespace(model_type="zoedepth", bin_configurations=bins)
    assert output_of(config) == Output("metric", 80.0)


def test_a_configuration_from_before_depth_anything_had_types_is_relative():
    assert output_of(SimpleNamespace(model_type="depth_anything")) == Output("relative")


@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_the_user_s_word_counts_and_then_the_reach_of_another_kind_does_not(kind):
    own = SimpleNamespace(model_type="depth_anything", depth_estimation_type="metric", max_depth=20)
    assert output_of(own, kind) == Output(kind, 20 if kind == "metric" else None)
    relative = SimpleNamespace(model_type="depth_anything", max_depth=1)
    assert output_of(relative, kind) == Output(kind)
    assert output_of(SimpleNamespace(model_type="newer"), kind) == Output(kind)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("newer", "--kind metric (metres) or --kind relative"),
        ("prompt_depth_anything", "has to be given"),
        ("chmv2", "height of trees"),
    ],
)
def test_what_is_not_known_or_no_depth_is_not_guessed(name, said):
    with pytest.raises(ConfigError) as error:
        output_of(SimpleNamespace(model_type=name, max_depth=9))
    assert said in str(error.value)
