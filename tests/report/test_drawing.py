import io

import numpy as np
import pytest
from make_run import evaluation, make_run
from PIL import Image

from dealseg.losses import EDGE_SHARE
from dealseg.report.charts import Chart, Line, Mark, threshold_chart, training_charts
from dealseg.report.colours import DARK, LIGHT
from dealseg.report.drawing import chart_png, chart_sheet, drawable
from dealseg.report.records import read_runs


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def has_colour(image, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool(((image[..., :3] == rgb).all(axis=2) & (image[..., 3] == 255)).any())


@pytest.fixture
def pair(tmp_path):
    return read_runs(
        [
            make_run(tmp_path / "a", metrics="epoch,loss/total\n0,2\n1,1\n"),
            make_run(tmp_path / "b", "deal", evaluation=evaluation(0.45, 0.47)),
        ]
    )


def test_curves_come_with_the_run_that_logged_them(pair):
    charts = {chart.title: chart for chart in training_charts(pair)}
    assert [line.label for line in charts["Total loss"].lines] == ["baseline", "DEAL"]
    assert charts["Total loss"].lines[0].points == ((0, 2), (1, 1))
    assert charts["Class loss"].lines == (Line("DEAL", ((0, 0.7), (1, 0.5)), 1),)
    shares = charts["Edge shares"]
    assert [line.dashed for line in shares.lines] == [False, True]
    assert shares.lines[1].points == ((0, 0.08), (1, 0.08))
    assert shares.band == EDGE_SHARE


def test_the_class_loss_is_the_sum_of_a_methods_class_terms_and_of_what_isl_takes_of_them(tmp_path):
    metrics = "epoch,loss/class_coarse,loss/class_fine,loss/isl,isl/loss,loss/total\n0,1,2,4,20,7\n"
    (run,) = read_runs([make_run(tmp_path / "a", "isl", metrics=metrics)])
    charts = {chart.title: chart for chart in training_charts([run])}
    assert charts["Class loss"].lines[0].points == ((0.0, 7.0),)
    assert charts["Importance sampling"].lines[0].points == ((0.0, 20.0),)
    assert "loss/isl" not in " ".join(charts)


def test_every_term_of_a_method_has_a_chart_also_one_nobody_has_heard_of(tmp_path):
    names = ("class_view1", "class_view2", "er", "ecr", "min_pool", "fsl", "deal", "odd", "total")
    metrics = f"epoch,fsl/loss,{','.join(f'loss/{name}' for name in names)}\n0" + ",1" * 10 + "\n"
    (run,) = read_runs([make_run(tmp_path / "a", "deal,fsl", method="seam", metrics=metrics)])
    titles = [chart.title for chart in training_charts([run])]
    for title in ("Equivariance", "Cross equivariance", "Min pooling", "Feature similarity", "odd"):
        assert titles.count(title) == 1
    assert titles.count("Class loss") == 1
    assert not {"fsl", "deal"} & set(titles)


def test_the_threshold_chart_is_in_per_cent_and_marks_fixed_and_oracle(pair):
    chart = threshold_chart(pair)
    assert chart.lines[0].points == ((0.0, 10.0), (0.5, 45.0))
    assert chart.marks == (Mark(0.4, 45.0, 1, False), Mark(0.2, 47.0, 1, True))
    assert threshold_chart(pair[:1]) is None
    assert "below the curve" not in chart.note


def test_the_threshold_chart_says_why_seams_diamond_is_not_on_its_curve(tmp_path):
    judged = evaluation(0.45, 0.3, protocol={"protocol": "seam", "stopped_early": False})
    chart = threshold_chart(read_runs([make_run(tmp_path / "a", evaluation=judged)]))
    assert "below the curve" in chart.note


def test_a_chart_has_twice_its_size_in_pixels_the_runs_colour_and_a_clear_ground():
    chart = Chart("t", "", "epoch", (Line("a", ((0.0, 1.0), (1.0, 1.0)), 1),))
    for theme, other in ((LIGHT, DARK), (DARK, LIGHT)):
        image = pixels(chart_png(chart, theme, (300, 200)))
        assert image.shape == (400, 600, 4)
        assert has_colour(image, theme.lines[1])
        assert not has_colour(image, other.lines[1])
        assert image[0, 0, 3] == 0


def test_labels_that_look_like_formulas_or_lack_letters_are_drawn_as_they_are():
    labels = ("$x_{$", "_hidden", "\N{HIRAGANA LETTER A}")
    lines = tuple(Line(label, ((0.0, 1.0),), place) for place, label in enumerate(labels))
    image = pixels(chart_sheet([Chart("t", "", "threshold", lines)]))
    assert all(has_colour(image, LIGHT.lines[place]) for place in range(3))
    assert drawable("a\N{HIRAGANA LETTER A}$") == "a\N{WHITE SQUARE}$"
