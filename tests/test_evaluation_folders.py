import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from dealseg.cam import normalise_cams, threshold_mask, winner_and_score
from dealseg.errors import ConfigError, DataError
from dealseg.evaluation import CamFolder, MaskFolder, ScoredImage, evaluate, open_source
from fakes import MemoryDataset

SIZE = (12, 16)


@pytest.fixture
def dataset():
    generator = torch.Generator().manual_seed(3)
    masks = torch.randint(4, (3, *SIZE), generator=generator).to(torch.uint8)
    masks[:, :2] = 255
    return MemoryDataset(list(masks), names=("a", "sub/b", "c"))


def write_mask(folder, name, mask):
    file = folder / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(file)


def write_masks(folder, dataset, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randint(4, (3, *SIZE), generator=generator).to(torch.uint8)
    for name, mask in zip(dataset.names, made, strict=True):
        write_mask(folder, name, mask)
    return made


def label_folder(root, dataset, **manifest):
    made = write_masks(root / "masks", dataset)
    content = {"classes": list(dataset.classes), "threshold": 0.25, "threshold_origin": "default"}
    (root / "labels.json").write_text(json.dumps(content | manifest))
    return made


def write_cams(folder, dataset, size=(5, 7), seed=0):
    """One file an image; values in falling order, to see that they are put right."""
    generator = torch.Generator().manual_seed(seed)
    cams = torch.randn(3, 3, *size, generator=generator)
    for name, maps in zip(dataset.names, cams, strict=True):
        file = folder / f"{name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, cams=maps.flip(0).numpy(), classes=np.array([3, 2, 1]))
    return cams


def scored(dataset, cams, tags):
    large = interpolate(cams, SIZE, mode="bilinear", align_corners=False)
    winner, score = winner_and_score(normalise_cams(large, tags))
    return [ScoredImage(*image) for image in zip(dataset.names, winner, score, strict=True)]


def test_masks_of_dealseg_label_give_the_figures_of_the_same_masks_from_scores(tmp_path, dataset):
    made = label_folder(tmp_path, dataset, run="runs/x", tags="data", weights_sha256="ab12")
    result = evaluate(tmp_path, dataset)
    as_scores = [
        ScoredImage(name, mask.clamp(min=1), (mask > 0).float())
        for name, mask in zip(dataset.names, made, strict=True)
    ]
    expected = evaluate(as_scores, dataset, threshold=0.5, threshold_origin="x").fixed
    assert result.fixed.iou == expected.iou
    assert result.fixed.boundary_iou == expected.boundary_iou
    assert (result.fixed.threshold, result.fixed.threshold_origin) == (0.25, "default")
    source = result.source
    assert (source.kind, source.path) == ("masks", str(tmp_path))
    assert (source.run, source.tags, source.weights_sha256) == ("runs/x", "data", "ab12")
    assert result.oracle is result.curve is None
    assert "ORACLE" not in result.table()


def test_masks_of_another_program_need_no_manifest(tmp_path, dataset):
    write_masks(tmp_path, dataset)
    result = evaluate(tmp_path, dataset)
    assert result.images == 3
    assert result.fixed.threshold is None
    assert "came finished" in result.fixed.threshold_origin


def test_masks_made_for_other_classes_are_refused(tmp_path, dataset):
    label_folder(tmp_path, dataset, classes=["box", "cup", "ball"])
    with pytest.raises(DataError, match=r"labels\.json: the masks were made for the classes"):
        evaluate(tmp_path, dataset)


def test_a_threshold_for_finished_masks_is_refused(tmp_path, dataset):
    write_masks(tmp_path, dataset)
    with pytest.raises(ConfigError, match="cannot apply to finished masks"):
        evaluate(tmp_path, dataset, threshold=0.3, threshold_origin="user")


def test_a_missing_mask_is_refused_before_anything_is_judged(tmp_path, dataset):
    write_masks(tmp_path, dataset)
    (tmp_path / "sub" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images .* no prediction: sub/b;"):
        evaluate(tmp_path, dataset)
    assert evaluate(tmp_path, dataset, allow_subset=True).images == 2


@pytest.mark.parametrize(
    ("split", "way_out"), [("val", "give --split val, which was labelled"), ("all", "label them")]
)
def test_masks_of_a_part_of_the_data_say_which(tmp_path, dataset, split, way_out):
    label_folder(tmp_path, dataset, split=split)
    (tmp_path / "masks/sub/b.png").unlink()
    with pytest.raises(DataError, match=rf"prediction: sub/b; {way_out}, or --allow-subset"):
        evaluate(tmp_path, dataset)
    with pytest.raises(DataError, match="prediction: sub/b; label them, or"):
        evaluate(tmp_path, dataset, split=split)


def test_a_missing_mask_of_an_image_without_ground_truth_is_no_matter(tmp_path, dataset):
    write_masks(tmp_path, dataset)
    (tmp_path / "c.png").unlink()
    dataset.masks[2] = None
    result = evaluate(tmp_path, dataset)
    assert (result.images, result.images_without_ground_truth, result.subset) == (2, 1, False)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((12, 15)), r"c\.png: the mask is 15x12 but the image is 16x12"),
        (np.full(SIZE, 4), r"c\.png: mask value 4 is out of range: expected 0 to 3"),
        (np.full(SIZE, 255), "c: predicted values must be 0 to 3 .* got 255"),
        (np.zeros((*SIZE, 3)), r"c\.png: expected a one-channel mask, got mode RGB"),
    ],
    ids=["size", "value", "ignored", "colour"],
)
def test_a_mask_that_does_not_fit_is_refused_with_its_file(tmp_path, dataset, mask, message):
    write_masks(tmp_path, dataset)
    write_mask(tmp_path, "c", mask)
    with pytest.raises(DataError, match=message):
        evaluate(tmp_path, dataset)


