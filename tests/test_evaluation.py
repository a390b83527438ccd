import copy
import json
import weakref

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dealseg.cam import threshold_mask
from dealseg.errors import ConfigError, DataError
from dealseg.evaluation import EvaluationResult, ScoredImage, SourceInfo, evaluate
from dealseg.metrics import boundary_counts, boundary_iou, contour_counts, contour_f
from fakes import MemoryDataset
from oracles import miou as oracle
from oracles import tags as tag_oracle


def scene(images=4, seed=0, shape=(20, 24), ignored=0.1):
    """A data set of blocks, and scores that are right more often than not."""
    generator = torch.Generator().manual_seed(seed)
    masks, scored = [], []
    for index in range(images):
        truth = torch.randint(4, (5, 6), generator=generator).repeat_interleave(4, 0)
        truth = truth.repeat_interleave(4, 1)[: shape[0], : shape[1]]
        score = torch.rand(shape, generator=generator) * (0.4 + 0.6 * (truth > 0))
        winner = torch.where(
            (truth > 0) & (torch.rand(shape, generator=generator) < 0.7),
            truth,
            torch.randint(1, 4, shape, generator=generator),
        )
        truth[torch.rand(shape, generator=generator) < ignored] = 255
        masks.append(truth.to(torch.uint8))
        scored.append(ScoredImage(f"{index:06d}", winner.to(torch.uint8), score))
    return MemoryDataset(masks), scored


def judge(images, dataset, **options) -> EvaluationResult:
    return evaluate(images, dataset, **{"threshold": 0.3, "threshold_origin": "default", **options})


def stacked(dataset, scored):
    return (
        torch.stack([image.winner for image in scored]),
        torch.stack([image.score for image in scored]),
        torch.stack(list(dataset.masks)),
    )


