import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
import torch
from make_run import evaluation, make_run

from dealseg.report import Example, Prediction, page, read_runs
from dealseg.report.gallery import gallery
from dealseg.report.markup import Html, element, table

EVIL = "<script>alert('a\"&')</script>"
VOID = {"img", "meta", "source"}


class Reader(HTMLParser):
    """Collects tags and checks that every element is closed in its turn."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @classmethod
    def of(cls, html):
        reader = cls()
        reader.feed(html)
        reader.close()
        assert reader.open == []
        return reader

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def example(name="scene/1", truth=True, runs=("baseline", "DEAL")):
    size = (12, 16)
    winner = torch.ones(size, dtype=torch.uint8)
    score = torch.linspace(0, 1, 16).repeat(12, 1)
    predictions = [Prediction(label, winner, score, 0.5) for label in runs]
    image = torch.zeros(3, *size, dtype=torch.uint8)
    return Example(name, image, ("cup",), None, winner if truth else None, predictions)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("pair")
    names = ("background", "cup", EVIL, "ball")
    return read_runs(
        [
            make_run(tmp_path / "a", evaluation=evaluation(0.412, 0.44, names=names)),
            make_run(tmp_path / "b", "deal", evaluation=evaluation(0.45, 0.47, names=names)),
        ]
    )


@pytest.fixture(scope="module")
def html(pair):
    return page(pair, [example(EVIL)], title=EVIL, chosen=EVIL)


def test_elements_escape_text_and_attributes_but_not_html():
    inside = element("b", "a<b")
    assert element("p", "x & y ", inside, title='"') == (
        '<p title="&quot;">x &amp; y <b>a&lt;b</b></p>'
    )
    assert element("img", alt=None, src="x") == '<img src="x">'
    assert isinstance(inside, Html)
    assert EVIL not in table([EVIL], [[EVIL, EVIL]])


def test_every_element_of_the_page_is_closed_and_nothing_is_fetched_or_run(html):
    reader = Reader.of(html)
    assert not reader.all("script")
    assert not reader.all("link")
    for _, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "srcset"}:
                assert value.startswith("data:image/")
            if name == "href":
                assert value.startswith("#")
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://", html)


def test_names_from_users_are_text_and_nothing_else(html):
    assert EVIL not in html
    assert "".join(Reader.of(html).text).count(EVIL) >= 5


def test_every_picture_has_words_and_a_size(html):
    images = Reader.of(html).all("img")
    assert len(images) == 2 + 4 + 1 + 4
    for attributes in images:
        assert attributes["alt"]
        assert int(attributes["width"]) > 0
        assert int(attributes["height"]) > 0


def test_sections_come_in_order_and_the_contents_lead_to_them(html):
    reader = Reader.of(html)
    sections = [attributes["id"] for attributes in reader.all("section")]
    assert sections == [
        "results", "examples", "classes", "thresholds", "training",
        "what-the-numbers-mean", "configuration", "environment",
    ]  # fmt: skip
    assert [attributes["href"][1:] for attributes in reader.all("a")] == sections


def test_the_page_starts_with_title_and_verdict_and_keeps_oracle_figures_apart(pair):
    text = [part.strip() for part in Reader.of(page(pair)).text if part.strip()]
    start = text.index("dealseg report")
    assert text[start + 1] == "baseline and DEAL on table, split val"
    assert text[start + 2].endswith("baseline 41.2 → DEAL 45.0, +3.8 points, DEAL is better.")
    assert "ORACLE" in text
    columns = text[text.index("run") : text.index("ORACLE threshold") + 1]
    assert columns[-2:] == ["ORACLE mIoU", "ORACLE threshold"]
    rows = text[text.index("ORACLE threshold") + 1 :]
    assert rows[:11] == [
        "baseline", "41.2", "0.40", "default", "25.0", "\N{EN DASH}", "80.0", "24", "val", "44.0",
        "0.20",
    ]  # fmt: skip


def test_class_figures_give_numbers_bars_and_the_gain(html):
    reader = Reader.of(html)
    widths = [a["style"] for a in reader.all("i") if "run" in a.get("class", "") and "style" in a]
    assert widths == [
        f"width: {width}%" for width in (90.0, 90.0, 41.2, 45.0, 0.0, 0.0, 10.0, 10.0)
    ]
    text = [part.strip() for part in reader.text]
    row = text[text.index("gain") :]
    assert row[1:9] == [
        "background", "90.0", "90.0", "0.0", "cup", "41.2", "45.0", "+3.8",
    ]  # fmt: skip


def test_runs_without_evaluation_or_metrics_still_get_a_page_that_says_so(tmp_path):
    paths = [make_run(tmp_path / "a", metrics=None), make_run(tmp_path / "b", "deal")]
    reader = Reader.of(page(read_runs(paths), [example(truth=False)]))
    text = " ".join(reader.text)
    assert "Not evaluated yet" in text
    assert "no metrics.csv" in text
    assert "No run has been evaluated yet." in text
    ids = [attributes["id"] for attributes in reader.all("section")]
    assert "classes" not in ids
    assert "thresholds" not in ids


def test_missing_columns_are_named_but_not_those_a_baseline_never_has(tmp_path):
    short = "epoch,loss/total\n0,1\n"
    paths = [
        make_run(tmp_path / "a", metrics=short),
        make_run(tmp_path / "b", "deal", metrics=short),
    ]
    notes = [part for part in Reader.of(page(read_runs(paths))).text if "no column" in part]
    assert notes[0] == "baseline: metrics.csv has no column loss/class."
    assert "deal/alignment" in notes[1]


def test_the_columns_of_added_losses_are_missed_too(tmp_path):
    metrics = "epoch,loss/total,loss/class_cam\n0,1,1\n"
    (run,) = read_runs([make_run(tmp_path / "a", "isl,fsl", metrics=metrics)])
    assert any("no column isl/loss, fsl/loss" in part for part in Reader.of(page([run])).text)


def test_the_table_says_by_which_protocol_an_oracle_threshold_was_found(tmp_path):
    found = {"full": None, "seam": False, "weaktr": True}
    paths = [
        make_run(
            tmp_path / name,
            evaluation=evaluation(0.4, 0.5, protocol={"protocol": name, "stopped_early": early}),
        )
        for name, early in found.items()
    ]
    text = [part.strip() for part in Reader.of(page(read_runs(paths))).text]
    assert [part for part in text if part.startswith("0.20")] == [
        "0.20",
        "0.20 (seam)",
        "0.20 (weaktr, stopped)",
    ]
    assert "In brackets: the protocol" in " ".join(text)
    assert "In brackets" not in page(read_runs(paths[:1]))


def test_how_sure_they_are_stands_under_several_comparisons_too(tmp_path):
    paths = [
        make_run(tmp_path / f"{method}{losses}", losses, method=method, evaluation=evaluation(0.4))
        for method in ("cam", "seam")
        for losses in ("none", "deal")
    ]
    assert "One run does not show" in page(read_runs(paths))


def test_no_gain_is_shown_between_two_methods(tmp_path):
    paths = [
        make_run(tmp_path / "a", evaluation=evaluation(0.4)),
        make_run(tmp_path / "b", "deal", method="seam", evaluation=evaluation(0.5)),
    ]
    assert "gain" not in [part.strip() for part in Reader.of(page(read_runs(paths))).text]


def test_an_evaluation_of_a_subset_is_marked(tmp_path):
    judged = evaluation(0.4) | {"images_missing": 3}
    text = " ".join(Reader.of(page(read_runs([make_run(tmp_path / "a", evaluation=judged)]))).text)
    assert "24 (SUBSET)" in text
    assert "3 images with ground truth have no prediction" in text


def test_no_text_is_smaller_than_14_pixels():
    style = files("dealseg.report").joinpath("style.css").read_text(encoding="utf-8")
    sizes = re.findall(r"font(?:-size)?:[^;]*?(\d+)px", style)
    assert len(sizes) > 10
    assert min(map(int, sizes)) >= 14


def test_how_sure_the_verdict_is_stands_right_under_it(html):
    text = "".join(Reader.of(html).text)
    assert (
        text.index("DEAL is better") < text.index("One run does not show") < text.index("Results")
    )


@pytest.mark.parametrize(("runs", "rows"), [((), 1), (("a", "b"), 2), (("a", "b", "c"), 3)])
def test_cams_and_masks_share_a_row_up_to_two_runs_and_stand_below_each_other_beyond(runs, rows):
    reader = Reader.of(gallery([example(runs=runs)], ("cup",)))
    strips = [a for a in reader.all("div") if a.get("class") == "strip"]
    assert len(strips) == rows
    assert len(reader.all("img")) == 2 + 2 * len(runs)