def test_a_prediction_of_255_is_allowed_where_the_ground_truth_ignores(tmp_path, dataset):
    made = write_masks(tmp_path, dataset)
    before = evaluate(tmp_path, dataset)
    write_mask(tmp_path, "c", made[2].masked_fill(dataset.masks[2] == 255, 255))
    assert evaluate(tmp_path, dataset) == before


def test_a_truncated_mask_is_refused_with_its_file(tmp_path, dataset):
    write_masks(tmp_path, dataset)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.png: cannot read this mask"):
        evaluate(tmp_path, dataset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read this JSON file"),
        ("[]", "expected an object with a list `classes`"),
        ('{"threshold": "high"}', "`threshold` must be a number, got 'high'"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path, dataset, text, message):
    write_masks(tmp_path, dataset)
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(DataError, match=message):
        evaluate(tmp_path, dataset)


def test_cams_are_resized_masked_by_the_tags_and_normalised(tmp_path, dataset):
    cams = write_cams(tmp_path, dataset)
    tags = torch.tensor([[1.0, 1, 1], [0, 1, 1], [1, 0, 0]])
    dataset.tag_rows = list(tags)
    given = {"threshold": 0.3, "threshold_origin": "default"}
    result = evaluate(tmp_path, dataset, **given, oracle_boundaries=True)
    expected = evaluate(scored(dataset, cams, tags), dataset, **given, oracle_boundaries=True)
    assert (result.fixed, result.curve) == (expected.fixed, expected.curve)
    assert result.oracle == expected.oracle
    assert (result.source.kind, result.source.tags) == ("cams", "data")


def test_cams_of_images_without_tags_keep_all_their_maps(tmp_path, dataset):
    cams = write_cams(tmp_path, dataset)
    dataset.tag_rows = [None] * 3
    result = evaluate(tmp_path, dataset, threshold=0.3, threshold_origin="default")
    all_of_them = scored(dataset, cams, torch.ones(3, 3))
    expected = evaluate(all_of_them, dataset, threshold=0.3, threshold_origin="default")
    assert result.curve == expected.curve


def test_each_map_of_a_file_takes_the_tag_of_its_own_class(tmp_path, dataset):
    write_cams(tmp_path, dataset)
    np.savez(tmp_path / "a.npz", cams=np.ones((2, 5, 7), np.float32), classes=[3, 1])
    dataset.tag_rows = [torch.tensor([0.0, 0.0, 1.0])] * 3
    image = CamFolder(tmp_path).prediction("a", SIZE, dataset, 0)
    assert threshold_mask(image.winner, image.score, 0.5).unique().tolist() == [3]


def test_normalised_cams_are_taken_as_they_are(tmp_path, dataset):
    half = np.full((1, *SIZE), 0.5, np.float32)
    for name in dataset.names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / f"{name}.npz", cams=half, classes=[2])
    source = CamFolder(tmp_path, normalised=True)
    index, truth = 0, dataset.masks[0]
    image = source.prediction("a", SIZE, dataset, index)
    assert image.winner.unique().tolist() == [2]
    assert image.score.unique().tolist() == [0.5]
    raised = CamFolder(tmp_path).prediction("a", SIZE, dataset, index)
    assert raised.score.unique().tolist() == [1.0]
    assert threshold_mask(image.winner, image.score, 0.5).sum() == 0
    assert truth.shape == image.winner.shape


