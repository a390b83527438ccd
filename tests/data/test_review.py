import json
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_folder import write_folder

from dealseg.data import RgbdDataset, open_dataset
from dealseg.data.review import Review, Reviewed, read_review, write_review
from dealseg.errors import DataError
from fakes import MemoryDataset

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
VERDICTS = st.dictionaries(NAMES, st.sampled_from(["accepted", "rejected"]))
TAGS = st.dictionaries(NAMES, st.lists(NAMES, unique=True).map(lambda tags: tuple(sorted(tags))))


def content(**entries):
    return json.dumps({"format": "dealseg-review", "version": 1, **entries})


@given(VERDICTS, TAGS)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_again(tmp_path_factory, verdicts, tags):
    review, path = Review(verdicts, tags), tmp_path_factory.getbasetemp() / "review.json"
    write_review(path, review)
    assert read_review(path) == review


def test_the_bytes_depend_on_what_was_decided_and_not_on_the_order(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    write_review(one, Review({"a": "accepted", "b/c": "rejected"}, {"a": ("box", "cup")}))
    write_review(other, Review({"b/c": "rejected", "a": "accepted"}, {"a": ("cup", "box")}))
    assert one.read_bytes() == other.read_bytes()
    assert json.loads(one.read_text()) == {
        "format": "dealseg-review",
        "version": 1,
        "verdicts": {"a": "accepted", "b/c": "rejected"},
        "tags": {"a": ["box", "cup"]},
    }
    assert list(json.loads(one.read_text())) == ["format", "tags", "verdicts", "version"]


def test_a_write_that_fails_leaves_the_old_review_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "review.json"
    write_review(path, Review({"a": "accepted"}))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_review(path, Review({"a": "rejected"}))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["review.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "review.json: cannot read this review"),
        ("[]", "not a review of dealseg (no format 'dealseg-review')"),
        ('{"format": "other"}', "not a review of dealseg"),
        ('{"format": "dealseg-review", "version": 2}', "version 2, this dealseg reads 1"),
        (content(verdict={}), "unknown entry 'verdict'"),
        (content(verdicts=[]), "verdicts: expected entries by image, got []"),
        (content(verdicts={"a/b": "good"}), "verdict of image 'a/b': expected accepted or rejec"),
        (content(verdicts={"a/b": True}), "verdict of image 'a/b'"),
        (content(tags={"a/b": "cup"}), "tags of image 'a/b': expected a list of different class"),
        (content(tags={"a/b": ["cup", "cup"]}), "tags of image 'a/b'"),
        (content(tags={"a/b": [1]}), "tags of image 'a/b'"),
        (content(tags={"a/b": [""]}), "tags of image 'a/b'"),
        (content(tags={"a/b": [[]]}), "tags of image 'a/b'"),
        (content()[:-1] + ', "tags": {"a": [], "a": ["cup"]}}', "'a' is there twice"),
        (content()[:-1] + ', "version": 1}', "'version' is there twice"),
    ],
)
def test_what_is_not_a_review_is_refused_in_one_line_that_names_file_and_image(
    tmp_path, text, message
):
    path = tmp_path / "review.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_review(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert message in told
    assert "\n" not in told
    assert path.read_text() == text


def test_a_review_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such"):
        read_review(tmp_path / "review.json")
    (tmp_path / "review.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read this"):
        read_review(tmp_path / "review.json")


def test_the_checksum_of_the_tags_is_that_of_the_tags_alone():
    review = Review({"a": "accepted"}, {"a": ("box", "cup"), "b": ()})
    same = Review({}, {"b": (), "a": ("cup", "box")})
    assert review.tags_sha256 == same.tags_sha256
    others = [Review(), Review({}, {"a": ("box", "cup")}), Review({}, {"a": ("box",), "b": ()})]
    assert len({each.tags_sha256 for each in (review, *others)}) == 4


@pytest.fixture
def plain(tmp_path):
    return open_dataset(write_folder(tmp_path / "data"))


def test_edited_tags_replace_those_of_the_data_and_nothing_else_changes(plain):
    seen = Reviewed(plain, Review({"b": "rejected"}, {"a": ("plate",), "d": ("cup",), "b": ()}))
    assert isinstance(seen, RgbdDataset)
    assert [seen.tags(i).tolist() for i in range(4)] == [[0, 1], [0, 0], [0, 1], [1, 0]]
    assert (seen.edited, seen.left_out) == (3, 0)
    assert seen.edited_tags == Review(tags={"a": ("plate",), "b": (), "d": ("cup",)}).tags_sha256
    for name in ("root", "classes", "names", "depth_info", "class_ids"):
        assert getattr(seen, name) == getattr(plain, name)
    for index in range(4):
        assert seen.image_path(index) == plain.image_path(index)
        assert torch.equal(seen.image(index), plain.image(index))
        assert torch.equal(seen.mask(index), plain.mask(index))
        for one, other in zip(seen.depth(index), plain.depth(index), strict=True):
            assert torch.equal(one, other)


def test_rejected_images_are_left_out_where_asked_and_the_others_keep_all_that_is_theirs(plain):
    review = Review({"b": "rejected", "c": "accepted"}, {"b": ("cup",), "d": ("plate",)})
    seen = Reviewed(plain, review, without_rejected=True)
    assert seen.names == ("a", "c", "d")
    assert len(seen) == 3
    assert (seen.edited, seen.left_out) == (1, 1)
    for here, there in enumerate((0, 2, 3)):
        assert seen.image_path(here) == plain.image_path(there)
        assert torch.equal(seen.image(here), plain.image(there))
        assert torch.equal(seen.mask(here), plain.mask(there))
        assert torch.equal(seen.depth(here)[0], plain.depth(there)[0])
    assert [seen.tags(i).tolist() for i in range(3)] == [[1, 0], [0, 1], [0, 1]]


def test_tags_that_nobody_gave_stay_unknown_but_where_they_were_edited():
    data = MemoryDataset([None, None], tag_rows=[None, None], names=("x", "y"))
    seen = Reviewed(data, Review(tags={"y": ("ball",)}))
    assert seen.tags(0) is None
    assert seen.tags(1).tolist() == [0, 0, 1]


def test_an_edited_tag_that_is_no_class_is_refused_with_file_and_image(plain, tmp_path):
    path = tmp_path / "review.json"
    write_review(path, Review(tags={"c": ("bowl",)}))
    message = r"review\.json: tag 'bowl' of image 'c' is not a class of .*data: cup, plate"
    with pytest.raises(DataError, match=message):
        Reviewed(plain, read_review(path))


def test_images_that_are_not_in_this_part_of_the_data_are_passed_over(plain):
    seen = Reviewed(plain, Review({"z": "rejected"}, {"z": ("bowl",)}), without_rejected=True)
    assert seen.names == plain.names
    assert (seen.edited, seen.left_out, seen.edited_tags) == (0, 0, None)
