import csv
import io
from dataclasses import replace

import pytest
from small_grid import DEPTH, GRID, LOSSES, evaluation, with_table

from dealseg.experiments import Variant, build_table, expand
from dealseg.experiments.rendering import comma_separated, latex, latex_escaped, markdown
from dealseg.experiments.results import result_of
from dealseg.experiments.tables import Spread, found_by_variant, spread

MINUS = "\N{MINUS SIGN}"
CAM, DEAL = Variant("cam"), Variant("cam", "deal", "sensor")
ISL = Variant("cam", "isl+deal", "sensor")
FIGURES = {
    (CAM, 0): (0.30, 0.40),
    (CAM, 1): (0.32, 0.44),
    (DEAL, 0): (0.33, 0.41),
    (DEAL, 1): (0.37, 0.46),
    (ISL, 1): (0.31, 0.50),
}


def table_of(grid, figures):
    plan = expand(grid)
    jobs = [(f"{place}", job) for place, job in enumerate(plan.jobs)]
    results = {
        key: result_of(job, key, evaluation(*figures[job.variant, job.seed]))
        for key, job in jobs
        if (job.variant, job.seed) in figures
    }
    return build_table(grid, plan.tables[0], found_by_variant(jobs, results))


@pytest.fixture
def table():
    return table_of(with_table(LOSSES, methods=("cam",)), FIGURES)


def close(found, mean, deviation, count=2):
    same = deviation is None if found.deviation is None else found.deviation == near(deviation)
    return found.mean == near(mean) and same and found.count == count


def near(value):
    return pytest.approx(value, abs=1e-9)


def test_mean_and_sample_standard_deviation_by_hand():
    assert close(spread([2.0, 4.0, 9.0]), 5.0, 13**0.5, 3)
    assert spread([2.0]) == Spread(2.0, None, 1)
    assert spread([]) is None


def test_rows_are_means_over_seeds_and_gains_are_taken_seed_by_seed(table):
    cam, deal, isl, _ = table.rows
    assert close(cam.figures["fixed"], 31.0, 2**0.5)
    assert close(cam.figures["oracle"], 42.0, 8**0.5)
    assert cam.gains == {}
    assert close(deal.figures["fixed"], 35.0, 8**0.5)
    assert close(deal.gains["fixed"], 4.0, 2**0.5)
    assert close(deal.gains["oracle"], 1.5, 0.5**0.5)
    assert close(isl.figures["fixed"], 31.0, None, 1)
    assert close(isl.gains["fixed"], -1.0, None, 1)
    assert close(isl.gains["oracle"], 6.0, None, 1)


def test_the_best_of_each_figure_is_marked_and_the_published_row_never(table):
    cam, deal, isl, published = table.rows
    assert cam.best == set()
    assert deal.best == {"fixed", "boundary_iou"}
    assert isl.best == {"oracle"}
    assert published.published
    assert published.best == set()
    assert published.gains["oracle"].mean == 5.439
    assert published.figures == dict.fromkeys(cam.figures)


def test_each_method_has_a_best_of_its_own():
    figures = {(v, s): (0.5, 0.6) for v in (Variant("seam"), CAM) for s in (0, 1)}
    figures |= {(Variant("seam", "deal", "sensor"), 0): (0.4, 0.7), (DEAL, 0): (0.6, 0.5)}
    table = table_of(with_table(LOSSES, losses=("none", "deal")), figures)
    best = {(r.axes["method"], r.axes["losses"]): r.best for r in table.rows if not r.published}
    assert "oracle" in best["seam", "deal"]
    assert "oracle" in best["cam", "none"]
    assert "fixed" in best["seam", "none"]
    assert "fixed" in best["cam", "deal"]


def test_means_that_look_the_same_are_all_the_best():
    figures = {(v, s): (0.5, 0.6) for v in (CAM, DEAL, ISL) for s in (0, 1)}
    figures[DEAL, 1] = (0.50005, 0.6)
    figures[ISL, 1] = (0.4, 0.6)
    rows = table_of(with_table(LOSSES, methods=("cam",)), figures).rows[:3]
    assert ["fixed" in row.best for row in rows] == [True, True, False]


def test_a_gain_that_rounds_to_nothing_has_no_minus():
    figures = {(v, s): (0.5, 0.6) for v in (CAM, DEAL) for s in (0, 1)}
    figures[DEAL, 1] = (0.49999, 0.6)
    text = markdown(table_of(with_table(LOSSES, methods=("cam",)), figures))
    assert "| +0.00 ± 0.00 |" in text
    assert f"{MINUS}0.00" not in text


def test_a_row_that_reads_no_depth_has_no_noise_of_it():
    noise = ("none", "level:1")
    plan = with_table(LOSSES, methods=("cam",), losses=("none", "deal"), noise=noise)
    text = markdown(table_of(plan, FIGURES))
    assert "| Plain CAM | baseline | \N{EN DASH} | 2 |" in text
    assert "| Plain CAM | + DEAL | none | 2 |" in text
    assert "| Plain CAM | + DEAL | level:1 | 0/2 |" in text


def test_what_is_not_there_is_missing_and_the_table_says_it_is_incomplete():
    table = table_of(with_table(LOSSES, methods=("cam",)), {(CAM, 0): (0.3, 0.4)})
    assert table.rows[1].figures["fixed"] is None
    assert table.rows[1].gains == {"fixed": None, "oracle": None}
    text = markdown(table)
    assert "| Plain CAM | + DEAL | 0/2 | missing | missing | missing |" in text
    assert "| Plain CAM | baseline | 1/2 | 30.00 |  | 40.00 |" in text
    assert "INCOMPLETE: 5 of 6 trainings are not finished" in text


