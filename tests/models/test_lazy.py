"""Maps made at the first access."""

from collections.abc import Mapping

import pytest
import torch

from dealseg.models.lazy import LazyMaps


@pytest.fixture
def made():
    return []


@pytest.fixture
def maps(made):
    x = torch.arange(3.0, requires_grad=True)

    def maker(name, result):
        def make(others):
            made.append(name)
            return result(others)

        return make

    return LazyMaps(
        {
            "double": maker("double", lambda _: 2 * x),
            "again": maker("again", lambda others: others["double"] + 1),
        }
    )


def test_a_map_is_made_once_when_it_is_read(maps, made):
    assert made == []
    assert maps["again"].tolist() == [1, 3, 5]
    assert made == ["again", "double"]
    assert maps["again"] is maps["again"]
    assert maps["double"].tolist() == [0, 2, 4]
    assert made == ["again", "double"]


def test_names_length_and_membership_make_nothing(maps, made):
    assert isinstance(maps, Mapping)
    assert list(maps) == ["double", "again"]
    assert len(maps) == 2
    assert "again" in maps
    assert "other" not in maps
    assert repr(maps) == "LazyMaps(double, again)"
    assert made == []
    with pytest.raises(KeyError, match="other"):
        maps["other"]


def test_it_copies_to_a_dictionary(maps):
    assert {name: value.sum().item() for name, value in maps.items()} == {"double": 6, "again": 9}


def test_gradients_are_as_they_were_when_the_mapping_was_made(maps):
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        constant = LazyMaps({"x": lambda _: 2 * x})
        assert maps["double"].requires_grad
    assert not constant["x"].requires_grad
