"""Training and labelling with the tags that a person corrected."""

import json

import pytest
import yaml
from make_folder import write_folder

from commands import fails, ok
from dealseg.cli import main
from dealseg.data.review import Review, write_review


@pytest.fixture(scope="module")
def made(tmp_path_factory, trained):
    """A small data set and a run on it."""
    root = tmp_path_factory.mktemp("review")
    data = write_folder(root / "data")
    assert main(["train", str(data), "--out", str(root / "run"), *trained.train]) == 0
    return data, root / "run"


def test_training_takes_the_edited_tags_and_keeps_rejected_images(made, tmp_path, capsys, trained):
    data, plain = made
    review, run = tmp_path / "review.json", tmp_path / "run"
    write_review(review, Review({"c": "rejected"}))
    words = ["train", data, "--out", run, "--review", review, *trained.train]
    assert f"0 of 4 images have tags edited in {review}" in ok(capsys, *words)
    for name in ("weights.safetensors", "config.yaml"):  # a verdict on a mask changes no tag
        assert (run / name).read_bytes() == (plain / name).read_bytes()

    write_review(review, Review({"c": "rejected"}, {"a": ("plate",), "d": ("cup", "plate")}))
    words[3] = tmp_path / "edited"
    assert f"2 of 4 images have tags edited in {review}" in ok(capsys, *words)
    weights = (tmp_path / "edited/weights.safetensors").read_bytes()
    assert weights != (plain / "weights.safetensors").read_bytes()
    same = write_folder(
        tmp_path / "data", {"a": "plate", "b": "cup;plate", "c": "plate", "d": "cup;plate"}
    )
    for part in ("images", "depth"):  # the pictures of `d` and `a` are those of the first set
        for file in (data / part).iterdir():
            (same / part / file.name).write_bytes(file.read_bytes())
    ok(capsys, "train", same, "--out", tmp_path / "same", *trained.train)
    assert (tmp_path / "same/weights.safetensors").read_bytes() == weights


def test_a_run_records_the_edited_tags_and_resuming_notices_a_change(
    made, tmp_path, capsys, trained
):
    data, _ = made
    review, run = tmp_path / "review.json", tmp_path / "run"
    edited = Review({}, {"a": ("plate",)})
    write_review(review, edited)
    words = ["train", data, "--out", run, *trained.train]
    ok(capsys, *words, "--review", review)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["edited_tags"] == edited.tags_sha256
    write_review(review, Review({"b": "accepted"}, {"a": ("plate",), "elsewhere": ("cup",)}))
    ok(capsys, *words, "--review", review, "--resume")
    write_review(review, Review({}, {"a": ()}))
    assert "was started with edited_tags" in fails(capsys, *words, "--review", review, "--resume")
    assert "was started with edited_tags" in fails(capsys, *words, "--resume")
    again = tmp_path / "again"
    words = ["train", data, "--out", again, "--config", run / "config.yaml", "--review", review]
    ok(capsys, *words)  # what a run recorded of its data is no option
    config = yaml.safe_load((again / "config.yaml").read_text())
    assert config["edited_tags"] == Review({}, {"a": ()}).tags_sha256


def test_labelling_takes_the_edited_tags_records_them_and_notices_a_change(made, tmp_path, capsys):
    data, run = made
    review, out = tmp_path / "review.json", tmp_path / "masks"
    edited = Review({"a": "rejected"}, dict.fromkeys("abc", ()))
    write_review(review, edited)
    words = ["label", run, data, "--out", out, "--threshold", "0", "--scales", "1.0"]
    told = ok(capsys, *words, "--review", review)
    assert f"3 of 4 images have tags edited in {review}" in told
    assert json.loads((out / "labels.json").read_text())["review"] == edited.tags_sha256
    from dealseg.data.mask_set import open_masks

    masks = open_masks(out)
    assert all(masks.mask(name).max() == 0 for name in "abcd")
    write_review(review, Review({"b": "accepted"}, edited.tags))
    assert "4 kept from before" in ok(capsys, *words, "--review", review)
    assert "holds masks made with another review" in fails(capsys, *words)
    write_review(review, Review())
    assert "another review" in fails(capsys, *words, "--review", review)
    words[4] = tmp_path / "plain"
    ok(capsys, *words)
    assert json.loads((tmp_path / "plain/labels.json").read_text())["review"] is None
    assert open_masks(tmp_path / "plain").mask("a").max() > 0


@pytest.mark.parametrize("command", ["train", "label"])
def test_a_review_that_does_not_fit_is_refused_before_anything_is_written(
    made, tmp_path, capsys, command
):
    data, run = made
    review, out = tmp_path / "review.json", tmp_path / "out"
    words = ["train", data] if command == "train" else ["label", run, data]
    words += ["--out", out, "--review", review]
    assert "there is no such review" in fails(capsys, *words)
    write_review(review, Review({}, {"b": ("bowl",)}))
    assert "review.json: tag 'bowl' of image 'b' is not a class of" in fails(capsys, *words)
    assert not out.exists()
