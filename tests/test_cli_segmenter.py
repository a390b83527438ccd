"""`dealseg train-segmenter` and `evaluate` of a segmenter, through the real command."""

import csv
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dealseg.cli import main
from dealseg.models.segmenter import Segmenter, is_segmenter

TINY = [
    *("--data.long-side=64", "--optim.epochs=2", "--optim.batch-size=4", "--device=cpu"),
    *("--model.backbone=test_efficientnet", "--model.pretrained=false", "--model.width=32"),
]
CLASSES = ("board", "mat")
COLOURS = ((40, 40, 40), (200, 60, 40), (50, 70, 210))


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def scene(seed, height=48, width=64):
    """Return a mask of two rectangles and its image, in which each class has its colour."""
    draw = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for value in (1, 2):
        top, left = draw.integers(0, height // 2), draw.integers(0, width // 2)
        mask[top : top + height // 2, left : left + width // 3] = value
    noise = draw.normal(0, 12, (height, width, 3))
    image = np.asarray(COLOURS)[mask] + noise
    return mask, image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set of 12 training and 4 other images, and masks of the training images."""
    root = tmp_path_factory.mktemp("segmenter")
    data, masks = root / "data", root / "masks"
    names = [f"{index:03d}" for index in range(16)]
    for index, name in enumerate(names):
        mask, image = scene(index)
        write(data / "images" / f"{name}.png", image)
        write(data / "masks" / f"{name}.png", mask)
        if index < 12:
            write(masks / "masks" / f"{name}.png", mask)
    (data / "splits").mkdir()
    (data / "splits" / "train.txt").write_text("\n".join(names[:12]) + "\n")
    (data / "splits" / "val.txt").write_text("\n".join(names[12:]) + "\n")
    (data / "dataset.yaml").write_text("classes: [board, mat]\n")
    facts = {"classes": list(CLASSES), "threshold": 0.4, "split": "train", "data": str(data)}
    facts["masks"] = {name: {"confidence": 0.5} for name in names[:12]}
    (masks / "labels.json").write_text(json.dumps(facts))
    return root


@pytest.fixture
def own(made, tmp_path):
    """A copy of the masks that a test may change."""
    return shutil.copytree(made / "masks", tmp_path / "masks")


def command(made, out, *options, masks=None):
    labels = str(masks or made / "masks")
    cache = str(made / "features")
    given = ["train-segmenter", str(made / "data"), "--labels", labels, "--out", str(out)]
    return [*given, "--cache-dir", cache, *TINY, *options]


def weights(run):
    return load_file(run / "model.safetensors")


def same(one, two):
    one, two = weights(one), weights(two)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def run(made):
    out = made / "run"
    assert main(command(made, out)) == 0
    return out


def test_the_run_is_a_segmenter_with_its_classes_and_size(run):
    model = Segmenter.from_pretrained(run, "cpu")
    assert is_segmenter(run)
    assert not model.training
    assert (model.classes, model.long_side) == (CLASSES, 64)
    files = {path.name for path in run.iterdir()}
    wanted = {"config.json", "model.safetensors", "config.yaml", "metrics.csv", "environment.json"}
    assert wanted <= files
    assert "last.ckpt" not in files
    mask = model.predict(scene(14)[1])
    assert mask.shape == (48, 64)
    assert mask.dtype == np.uint8
    assert mask.max() <= 2


def test_the_same_command_gives_the_same_weights_to_the_bit(run, made, tmp_path):
    assert main(command(made, tmp_path / "again")) == 0
    assert same(run, tmp_path / "again")


@pytest.mark.parametrize("options", [["--average=0.5"], ["--profile=full"]])
def test_resumed_after_ctrl_c_it_ends_as_undisturbed(made, tmp_path, interrupted_once, options):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(command(made, broken, *options)) == 130
    assert is_segmenter(broken)
    assert not (broken / "model.safetensors").exists()
    assert main(command(made, broken, *options, "--resume")) == 0
    assert main(command(made, whole, *options)) == 0
    assert same(whole, broken)


def test_an_unfinished_or_taken_run_says_the_way_out(made, run, tmp_path, capsys):
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    (unfinished / "model.safetensors").unlink()
    assert main(["evaluate", str(unfinished), str(made / "data"), "--split", "val"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(command(made, run)) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(command(made, run, "--resume", "--seed=3")) == 2
    assert "seed" in capsys.readouterr().err
    assert main(["label", str(run), str(made / "data"), "--out", str(tmp_path / "x")]) == 2
    assert "dealseg predict" in capsys.readouterr().err


def test_it_learns_what_colours_say_and_is_judged_without_tags(made, tmp_path, capsys):
    out = tmp_path / "learnt"
    more = ("--profile=full", "--optim.epochs=12", "--optim.lr=0.003", "--freeze-batch-norm=false")
    assert main(command(made, out, *more)) == 0
    assert main(["evaluate", str(out), str(made / "data"), "--split", "val"]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert result["source"]["kind"] == "segmenter"
    assert result["source"]["tags"] == "none"
    assert result["fixed"]["mean_iou"] > 0.6
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss/total"]) < 0.6 * float(rows[0]["loss/total"])
    truth, image = scene(13)
    found = Segmenter.from_pretrained(out, "cpu").predict(image)
    assert (found == truth).mean() > 0.8


@pytest.mark.parametrize("method", ["crf", "affinity"])
def test_refined_it_is_judged_as_the_masks_that_predict_refines(made, run, tmp_path, method):
    data, out = str(made / "data"), tmp_path / "masks"
    names = (made / "data/splits/val.txt").read_text().split()
    (tmp_path / "images").mkdir()
    for name in names:
        shutil.copy(next((made / "data/images").glob(f"{name}.*")), tmp_path / "images")
    words = ["--out", str(out), "--refine", method]
    assert main(["predict", str(run), str(tmp_path / "images"), *words]) == 0
    judged = tmp_path / "judged.json"
    words = ["--split", "val", "--out", str(judged)]
    assert main(["evaluate", str(run), data, *words, "--refine", method]) == 0
    assert main(["evaluate", str(out), data, "--split", "val"]) == 0
    found, expected = (json.loads(f.read_text()) for f in (judged, out / "evaluation.json"))
    for figure in ("iou", "boundary_iou", "contour_f"):
        assert found["fixed"][figure] == expected["fixed"][figure]
    assert found["oracle"]["mean_iou"] >= found["fixed"]["mean_iou"]
    assert found["source"]["refinement"] == f"{method} along colour alone"
    assert "refined once" not in found["oracle"]["note"]  # no threshold is in the refinement


def test_a_segmenter_is_not_refined_along_depth(made, run, capsys):
    words = ["evaluate", str(run), str(made / "data"), "--refine", "crf", "--refine-depth", "true"]
    assert main(words) == 2
    assert "refine_depth is for runs" in capsys.readouterr().err


def test_ignored_pixels_and_masks_give_no_gradient(made, own, tmp_path):
    for name in ("000", "001"):
        write(own / "masks" / f"{name}.png", np.full((48, 64), 255, np.uint8))
    assert main(command(made, tmp_path / "run", masks=own)) == 0
    assert all(bool(value.isfinite().all()) for value in weights(tmp_path / "run").values())
    for file in (own / "masks").iterdir():
        write(file, np.full((48, 64), 255, np.uint8))
    assert main(command(made, tmp_path / "none", masks=own)) == 2
    assert not (tmp_path / "none").exists()


def test_images_without_a_mask_are_left_out_with_a_warning(made, own, tmp_path, caplog):
    (own / "masks" / "003.png").unlink()
    with caplog.at_level(logging.WARNING, logger="dealseg"):
        assert main(command(made, tmp_path / "run", masks=own)) == 0
    assert "1 of 12 images have no mask" in caplog.text
    assert "003" in caplog.text
    assert "masks_used: 11" in (tmp_path / "run" / "config.yaml").read_text()


def test_rejected_masks_are_left_out_as_if_they_were_not_there(made, own, tmp_path, capsys):
    review = {"format": "dealseg-review", "version": 1, "verdicts": {"002": "rejected"}, "tags": {}}
    (own / "review.json").write_text(json.dumps(review))
    (own / "masks" / "002.png").write_bytes(b"damaged: it must not even be read")
    assert main(command(made, tmp_path / "by", masks=own)) == 0
    assert "1 images left out" in capsys.readouterr().out
    (own / "review.json").rename(tmp_path / "elsewhere.json")
    (own / "masks" / "002.png").unlink()
    assert main(command(made, tmp_path / "without", masks=own)) == 0
    assert same(tmp_path / "by", tmp_path / "without")
    elsewhere = ("--review", str(tmp_path / "elsewhere.json"))
    assert main(command(made, tmp_path / "told", *elsewhere, masks=own)) == 0
    assert same(tmp_path / "by", tmp_path / "told")
    assert main(command(made, tmp_path / "no", "--review", "nowhere.json", masks=own)) == 2


def wrong_classes(own):
    facts = json.loads((own / "labels.json").read_text())
    (own / "labels.json").write_text(json.dumps({**facts, "classes": ["mat", "board"]}))
    return "classes"


def wrong_size(own):
    write(own / "masks" / "000.png", np.zeros((10, 12), np.uint8))
    return "12x10 pixels"


def wrong_value(own):
    write(own / "masks" / "000.png", np.full((48, 64), 7, np.uint8))
    return "000.png"


def other_names(own):
    for file in list((own / "masks").iterdir()):
        file.rename(file.with_name(f"other{file.name}"))
    return "no mask for any of the 12 images"


def no_confidence(own):
    facts = json.loads((own / "labels.json").read_text())
    (own / "labels.json").write_text(json.dumps({**facts, "masks": {}}))
    return "--loss.confidence 0"


@pytest.mark.parametrize(
    "spoil", [wrong_classes, wrong_size, wrong_value, other_names, no_confidence]
)
def test_masks_that_do_not_fit_are_refused_before_anything_is_written(
    made, own, tmp_path, capsys, spoil
):
    expected = spoil(own)
    out = tmp_path / "run"
    assert main(command(made, out, "--loss.confidence=1", masks=own)) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_equal_confidences_weigh_like_none(run, made, tmp_path):
    assert main(command(made, tmp_path / "sure", "--loss.confidence=2")) == 0
    one, two = weights(run), weights(tmp_path / "sure")
    assert all(torch.allclose(one[k].double(), two[k].double(), atol=1e-5) for k in one)


def test_the_averaged_weights_with_decay_near_zero_are_the_last_ones(run, made, tmp_path):
    assert main(command(made, tmp_path / "ema", "--average=1e-9")) == 0
    one, two = weights(run), weights(tmp_path / "ema")
    assert all(torch.allclose(one[k].double(), two[k].double(), atol=1e-6) for k in one)


@pytest.mark.parametrize("loss", ["generalised", "cross-entropy", "gradient-clipping"])
def test_every_loss_trains_to_other_weights_than_the_default(run, made, tmp_path, loss):
    more = ["--loss.clip-start=9"] if loss == "gradient-clipping" else []
    assert main(command(made, tmp_path / "r", f"--loss.name={loss}", *more)) == 0
    assert not same(run, tmp_path / "r")


def test_wrong_options_are_named(made, tmp_path, capsys):
    for option, said in [
        ("--model.backbone=nonesuch", "nonesuch"),
        ("--model.backbone=test_vit", "feature pyramid"),
        ("--frozen-stages=9", "frozen_stages"),
        ("--loss.q=0", "loss.q"),
        ("--loss.smoothing=0.1", "loss.smoothing must be 0.0 unless loss.name is cross-entropy"),
        ("--loss.q=0.3", "loss.q must be 0.7 unless loss.name is generalised, got 0.3"),
        ("--loss.clip-patches=2", "loss.clip_patches must be 4 unless loss.name is gradient-clip"),
        ("--model.width=33", "multiple of 32"),
    ]:
        assert main(command(made, tmp_path / "x", option)) == 2
        error = capsys.readouterr().err
        assert said in error, error
        assert error.count("\n") == 1, error
    given = ["train-segmenter", str(made / "data"), "--out", str(tmp_path / "x")]
    assert main(given) == 2
    assert "--labels" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("profile", ["cached", "full"])
def test_one_image_is_enough_and_where_it_is_not_the_way_out_is_said(
    made, own, tmp_path, capsys, profile
):
    for file in sorted((own / "masks").iterdir())[1:]:
        file.unlink()
    chosen = (f"--profile={profile}", "--data.long-side=32")
    for network in ("fpn", "unet"):
        options = (*chosen, f"--model.architecture={network}")
        assert main(command(made, tmp_path / network, *options, masks=own)) == 0
        assert all(bool(each.isfinite().all()) for each in weights(tmp_path / network).values())
    capsys.readouterr()
    pooling = (*chosen, "--model.architecture=deeplabv3plus")
    assert main(command(made, tmp_path / "pooling", *pooling, masks=own)) == 2
    error = capsys.readouterr().err
    assert "deeplabv3plus cannot be trained on one image at a time" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "pooling").exists()
    two = (*pooling, "--optim.batch-size=2")
    assert main(command(made, tmp_path / "two", *two)) == 0


def test_weaktrs_second_stage_trains_from_cached_blocks_and_is_loaded_again(made, tmp_path):
    out = tmp_path / "vit"
    options = ["--model.architecture=mask_transformer", "--model.backbone=test_vit"]
    assert main(command(made, out, *options, "--loss.name=gradient-clipping")) == 0
    model = Segmenter.from_pretrained(out, "cpu")
    assert model.config.architecture == "mask_transformer"
    assert model.predict(scene(14)[1]).shape == (48, 64)
    with (out / "metrics.csv").open() as file:
        losses = [float(row["loss/total"]) for row in csv.DictReader(file)]
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_classes_that_balance_weighs_up_are_found_more_often(made, tmp_path):
    shares = []
    for balance in (0, 1):
        out = tmp_path / str(balance)
        assert main(command(made, out, f"--loss.balance={balance}", "--optim.epochs=3")) == 0
        model = Segmenter.from_pretrained(out, "cpu")
        with torch.no_grad():
            image = torch.from_numpy(scene(14)[1]).permute(2, 0, 1)[None].float() / 255
            shares.append(float(model(image).softmax(1)[:, 1:].sum(1).mean()))
    assert shares[1] > shares[0]
