import pytest
from make_run import evaluation, make_run

from dealseg.report.records import read_runs
from dealseg.report.verdict import (
    MINUS,
    compare,
    comparisons,
    meaning,
    oracle_sentence,
    signed,
    spread_sentence,
    verdict,
)


@pytest.fixture
def runs(tmp_path):
    def read(*found):
        """Make runs of (losses, evaluation or None), and what else their configuration says."""
        paths = [
            make_run(tmp_path / f"run{place}", losses, evaluation=judged, metrics=None, **more)
            for place, (losses, judged, *rest) in enumerate(found)
            for more in (rest[0] if rest else {},)
        ]
        return read_runs(paths)

    return read


def pair(runs, before, after):
    return runs(("none", evaluation(before, before + 0.02)), ("deal", evaluation(after, 0.5)))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (0.412, 0.450, "baseline 41.2 → DEAL 45.0, +3.8 points, DEAL is better."),
        (0.412, 0.400, f"baseline 41.2 → DEAL 40.0, {MINUS}1.2 points, DEAL is worse."),
        (0.41204, 0.41196, "baseline 41.2 → DEAL 41.2, no difference."),
    ],
)
def test_the_verdict_says_better_worse_or_equal(runs, before, after, sentence):
    assert verdict(pair(runs, before, after)) == f"mIoU at the fixed threshold: {sentence}"


def test_the_gain_is_the_difference_of_the_figures_shown(runs):
    found = compare(pair(runs, 0.41249, 0.45051))
    assert (found.baseline, found.deal, found.gain) == (41.2, 45.1, 3.9)


def test_the_order_in_which_runs_are_given_does_not_turn_the_comparison(runs):
    found = compare(runs(("deal", evaluation(0.5)), ("none", evaluation(0.4))))
    assert (found.baseline, found.deal) == (40.0, 50.0)


def test_the_oracle_figures_stay_out_of_the_verdict_and_are_marked(runs):
    records = pair(runs, 0.40, 0.45)
    assert "42.0" not in verdict(records)
    assert oracle_sentence(records).startswith("baseline 42.0 → DEAL 50.0 (+8.0)")
    assert "upper bound" in oracle_sentence(records)


def test_several_seeds_are_averaged_with_their_spread(runs):
    records = runs(
        ("none", evaluation(0.40)),
        ("none", evaluation(0.42)),
        ("deal", evaluation(0.45)),
        ("deal", evaluation(0.47)),
    )
    assert "baseline 41.0 → DEAL 46.0, +5.0 points" in verdict(records)
    assert spread_sentence(records).endswith("standard deviations 1.4 and 1.4 points.")


def test_one_seed_is_said_to_be_one(runs):
    assert "One run does not show" in spread_sentence(pair(runs, 0.4, 0.5))


def test_runs_without_evaluation_are_said_to_have_none(runs):
    records = runs(("none", None), ("deal", None))
    assert "Not evaluated yet" in verdict(records)
    assert compare(records) is None
    assert oracle_sentence(records) is None


def test_one_evaluated_run_is_reported_alone(runs):
    records = runs(("none", None), ("deal", evaluation(0.45)))
    assert verdict(records) == "mIoU at the fixed threshold: DEAL 45.0."


@pytest.mark.parametrize("key", ["split", "dataset", "images"])
def test_figures_on_different_data_are_not_compared(runs, key):
    other = evaluation(0.5) | {key: 7}
    records = runs(("none", evaluation(0.4)), ("deal", other))
    assert compare(records) is None
    assert "cannot be compared" in verdict(records)


@pytest.mark.parametrize(
    ("losses", "more"),
    [("deal", {"method": "seam"}), ("deal", {"backbone": "resnet18"}), ("deal,isl,fsl", {})],
)
def test_what_another_method_backbone_or_loss_gains_is_not_put_down_to_deal(runs, losses, more):
    records = runs(("none", evaluation(0.4, 0.5)), (losses, evaluation(0.45, 0.5), more))
    assert compare(records) is None
    assert oracle_sentence(records) is None
    assert "40.0" in verdict(records)
    assert "45.0" in verdict(records)
    assert "better" not in verdict(records)
    assert "differ in more than DEAL" in verdict(records)


def test_deal_on_top_of_other_losses_is_compared_with_those_losses_alone(runs):
    records = runs(("isl,fsl", evaluation(0.4)), ("deal,isl,fsl", evaluation(0.45)))
    assert verdict(records).endswith("baseline 40.0 → DEAL 45.0, +5.0 points, DEAL is better.")


def test_each_method_is_compared_with_itself(runs):
    seam = {"method": "seam"}
    records = runs(
        ("none", evaluation(0.30)),
        ("deal", evaluation(0.33)),
        ("none", evaluation(0.40), seam),
        ("deal", evaluation(0.39), seam),
    )
    assert verdict(records) == (
        "mIoU at the fixed threshold, baseline → DEAL: "
        f"cam 30.0 → 33.0 (+3.0), seam 40.0 → 39.0 ({MINUS}1.0)."
    )
    assert compare(records) is None
    assert len(comparisons(records)) == 2
    assert spread_sentence(records).startswith("One run does not show")


def test_a_single_comparison_among_several_methods_says_which(runs):
    seam = {"method": "seam"}
    judged = (
        ("none", evaluation(0.3)),
        ("deal", evaluation(0.33)),
        ("none", evaluation(0.4), seam),
    )
    assert verdict(runs(*judged)).startswith("mIoU at the fixed threshold, cam: baseline 30.0")


def test_oracle_figures_of_different_protocols_are_not_compared_but_fixed_ones_are(runs):
    seam = evaluation(0.45, 0.5, protocol={"protocol": "seam", "stopped_early": False})
    records = runs(("none", evaluation(0.4, 0.42)), ("deal", seam))
    assert "+5.0 points" in verdict(records)
    assert "42.0" not in oracle_sentence(records)
    assert "different protocols (full, seam)" in oracle_sentence(records)


def test_the_oracle_figures_of_one_other_protocol_say_which(runs):
    searched = {"protocol": {"protocol": "weaktr", "stopped_early": True}}
    records = runs(
        ("none", evaluation(0.4, 0.42, **searched)), ("deal", evaluation(0.4, 0.5, **searched))
    )
    assert "baseline 42.0 → DEAL 50.0" in oracle_sentence(records)
    assert "protocol weaktr" in oracle_sentence(records)
    assert "upper bound" not in oracle_sentence(records)


def test_a_mean_that_is_missing_is_no_zero(runs):
    judged = evaluation(0.4)
    judged["fixed"]["mean_iou"] = None
    records = runs(("none", judged), ("deal", evaluation(0.5)))
    assert compare(records) is None


def test_the_meaning_follows_the_sign(runs):
    assert "5.0 points better" in meaning(pair(runs, 0.4, 0.45))[-1]


def test_signs_are_typographic_and_zero_has_none():
    assert [signed(x) for x in (1.25, -1.2, 0.0)] == ["+1.2", f"{MINUS}1.2", "0.0"]
