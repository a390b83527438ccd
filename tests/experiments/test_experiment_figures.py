import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_grid import DEPTH, GRID, LOSSES, made_up, with_table

from dealseg.data.frames import FrameDataset
from dealseg.experiments import Variant, expand
from dealseg.experiments.figures import (
    _curve,
    _noise_courses,
    cam_figure,
    consecutive,
    labels,
    noise_figure,
    threshold_figure,
)
from dealseg.experiments.results import result_of
from dealseg.experiments.tables import found_by_variant
from dealseg.report.experiment_figures import Course, Panel, course_figure, picture_sheet


def found_in(plan):
    jobs = [(str(place), job) for place, job in enumerate(plan.jobs)]
    results = {key: result_of(job, key, made_up(job, Path())) for key, job in jobs}
    return found_by_variant(jobs, results)


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_curve_is_the_mean_over_seeds_at_each_threshold_with_its_deviation():
    found = found_in(expand(GRID))
    variant = Variant("cam", "deal", "sensor")
    course = _curve(variant, [variant], "deal", found)
    one, two = (found[variant][seed].curve for seed in (0, 1))
    for (_, mean, deviation), a, b in zip(course.points, one, two, strict=True):
        assert mean == pytest.approx(50 * (a + b))
        assert deviation == pytest.approx(100 * abs(a - b) / 2**0.5)
    assert [point[0] for point in course.points] == [0.0, 0.5, 1.0]


def test_lines_with_and_without_deal_share_a_colour_and_differ_in_dashes():
    found = found_in(expand(GRID))
    variants = [
        Variant("cam"),
        Variant("cam", "deal", "sensor"),
        Variant("cam", "isl+deal", "sensor"),
    ]
    own, deal, isl = (_curve(v, variants, "", found) for v in variants)
    assert own.place == deal.place != isl.place
    assert [own.dashed, deal.dashed, isl.dashed] == [True, False, False]


def test_sources_of_depth_have_colours_of_their_own():
    plan = expand(GRID)
    variants = plan.tables[1].variants
    places = [_curve(v, variants, "", found_in(plan)).place for v in variants]
    assert places == [0, 0, 1]


def test_without_deal_other_losses_have_colours_too():
    plan = expand(with_table(LOSSES, methods=("cam",), losses=("none", "isl", "fsl")))
    variants = plan.tables[0].variants
    courses = [_curve(v, variants, "", found_in(plan)) for v in variants]
    assert [course.place for course in courses] == [0, 1, 2]
    assert all(course.dashed for course in courses)


def test_labels_say_what_differs_and_no_more():
    losses, depth = expand(GRID).tables
    assert list(labels(losses.variants).values())[:3] == ["baseline", "+ DEAL", "+ ISL + DEAL"]
    assert list(labels(depth.variants).values()) == ["baseline", "+ DEAL, sensor", "+ DEAL, other"]


def test_without_noise_in_the_depth_the_baseline_is_a_level_line():
    noise = ("none", "level:1", "level:2")
    grid = with_table(LOSSES, methods=("cam",), losses=("none", "deal"), noise=noise)
    plan = expand(grid)
    found = found_in(plan)
    baseline, deal = _noise_courses(plan.tables[0], found, "cam", "fixed")
    assert [point[0] for point in baseline.points] == [0.0, 1.0, 2.0]
    assert len({point[1] for point in baseline.points}) == 1
    for place, level in enumerate(noise):
        results = found[Variant("cam", "deal", "sensor", level)].values()
        mean = 50 * sum(result.figures["fixed"] for result in results)
        assert deal.points[place][1] == pytest.approx(mean)
    assert pixels_of(noise_figure(plan.tables[0], found)).std() > 0


def test_without_results_there_are_no_figures():
    plan = expand(GRID)
    assert threshold_figure(plan.tables[0], {}) is None
    assert noise_figure(plan.tables[0], {}) is None


def test_runs_without_weights_are_left_out_and_named(tmp_path, caplog):
    plan = expand(with_table(DEPTH, depths=("none", "sensor")))
    images = FrameDataset(tmp_path, (), ())
    found = found_in(plan)
    assert cam_figure(plan.tables[0], found, "cam", images, lambda r: tmp_path / r.name) is None
    assert "its weights are not here, so the figures leave it out" in caplog.text


def test_consecutive_frames_are_from_the_middle_of_the_middle_sequence():
    names = [f"{sequence}/{frame:03d}" for sequence in "abc" for frame in range(10)]
    assert [names[i] for i in consecutive(names, 4)] == ["b/003", "b/004", "b/005", "b/006"]


def test_too_short_sequences_are_passed_over_and_shown_whole_if_there_is_no_other():
    names = ["a/0", "b/0", "b/1", "b/2", "c/0"]
    assert [names[i] for i in consecutive(names, 3)] == ["b/0", "b/1", "b/2"]
    assert [names[i] for i in consecutive(names, 6)] == ["b/0", "b/1", "b/2"]


def test_images_that_are_no_sequence_are_spread_evenly():
    assert consecutive([f"{place}" for place in range(9)], 3) == [1, 4, 7]


def test_the_same_figure_has_the_same_bytes_and_other_numbers_others():
    def draw(height):
        course = Course("a $b$ _c", ((0.0, height, 1.0), (1.0, 2.0, 0.5)), 0)
        return course_figure(
            [Panel("t_$", "x", (course,)), Panel("u", "x", (course,), ("p", "q"))], "y"
        )

    assert draw(1.0) == draw(1.0) != draw(5.0)


def test_a_sheet_shows_every_picture_in_its_place():
    red, green = (np.full((20, 30, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 180, 0)))
    sheet = pixels_of(picture_sheet([[red, None], [green, red]], ["one", "two"], ["a", "b_$"]))
    height, width = sheet.shape[:2]
    for row, column, colour in ((0, 0, red), (1, 0, green), (1, 1, red)):
        middle = sheet[int((row + 0.55) * height / 2.05), int((column + 0.55) * width / 2.05)]
        assert (middle == colour[0, 0]).all()
    assert (sheet[height // 4, int(0.75 * width)] == 255).all()
