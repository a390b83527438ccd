import pytest

from dealseg.data.review import Review
from dealseg.errors import ConfigError
from dealseg.reviewing.entries import Entry, Query, counts, described, find, selected, tags_of

ENTRIES = (
    Entry("a/1", 0.9, frozenset({"cup"})),
    Entry("a/2", 0.2, frozenset({"cup", "box"})),
    Entry("a/3", None, frozenset()),
    Entry("b/1", 0.2, None),
    Entry("b/12", 0.5, frozenset({"box"})),
)
REVIEW = Review(
    {"a/1": "accepted", "b/1": "rejected", "gone": "rejected"},
    {"a/3": ("box",), "b/12": (), "gone": ("cup",)},
)


def chosen(**query):
    return selected(ENTRIES, REVIEW, Query(**query))


def test_the_least_sure_come_first_equals_by_place_and_those_without_confidence_last():
    assert chosen() == [1, 3, 4, 0, 2]
    assert chosen(order="name") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("status", "ids"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("open", [1, 2, 4]),
        ("accepted", [0]),
        ("rejected", [3]),
        ("edited", [2, 4]),
    ],
)
def test_a_status_chooses_the_masks_that_have_it(status, ids):
    assert chosen(status=status, order="name") == ids


@pytest.mark.parametrize(
    ("tag", "ids"), [("cup", [0, 1]), ("box", [1, 2]), ("-", [3, 4]), ("none of them", [])]
)
def test_a_tag_chooses_images_by_their_tags_as_edited(tag, ids):
    assert chosen(tag=tag, order="name") == ids


def test_status_and_tag_must_both_fit():
    assert chosen(tag="box", status="open", order="name") == [1, 2]


@pytest.mark.parametrize("query", [{"status": "new"}, {"order": "random"}])
def test_an_unknown_query_is_refused_with_what_there_is(query):
    with pytest.raises(ConfigError, match=r"must be one of (all, open|uncertain, name)"):
        Query(**query)


@pytest.mark.parametrize(
    ("text", "place"),
    [("b/1", 3), ("B/12", 4), ("b", 3), ("/1", 0), ("/12", 4), ("none", None), (" ", None)],
)
def test_finding_prefers_the_whole_name_then_its_beginning_then_any_part(text, place):
    assert find(ENTRIES, [4, 3, 0], text) == (4 if text == "b" else 4 if text == "/1" else place)
    assert find(ENTRIES, range(5), text) == place


def test_what_is_not_chosen_is_not_found():
    assert find(ENTRIES, [0, 1], "b/1") is None


def test_the_counts_are_of_these_masks_and_add_up():
    found = counts(ENTRIES, REVIEW)
    assert found == {"all": 5, "open": 3, "accepted": 1, "rejected": 1, "edited": 2}
    assert found["open"] + found["accepted"] + found["rejected"] == found["all"]


def test_edited_tags_take_the_place_of_the_data_s():
    assert [tags_of(entry, REVIEW) for entry in ENTRIES] == [
        {"cup"}, {"cup", "box"}, {"box"}, None, set(),
    ]  # fmt: skip
    assert described(3, ENTRIES[3], REVIEW) == {
        "id": 3, "name": "b/1", "confidence": 0.2, "verdict": "rejected", "tags": None,
        "edited": False, "untagged": True,
    }  # fmt: skip
    assert described(1, ENTRIES[1], REVIEW)["tags"] == ["box", "cup"]