def test_a_gain_without_its_baseline_is_missing():
    table = table_of(with_table(LOSSES, methods=("cam",)), {(DEAL, 0): (0.3, 0.4)})
    assert close(table.rows[1].figures["fixed"], 30.0, None, 1)
    assert table.rows[1].gains["fixed"] is None


def test_axes_that_vary_are_columns_and_others_are_notes(table):
    assert list(table.axes) == ["method", "losses"]
    assert any(
        "source of the depth: sensor; noise of the depth: none" in note for note in table.notes
    )
    depth = table_of(with_table(DEPTH), FIGURES)
    assert list(depth.axes) == ["method", "losses", "depth"]
    assert [row.axes["depth"] for row in depth.rows] == ["none", "sensor", "other"]


MARKDOWN = r"""
| method | losses | seeds | mIoU, fixed threshold | gain | max mIoU (ORACLE) | gain |
| Plain CAM | baseline | 2 | 31.00 ± 1.41 |  | 42.00 ± 2.83 |  |
| Plain CAM | + DEAL | 2 | **35.00 ± 2.83** | +4.00 ± 1.41 | 43.50 ± 3.54 | +1.50 ± 0.71 |
| Plain CAM | + ISL + DEAL | 1/2 | 31.00 | -1.00 | **50.00** | +6.00 |
| published | best gain (the paper) |  |  |  |  | +5.439 |
"""


def test_the_table_in_markdown(table):
    text = markdown(table)
    assert text.startswith("### Four pictures: losses\n")
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    first = ["|".join(row.split("|")[:8]) + "|" for row in rows]
    assert [row.replace(MINUS, "-") for row in first] == MARKDOWN.strip().splitlines()
    assert "the paper's own statement of its best gain in max mIoU, not results of ours" in text
    assert "Judged: split all, 4 images, 2 classes with background." in text


def test_the_table_in_latex_keeps_the_published_row_apart(table):
    lines = latex(table).splitlines()
    wide = r"\multicolumn{3}{l}{published: best gain (the paper)} &  &  &  & +5.439 &  &  \\"
    published = lines.index(wide)
    assert lines[published - 1] == r"\midrule"
    assert lines[published + 1] == r"\bottomrule"
    assert r"Plain CAM & + DEAL & 2 & \textbf{35.00 $\pm$ 2.83} & +4.00 $\pm$ 1.41 &" in latex(
        table
    )
    assert r"& 31.00 & $-$1.00 &" in latex(table)
    rows = [line for line in lines if line.endswith(r" \\") and line != wide]
    assert {row.count(" & ") for row in rows} == {8}
    assert lines.count(r"\end{tabular}") == 1


def test_the_notes_stay_with_a_latex_table_that_is_pasted_into_a_paper(table):
    under = latex(table).partition(r"\end{tabular}")[2]
    for said in ("ORACLE: the best of 101 thresholds", "``published''", r"mean $\pm$ standard"):
        assert said in under
    assert "\n%" not in latex(table)


def test_methods_are_parted_by_lines_in_latex():
    rows = latex(table_of(with_table(LOSSES), FIGURES)).splitlines()
    first = next(n for n, row in enumerate(rows) if row.startswith("seam"))
    assert rows[first - 1] == r"\midrule"
    assert rows.count(r"\midrule") == 3


def test_the_table_as_csv_has_whole_numbers_and_says_whose_a_row_is(table):
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert [row["origin"] for row in rows] == ["ours", "ours", "ours", "published"]
    assert float(rows[1]["fixed_mean"]) == pytest.approx(35.0, abs=1e-12)
    assert float(rows[1]["fixed_gain_std"]) == pytest.approx(2**0.5, abs=1e-12)
    assert (rows[2]["seeds"], rows[2]["seeds_asked"], rows[2]["fixed_std"]) == ("1", "2", "")
    assert rows[0]["fixed_gain_mean"] == ""
    assert (rows[3]["fixed_mean"], float(rows[3]["oracle_gain_mean"])) == ("", 5.439)


NASTY = 'a_b & 50% "x", {y}\\z #1 $~^|'


def test_nothing_in_a_name_breaks_a_table():
    grid = with_table(LOSSES, methods=("cam",))
    grid = replace(grid, published=(replace(GRID.published[0], label=NASTY),))
    table = table_of(grid, {})
    row = list(csv.DictReader(io.StringIO(comma_separated(table))))[-1]
    assert row["losses"] == f"{NASTY} (the paper)"
    line = next(line for line in markdown(table).splitlines() if "published" in line)
    assert line.replace("\\|", "").count("|") == 9 + 1
    line = next(line for line in latex(table).splitlines() if "published: " in line)
    escaped = r"a\_b \& 50\% " + '"x", ' + r"\{y\}\textbackslash{}z \#1 \$\textasciitilde{}"
    assert escaped + r"\textasciicircum{}\textbar{} (the paper)" in line


def test_latex_s_own_characters_are_escaped_once():
    assert latex_escaped("\\_") == r"\textbackslash{}\_"
    assert latex_escaped(f"1.0 ± 0.5 {MINUS}") == r"1.0 $\pm$ 0.5 $-$"