def test_fixed_and_oracle_figures_equal_the_plain_loop_over_images_and_thresholds():
    dataset, scored = scene()
    result = judge(scored, dataset)
    winner, score, truth = stacked(dataset, scored)
    curve = [oracle.mean_iou(table) for table in oracle.sweep(winner, score, truth, 4)]
    assert result.curve == pytest.approx(curve, abs=1e-12)
    assert result.fixed.mean_iou == pytest.approx(curve[30], abs=1e-12)
    assert result.oracle.mean_iou == pytest.approx(max(curve), abs=1e-12)
    assert result.oracle.threshold == result.thresholds[curve.index(max(curve))]
    table = oracle.confusion(threshold_mask(winner, score, 0.3), truth, 4)
    expected = [oracle.figures(table, c) for c in range(4)]
    fixed = result.fixed
    found = zip(
        fixed.iou,
        fixed.precision,
        fixed.recall,
        fixed.false_positive_share,
        fixed.false_negative_share,
        strict=True,
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_outlines_are_summed_over_images_at_the_fixed_and_on_wish_at_the_oracle_threshold():
    dataset, scored = scene()
    result = judge(scored, dataset, oracle_boundaries=True)
    for figures in (result.fixed, result.oracle):
        masks = [threshold_mask(i.winner, i.score, figures.threshold) for i in scored]
        pairs = list(zip(masks, dataset.masks, strict=True))
        band = boundary_iou(sum(boundary_counts(mask, truth, 4) for mask, truth in pairs))
        contour = contour_f(sum(contour_counts(mask, truth, 4) for mask, truth in pairs))
        assert figures.boundary_iou == tuple(band.tolist())
        assert figures.contour_f == tuple(contour.tolist())
        assert figures.mean_boundary_iou == pytest.approx(sum(band.tolist()) / 4)
        assert figures.mean_contour_f == pytest.approx(sum(contour.tolist()) / 4)
    again = judge(scored, dataset)
    assert again.oracle.boundary_iou is None
    assert again.oracle.iou == result.oracle.iou


def test_without_outlines_the_other_figures_stay_the_same():
    dataset, scored = scene()
    plain, full = judge(scored, dataset, boundaries=False), judge(scored, dataset)
    assert plain.fixed.boundary_iou is plain.fixed.mean_contour_f is None
    assert plain.fixed.iou == full.fixed.iou
    assert plain.curve == full.curve


def test_a_perfect_prediction_scores_one_everywhere():
    dataset, _ = scene()
    scored = [
        ScoredImage(name, mask.masked_fill(mask == 255, 1).clamp(min=1), (mask > 0).float())
        for name, mask in zip(dataset.names, dataset.masks, strict=True)
    ]
    result = judge(scored, dataset)
    for figures in (result.fixed, result.oracle):
        assert figures.mean_iou == 1.0
        assert figures.precision == figures.recall == (1.0,) * 4
        assert figures.false_positive_share == figures.false_negative_share == (0.0,) * 4
    assert result.fixed.mean_boundary_iou == result.fixed.mean_contour_f == 1.0
    assert result.oracle.threshold == 0.0  # of equally good thresholds the lowest


def test_the_order_of_the_images_does_not_matter():
    dataset, scored = scene()
    assert judge(scored[::-1], dataset) == judge(scored, dataset)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_predictions_under_ignored_pixels_never_matter(seed):
    dataset, scored = scene(images=2, ignored=0.3)
    generator = torch.Generator().manual_seed(seed)
    changed = []
    for image, truth in zip(scored, dataset.masks, strict=True):
        winner = torch.randint(1, 4, truth.shape, generator=generator).to(torch.uint8)
        score = torch.rand(truth.shape, generator=generator)
        changed.append(
            ScoredImage(
                image.name,
                torch.where(truth == 255, winner, image.winner),
                torch.where(truth == 255, score, image.score),
            )
        )
    assert judge(changed, dataset) == judge(scored, dataset)


def test_images_are_let_go_one_after_the_other():
    dataset, scored = scene(images=6)
    alive = weakref.WeakSet()
    most = 0

    def stream():
        nonlocal most
        for image in scored:
            score = image.score.clone()
            alive.add(score)
            most = max(most, len(alive))
            yield ScoredImage(image.name, image.winner, score)
            del score

    judge(stream(), dataset)
    assert most <= 2


def test_images_without_ground_truth_are_left_out_and_counted():
    dataset, scored = scene()
    fewer = copy.replace(dataset) if hasattr(copy, "replace") else copy.copy(dataset)
    fewer.masks = [*dataset.masks[:3], None]
    result = judge(scored, fewer)
    assert (result.images, result.images_without_ground_truth, result.subset) == (3, 1, False)
    three = MemoryDataset(dataset.masks[:3])
    assert result.fixed == judge(scored[:3], three).fixed
    assert judge(scored[:3], fewer).images_without_ground_truth == 1


def test_missing_predictions_are_refused_with_their_names_unless_a_subset_is_allowed():
    dataset, scored = scene(images=9)
    message = r"8 of 9 images of memory .* no prediction: 000001, 000002, .*000005, \.\.\.;"
    with pytest.raises(DataError, match=message):
        judge(scored[:1], dataset)
    result = judge(scored[:1], dataset, allow_subset=True)
    assert (result.images, result.images_missing, result.subset) == (1, 8, True)
    assert "SUBSET: 8 with ground truth have no prediction" in result.table()
    assert json.loads(result.to_json())["subset"] is True


@pytest.mark.parametrize("masks", [[None, None], [torch.full((20, 24), 255, dtype=torch.uint8)]])
def test_a_data_set_without_ground_truth_is_told_that_only_evaluation_needs_it(masks):
    _, scored = scene(images=len(masks))
    message = r"memory: none of the \d images has a ground-truth mask .* evaluation only"
    with pytest.raises(DataError, match=message):
        judge(scored, MemoryDataset(masks))


def test_unknown_and_doubled_images_are_refused():
    dataset, scored = scene()
    stranger = ScoredImage("stranger", scored[0].winner, scored[0].score)
    with pytest.raises(DataError, match="stranger: this scored image is not in the data set"):
        judge([*scored, stranger], dataset)
    with pytest.raises(DataError, match="000001: this scored image came twice"):
        judge([*scored, scored[1]], dataset)


def test_scores_of_another_size_are_refused_with_both_sizes():
    dataset, scored = scene(images=1)
    small = ScoredImage("000000", scored[0].winner[:10], scored[0].score[:10])
    with pytest.raises(DataError, match="000000: the scores are 24x10, the ground truth is 24x20"):
        judge([small], dataset)


def test_values_out_of_range_are_refused_with_the_image():
    dataset, scored = scene(images=1)
    wrong = ScoredImage("000000", scored[0].winner + 3, scored[0].score)
    with pytest.raises(DataError, match="000000: winners must be 1 to 3, got"):
        judge([wrong], dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": None}, "scores need a fixed threshold and its origin"),
        ({"threshold_origin": None}, "scores need a fixed threshold and its origin"),
        ({"threshold": 30}, r"threshold must be in \[0, 1\], got 30"),
    ],
)
def test_scores_need_a_threshold_and_where_it_comes_from(options, message):
    dataset, scored = scene(images=1)
    with pytest.raises(ConfigError, match=message):
        judge(scored, dataset, **options)


def test_a_stream_that_runs_once_cannot_give_outlines_at_the_oracle_threshold():
    dataset, scored = scene(images=1)
    with pytest.raises(ConfigError, match="second pass"):
        judge(iter(scored), dataset, oracle_boundaries=True)