def test_a_file_without_maps_is_background(tmp_path, dataset):
    write_cams(tmp_path, dataset)
    np.savez(tmp_path / "a.npz", cams=np.zeros((0, 5, 7), np.float32), classes=np.zeros(0, int))
    image = CamFolder(tmp_path).prediction("a", SIZE, dataset, 0)
    assert not threshold_mask(image.winner, image.score, 0.0).any()


MAPS = np.zeros((2, 5, 7), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"cams": MAPS}, "has no array 'classes'"),
        ({"cams": MAPS[0], "classes": [1]}, r"expected `cams` \(k, h, w\) and `classes` \(k,\)"),
        ({"cams": MAPS, "classes": [1]}, r"expected `cams` \(k, h, w\) and `classes` \(k,\)"),
        ({"cams": MAPS, "classes": [0, 1]}, r"different mask values from 1 to 3, got \[0, 1\]"),
        ({"cams": MAPS, "classes": [1, 4]}, r"different mask values from 1 to 3, got \[1, 4\]"),
        ({"cams": MAPS, "classes": [2, 2]}, r"different mask values from 1 to 3, got \[2, 2\]"),
        ({"cams": MAPS, "classes": [1.0, 2.0]}, "must be mask values .integers., got float64"),
        ({"cams": MAPS * np.nan, "classes": [1, 2]}, "values that are not finite"),
        ({"cams": MAPS.astype(object), "classes": [1, 2]}, "cannot read this CAM file"),
        ({"cams": MAPS[:, :0], "classes": [1, 2]}, "expected `cams`"),
    ],
)
def test_a_cam_file_that_does_not_fit_is_refused_with_its_name(tmp_path, dataset, arrays, message):
    write_cams(tmp_path, dataset)
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(DataError, match=rf"c\.npz: .*{message}"):
        evaluate(tmp_path, dataset, threshold=0.3, threshold_origin="default")


def test_cams_said_to_be_normalised_must_be(tmp_path, dataset):
    write_cams(tmp_path, dataset)
    source = CamFolder(tmp_path, normalised=True)
    with pytest.raises(DataError, match=r"a\.npz: .*must be in \[0, 1\]"):
        evaluate(source, dataset, threshold=0.3, threshold_origin="default")


def test_a_damaged_cam_file_is_refused_with_its_name(tmp_path, dataset):
    write_cams(tmp_path, dataset)
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"c\.npz: cannot read this CAM file"):
        evaluate(tmp_path, dataset, threshold=0.3, threshold_origin="default")


def test_a_folder_is_opened_as_what_it_holds(tmp_path, dataset):
    label_folder(tmp_path / "labels", dataset)
    write_cams(tmp_path / "cams", dataset)
    (tmp_path / "empty").mkdir()
    assert isinstance(open_source(tmp_path / "labels"), MaskFolder)
    assert isinstance(open_source(tmp_path / "cams"), CamFolder)
    with pytest.raises(DataError, match="empty: there are no masks here"):
        open_source(tmp_path / "empty")
    with pytest.raises(DataError, match="gone: expected a folder of masks"):
        open_source(tmp_path / "gone")
    with pytest.raises(DataError, match=r"holds masks .* and CAMs"):
        open_source(tmp_path)
