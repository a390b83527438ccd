import json
import threading
from dataclasses import replace

import pytest

from dealseg.data.review import Review, read_review, write_review
from dealseg.errors import DataError
from dealseg.reviewing import ReviewStore


def accept(name):
    return lambda review: replace(review, verdicts={**review.verdicts, name: "accepted"})


def fits(review):
    if "bad" in review.verdicts:
        raise DataError("a bad review")


def test_nothing_is_written_before_the_first_change(tmp_path):
    path = tmp_path / "later/review.json"
    store = ReviewStore(path, fits)
    assert store.review == Review()
    store.change(lambda review: review)
    assert not path.exists()
    assert store.change(accept("a")).verdicts == {"a": "accepted"}
    assert read_review(path).verdicts == {"a": "accepted"}


def test_an_existing_review_is_gone_on_with(tmp_path):
    path = tmp_path / "review.json"
    write_review(path, Review({"z": "rejected"}, {"y": ("cup",)}))
    store = ReviewStore(path, fits)
    store.change(accept("a"))
    assert read_review(path) == Review({"z": "rejected", "a": "accepted"}, {"y": ("cup",)})


@pytest.mark.parametrize("text", ["{", '{"format": "other"}', ""])
def test_a_damaged_review_is_refused_and_left_as_it_is(tmp_path, text):
    path = tmp_path / "review.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"review\.json"):
        ReviewStore(path, fits)
    assert path.read_text() == text


def test_a_review_that_does_not_fit_is_refused(tmp_path):
    write_review(tmp_path / "review.json", Review({"bad": "accepted"}))
    with pytest.raises(DataError, match="a bad review"):
        ReviewStore(tmp_path / "review.json", fits)


def test_a_file_damaged_meanwhile_is_never_written_over(tmp_path):
    path = tmp_path / "review.json"
    store = ReviewStore(path, fits)
    store.change(accept("a"))
    path.write_text("half a file")
    with pytest.raises(DataError, match="cannot read"):
        store.change(accept("b"))
    assert path.read_text() == "half a file"
    path.unlink()
    assert store.change(accept("b")).verdicts == {"b": "accepted"}


def test_what_another_program_wrote_meanwhile_is_kept(tmp_path):
    one, other = (ReviewStore(tmp_path / "review.json", fits) for _ in range(2))
    one.change(accept("a"))
    other.change(accept("b"))
    one.change(accept("c"))
    assert set(one.review.verdicts) == set(other.review.verdicts) == {"a", "b", "c"}


def in_threads(count, work):
    """Do some work with the numbers 0 to count - 1 at the same time."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_changes_of_many_threads_lose_nothing(tmp_path):
    store = ReviewStore(tmp_path / "review.json", fits)

    def work(number):
        for step in range(10):
            store.change(accept(f"{number}/{step}"))

    in_threads(8, work)
    assert len(read_review(store.path).verdicts) == 80


def test_changes_through_several_open_files_as_of_several_processes_lose_nothing(tmp_path):
    path = tmp_path / "review.json"

    def work(number):
        store = ReviewStore(path, fits)  # nothing but the file is shared
        for step in range(15):
            store.change(accept(f"{number}/{step}"))

    in_threads(4, work)
    assert len(read_review(path).verdicts) == 60


def test_readers_see_a_whole_file_at_any_time(tmp_path):
    path = tmp_path / "review.json"
    store = ReviewStore(path, fits)
    store.change(accept("a"))
    writer = threading.Thread(target=lambda: [store.change(accept(f"{i}")) for i in range(60)])
    writer.start()
    while writer.is_alive():
        assert json.loads(path.read_text())["format"] == "dealseg-review"
    writer.join()


def test_a_closed_store_takes_no_change(tmp_path):
    store = ReviewStore(tmp_path / "review.json", fits)
    store.close()
    with pytest.raises(DataError, match="the review is closed"):
        store.change(accept("a"))
    assert not store.path.exists()
