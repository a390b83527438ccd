"""The whole way through the real commands: tags, CAMs, refined masks, segmenter, ONNX, exports."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from dealseg.cli import main

README = Path(__file__).parents[1] / "README.md"
SMALL = ("--device", "cpu", "--data.long_side", "64")
ONE_CORE = ("--optim.epochs", "2", "--optim.batch_size", "4")


def call(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    """Everything from nothing but the commands of the README."""
    pytest.importorskip("onnxruntime")
    top = tmp_path_factory.mktemp("chain")
    data, masks, net = top / "data", top / "masks", top / "runs/segmenter"
    call("synth", "--out", data, "--images", 12, "--val_images", 4, "--size", 64)
    call("train", data, "--data.split", "train", "--out", top / "run", *SMALL, *ONE_CORE)
    label = ("label", top / "run", data, "--split", "train", "--threshold", "auto")
    call(*label, "--refine", "affinity", "--ignore", "0.05", "--out", masks)
    call("train-segmenter", data, "--labels", masks, "--out", net, *SMALL, *ONE_CORE)
    call("export-model", net, "--format", "onnx", "--out", top / "model.onnx")
    for name, model in (("torch", net), ("onnx", top / "model.onnx")):
        call("predict", model, data, "--split", "val", "--out", top / name)
    call("export", top / "onnx", "--format", "coco", "--data", data, "--out", top / "coco")
    call("evaluate", top / "onnx", data, "--split", "val")
    return top


def pictures(folder: Path) -> dict[str, np.ndarray]:
    found = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.png")}
    return {name: read_mask(path) for name, path in found.items()}


def read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_onnx_predicts_the_masks_that_pytorch_predicts(chain):
    ours, theirs = pictures(chain / "torch/masks"), pictures(chain / "onnx/masks")
    assert len(ours) == 4
    assert ours.keys() == theirs.keys()
    for name, mask in ours.items():
        assert (mask == theirs[name]).mean() >= 0.999, name


def test_the_masks_tell_threshold_refinement_and_confidence(chain):
    told = json.loads((chain / "masks/labels.json").read_text())
    assert told["refine"] == "affinity"
    assert told["threshold_origin"].startswith("auto")
    assert len(told["masks"]) == 12
    assert all(0 <= each["confidence"] <= 1 for each in told["masks"].values())


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools and numpy 2
def test_coco_holds_the_predicted_pixels_and_no_others(chain):
    coco = COCO(str(chain / "coco/instances.json"))
    masks = pictures(chain / "onnx/masks")
    classes = json.loads((chain / "onnx/labels.json").read_text())["classes"]
    names = {each["id"]: each["name"] for each in coco.dataset["categories"]}
    assert len(coco.dataset["images"]) == len(masks)
    for image in coco.dataset["images"]:
        stem = image["file_name"].rsplit(".", 1)[0].replace("/rgb/", "/")
        drawn = np.zeros_like(masks[stem])
        for part in coco.loadAnns(coco.getAnnIds(image["id"])):
            inside = rle.decode(part["segmentation"]).astype(bool)
            assert not drawn[inside].any()
            drawn[inside] = 1 + classes.index(names[part["category_id"]])
        assert (drawn == masks[stem]).all()


def test_the_readme_s_segmenter_example_runs(chain, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    Image.new("RGB", (48, 40), "grey").save(chain / "photo.jpg")
    monkeypatch.chdir(chain)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["mask"].shape == (40, 48)
    assert read_mask(Path("overlay.png")).shape == (40, 48, 3)


def test_the_prediction_has_its_figures(chain):
    told = json.loads((chain / "onnx/evaluation.json").read_text())
    assert 0 < told["fixed"]["mean_iou"] <= 1
