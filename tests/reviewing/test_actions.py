import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dealseg.data.review import Review
from dealseg.errors import ConfigError
from dealseg.reviewing.actions import Judge, SetTags, Toggle, applied, parse_action
from dealseg.reviewing.entries import Entry, tags_of

CLASSES = ("cup", "box", "ball")
TAGGED, UNTAGGED = Entry("a", None, frozenset({"cup"})), Entry("b")


def in_mask():
    return ["box", "ball"]


def never():
    raise AssertionError("the mask is not needed")


def test_a_verdict_is_kept_replaced_and_taken_back():
    review = applied(Review({"z": "rejected"}), TAGGED, Judge("accepted"), never)
    assert review.verdicts == {"z": "rejected", "a": "accepted"}
    review = applied(review, TAGGED, Judge("rejected"), never)
    assert review.verdicts == {"z": "rejected", "a": "rejected"}
    assert applied(review, TAGGED, Judge(None), never).verdicts == {"z": "rejected"}


def test_a_tag_is_added_to_and_taken_from_the_tags_there_are():
    review = applied(Review(), TAGGED, Toggle("box", True), never)
    assert review.tags == {"a": ("box", "cup")}
    review = applied(review, TAGGED, Toggle("cup", False), never)
    assert review.tags == {"a": ("box",)}


def test_tags_that_end_as_the_data_has_them_are_no_edit():
    review = Review({}, {"a": ("box", "cup"), "z": ("ball",)})
    assert applied(review, TAGGED, Toggle("box", False), never).tags == {"z": ("ball",)}
    assert applied(review, TAGGED, SetTags(("cup",)), never).tags == {"z": ("ball",)}
    assert applied(review, TAGGED, SetTags(None), never).tags == {"z": ("ball",)}


def test_the_first_tag_of_an_image_without_tags_goes_out_from_its_mask():
    review = applied(Review(), UNTAGGED, Toggle("box", False), in_mask)
    assert review.tags == {"b": ("ball",)}
    review = applied(review, UNTAGGED, Toggle("cup", True), never)
    assert review.tags == {"b": ("ball", "cup")}


def test_no_tag_is_an_edit_where_the_data_has_none():
    assert applied(Review(), UNTAGGED, SetTags(()), never).tags == {"b": ()}
    assert applied(Review({}, {"b": ()}), UNTAGGED, SetTags(None), never).tags == {}


TOGGLES = st.lists(st.tuples(st.sampled_from([TAGGED, UNTAGGED]), st.sampled_from(CLASSES)))


@given(TOGGLES)
@settings(max_examples=50, deadline=None)
def test_a_class_toggled_and_toggled_back_leaves_the_other_tags_and_images_alone(steps):
    review = Review({"z": "accepted"}, {"z": ("box",)})
    for entry, tag in steps:
        before = tags_of(entry, review)
        known = frozenset(in_mask()) if before is None else before
        there = applied(review, entry, Toggle(tag, tag not in known), in_mask)
        assert tags_of(entry, there) == known ^ {tag}
        back = applied(there, entry, Toggle(tag, tag in known), in_mask)
        assert tags_of(entry, back) == known
        other = UNTAGGED if entry is TAGGED else TAGGED
        assert tags_of(other, there) == tags_of(other, review)
        assert (there.tags["z"], there.verdicts) == (("box",), {"z": "accepted"})
        review = there


@pytest.mark.parametrize(
    ("content", "action"),
    [
        ({"verdict": "accepted"}, Judge("accepted")),
        ({"verdict": None}, Judge(None)),
        ({"tag": "cup", "present": False}, Toggle("cup", False)),
        ({"tags": ["cup", "ball"]}, SetTags(("cup", "ball"))),
        ({"tags": []}, SetTags(())),
        ({"tags": None}, SetTags(None)),
    ],
)
def test_actions_are_read_as_the_page_sends_them(content, action):
    assert parse_action(content, CLASSES) == action


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "accepted",
        {},
        {"verdict": "good"},
        {"verdict": ["accepted"]},
        {"verdict": True},
        {"tag": "cup"},
        {"tag": "cup", "present": 1},
        {"tag": "bowl", "present": True},
        {"tag": ["cup"], "present": True},
        {"tags": "cup"},
        {"tags": ["bowl"]},
        {"tags": [None]},
        {"verdict": "accepted", "tags": []},
        {"tags": [{}]},
    ],
)
def test_what_is_no_action_is_refused(content):
    with pytest.raises(ConfigError, match=r"expected a verdict|is not one of the classes"):
        parse_action(content, CLASSES)
