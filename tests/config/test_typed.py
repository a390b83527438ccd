"""Values of YAML files are of the kind that an option has, or are refused by name."""

from collections.abc import Mapping
from typing import Literal

import pytest

from dealseg.config.typed import as_kind
from dealseg.errors import ConfigError

PAIR = tuple[float, float]
MANY = tuple[str, ...]
CHOICE = Literal["a", "b"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (float, 0.5, 0.5),
        (float, "1e-3", 1e-3),  # YAML 1.1 takes it for a text
        (float | None, None, None),
        (str | None, "x", "x"),
        (CHOICE, "b", "b"),
        (PAIR, [0.5, 2], (0.5, 2)),
        (MANY, ["a", "b"], ("a", "b")),
        (MANY, [], ()),
        (PAIR | None, [1, "2e0"], (1, 2.0)),
        (Mapping[str, Mapping], {"a": {"b": 1}}, {"a": {"b": 1}}),
        (object, "anything", "anything"),
    ],
)
def test_a_value_of_the_kind_is_taken(kind, value, expected):
    assert as_kind("x", kind, value) == expected


def test_whole_numbers_stay_whole_for_the_sake_of_checksums():
    assert isinstance(as_kind("x", float, 1), int)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (float, "fast", "x must be a number, got 'fast'"),
        (float, True, "x must be a number, got True"),
        (int, 1.5, "x must be a whole number, got 1.5"),
        (int, "two", "x must be a whole number, got 'two'"),
        (int, False, "x must be a whole number, got False"),
        (bool, 1, "x must be true or false, got 1"),
        (str, 3, "x must be a text, got 3"),
        (int | None, "2", "x must be a whole number or null, got '2'"),
        (CHOICE, "c", "x must be a or b, got 'c'"),
        (MANY, "deal", "x must be a list, got 'deal'"),
        (MANY, ["a", 1], r"x\[1\] must be a text, got 1"),
        (PAIR, [1], "x must be a list of 2, got"),
        (Mapping[str, Mapping], ["a"], "x must be keys and values, got"),
        (Mapping[str, Mapping], {"a": "b"}, "x.a must be keys and values, got 'b'"),
    ],
)
def test_another_value_is_refused_by_name(kind, value, said):
    with pytest.raises(ConfigError, match=f"^{said}"):
        as_kind("x", kind, value)