def test_tags_are_judged_where_scores_and_tags_are_known():
    dataset, scored = scene(images=6)
    generator = torch.Generator().manual_seed(1)
    probabilities = torch.rand(6, 3, generator=generator)
    tags = (torch.rand(6, 3, generator=generator) < 0.5).float()
    tags[0] = 1
    dataset.tag_rows = [*tags[:5], None]
    with_tags = [
        ScoredImage(image.name, image.winner, image.score, row)
        for image, row in zip(scored, probabilities, strict=True)
    ]
    found = judge(with_tags, dataset).tags
    columns = [(probabilities[:5, k].tolist(), tags[:5, k].tolist()) for k in range(3)]
    expected = [tag_oracle.average_precision(*column) for column in columns]
    f1 = [tag_oracle.f1([s > 0.5 for s in score], tag) for score, tag in columns]
    assert found.images == 5
    assert found.average_precision == pytest.approx(expected, abs=1e-9)
    assert found.mean_average_precision == pytest.approx(sum(expected) / 3)
    assert found.f1 == pytest.approx(f1, abs=1e-9)
    assert judge(scored, dataset).tags is None


def test_json_names_what_was_evaluated_and_holds_no_nan():
    dataset, scored = scene()
    dataset.classes = (*dataset.classes, "never")
    info = SourceInfo("scores", "runs/a", tags="data", run="runs/a", weights_sha256="ab12")
    data = json.loads(judge(scored, dataset, split="val", info=info).to_json())
    assert data["source"]["weights_sha256"] == "ab12"
    assert data["source"]["tags"] == "data"
    assert data["split"] == "val"
    assert data["images"] == 4
    assert data["ignore_index"] == 255
    assert data["class_map"]["0"] == "background"
    assert data["class_map"]["4"] == "never"
    assert data["fixed"]["iou"][4] is None
    assert data["fixed"]["threshold_origin"] == "default"
    assert "ground truth" in data["oracle"]["note"]
    assert len(data["thresholds"]) == len(data["curve"]) == 101
    ignored = sum(int((mask == 255).sum()) for mask in dataset.masks)
    assert data["ignored_share"] == pytest.approx(ignored / (4 * 20 * 24))


def test_the_table_tells_fixed_from_oracle_and_shows_every_class():
    dataset, scored = scene()
    result = judge(scored, dataset, split="val")
    lines = result.table().splitlines()
    assert "split val" in lines[0]
    assert lines[1].startswith("N = 4 images; ")
    fixed = next(line for line in lines if line.startswith("fixed"))
    best = next(line for line in lines if line.startswith("ORACLE "))
    assert f"{100 * result.fixed.mean_iou:.1f}" in fixed
    assert fixed.split()[-2:] == ["0.30", "default"]
    assert f"{result.oracle.threshold:.2f}" in best
    assert "chosen with the ground truth" in result.table()
    for value, name in enumerate(("background", "cup", "box", "ball")):
        row = next(line for line in lines if line.startswith(f"{value}  {name}"))
        assert row.split()[2] == f"{100 * result.fixed.iou[value]:.1f}"


def test_the_best_of_a_part_of_the_thresholds_is_not_called_an_upper_bound():
    """The scores are right below 0.3 only: the best of 0.40 to 0.59 is worse than the fixed one."""
    truth = torch.zeros(8, 8, dtype=torch.uint8)
    truth[:4] = 1
    dataset = MemoryDataset([truth], classes=("cup",))
    score = torch.where(truth > 0, 0.35, 0.1)
    images = [ScoredImage("000000", torch.ones_like(truth), score)]
    for name, bound in (("full", True), ("seam", False), ("weaktr", False)):
        result = judge(images, dataset, protocol=name)
        note = result.as_dict()["oracle"]["note"]
        assert f"ORACLE: {note}." in result.table()
        assert "chosen with the ground truth" in note
        assert ("upper bound" in note) is bound
        assert "not a result" in note
        assert (result.oracle.mean_iou >= result.fixed.mean_iou) is (name != "weaktr")


def test_the_table_says_what_another_protocol_tries_and_how_it_counts_absent_classes():
    dataset, scored = scene()
    text = judge(scored, dataset, protocol="seam").table()
    assert (
        "protocol seam: thresholds 0.00 to 0.59; classes in neither ground truth nor masks " in text
    )
    assert "count as 0" in text
    text = judge(scored, dataset, protocol="weaktr", threshold=0.4).table()
    assert "are left out" in text
    assert "of 0.40 to 0.59" in text


def test_a_failed_write_leaves_the_earlier_result_and_no_draft(tmp_path):
    dataset, scored = scene(images=1)
    result = judge(scored, dataset)
    target = tmp_path / "new" / "result.json"
    result.write_result(target)
    assert json.loads(target.read_text()) == result.as_dict() | {
        "thresholds": list(result.thresholds),
        "curve": list(result.curve),
    }
    assert [path.name for path in target.parent.iterdir()] == ["result.json"]
    folder = tmp_path / "folder.json"
    (folder / "kept").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"folder\.json: cannot write the result .*; take another --out"
    ):
        result.write_result(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "new"]
    assert (folder / "kept").is_dir()
