"""`dealseg export-model`, as a user calls it."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from dealseg.config.segmenter import SegmenterConfig
from dealseg.deploying import checking, compare, evenly_spaced, graphs, torchscript
from dealseg.errors import CheckpointError
from dealseg.models.segmenter import Segmenter
from fake_networks import write_run
from small_segmenters import picture, read_mask

DOCS = Path(__file__).parents[2] / "docs/predict.md"
SHAPES = [(1, 36, 70), (3, 61, 83), (1, 5, 200), (2, 100, 36)]
"""None of them is tried on export."""


def noise(shape, seed=1):
    batch, height, width = shape
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def logits_of(file, images):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"image": images.numpy()})[0])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_onnx_file_computes_the_segmenters_logits_at_any_size(exported, shape):
    with torch.no_grad():
        expected = exported.model(noise(shape))
    found = logits_of(exported.file, noise(shape))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_onnx_file_says_all_that_is_needed_to_use_it(exported):
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type) == ("image", "tensor(float)")
    assert image.shape == ["batch", 3, "height", "width"]
    assert (logits.name, logits.shape) == ("logits", ["batch", 3, "height", "width"])
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["classes"]) == ["cup", "Teller ☃"]
    assert json.loads(said["colours"]) == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert (said["long_side"], said["output"], said["numbers"]) == ("64", "logits", "float32")
    assert "RGB from 0 to 1" in said["input"]
    weights = Path(exported.folder, "model.safetensors").read_bytes()
    assert said["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    model = onnx.load(exported.file)
    onnx.checker.check_model(model)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert model.ir_version == 8  # with opset 18: what onnxruntime 1.14 reads


def test_the_onnx_file_does_not_tell_where_it_was_made(exported):
    content = exported.file.read_bytes()
    for secret in (sys.prefix, str(Path(checking.__file__).parent), "site-packages", ".py"):
        assert secret.encode() not in content


def test_predict_makes_the_same_masks_with_the_onnx_file(tmp_path, run, exported):
    for model, out in ((exported.folder, "torch"), (exported.file, "onnx")):
        told = run("predict", model, exported.images, "--out", tmp_path / out)
        assert (told.code, told.err) == (0, "")
    for name in ("0", "1", "2"):
        masks = [read_mask(tmp_path / f"{out}/masks/{name}.png") for out in ("torch", "onnx")]
        assert np.mean(masks[0] == masks[1]) > 0.999
    said = [json.loads((tmp_path / out / "labels.json").read_text()) for out in ("torch", "onnx")]
    assert said[0]["classes"] == said[1]["classes"]
    assert said[1]["run"] == str(exported.file.resolve())
    sure = [[mask["confidence"] for mask in each["masks"].values()] for each in said]
    assert sure[0] == pytest.approx(sure[1], abs=1e-3)
    told = run("predict", exported.file, exported.images, "--out", tmp_path / "w", "--window", "32")
    assert told.code == 0


def test_the_example_for_robots_works_without_dealseg_and_pytorch(tmp_path, exported):
    text = DOCS.read_text(encoding="utf-8").partition("## On the robot")[2]
    code = re.search(r"```python\n(.+?)```", text, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 17
    (tmp_path / "model.onnx").write_bytes(exported.file.read_bytes())
    pixels = picture(0, 240, 320)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=95)
    code += "\nimport sys\nassert not {'torch', 'dealseg'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        assert mask.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        found = np.asarray(mask)
    expected = exported.model.predict(tmp_path / "photo.jpg")
    assert np.mean(found == expected) > 0.95  # classes are enlarged there, logits here


def test_the_model_with_classes_gives_the_largest_logit_as_uint8(tmp_path, run, exported, quick):
    file = tmp_path / "classes.onnx"
    words = ("export-model", exported.folder, "--format", "onnx", "--out", file)
    told = run(*words, "--output", "classes")
    assert (told.code, told.err) == (0, "")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (output,) = session.get_outputs()
    assert (output.name, output.type) == ("classes", "tensor(uint8)")
    assert output.shape == ["batch", "height", "width"]
    for shape in SHAPES:
        found = session.run(None, {"image": noise(shape).numpy()})[0]
        assert np.array_equal(found, logits_of(exported.file, noise(shape)).argmax(1))
    told = run("predict", file, exported.images, "--out", tmp_path / "out")
    assert told.code == 2
    assert "gives class maps only; export it with --output logits" in told.err


@pytest.mark.parametrize("calibrated", [True, False])
def test_eight_bits_are_smaller_and_their_cost_is_told(tmp_path, run, exported, quick, calibrated):
    file = tmp_path / "int8.onnx"
    words = ["export-model", exported.folder, "--format", "onnx", "--out", file, "--int8"]
    words += ["--calibrate", exported.images] if calibrated else []
    told = run(*words)
    assert (told.code, told.err) == (0, "")
    before, after = exported.file.stat().st_size, file.stat().st_size
    assert after < 0.75 * before
    cost = re.search(
        r"int8: ([\d.]+) -> ([\d.]+) MB, 640x480 on this processor ([\d.]+) -> ([\d.]+) images a "
        r"second\n",
        told.out,
    )
    assert [float(cost[1]), float(cost[2])] == [round(before / 1e6, 1), round(after / 1e6, 1)]
    if cost[3] != cost[4]:  # rounded as they are
        assert ("int8 is slower here" in told.out) == (float(cost[4]) < float(cost[3]))
    if calibrated:
        images = [torch.tensor(picture(n)).permute(2, 0, 1)[None] / 255 for n in range(3)]
        with torch.no_grad():
            truth = [exported.model(image).argmax(1) for image in images]
        found = [logits_of(file, image).argmax(1) for image in images]
        equal = torch.stack(found).eq(torch.stack(truth)).float().mean()
        said = re.search(r"int8: ([\d.]+) % of the pixels equal on 3 images\n", told.out)
        assert float(said[1]) == pytest.approx(100 * float(equal), abs=0.006)
        assert equal > 0.8
    else:
        assert "how many pixels change is unknown without images" in told.out
    said = onnx.load(file).metadata_props
    numbers = next(each.value for each in said if each.key == "numbers")
    assert numbers == ("int8, static" if calibrated else "int8 weights, dynamic")
    assert run("predict", file, exported.images, "--out", tmp_path / "out").code == 0


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 127, 128, 1000])
def test_calibration_looks_at_images_from_all_over_a_set(count):
    files = [Path(str(number)) for number in range(count)]
    found = [int(file.name) for file in evenly_spaced(files, 64)]
    assert len(found) == min(count, 64)
    assert found == sorted(set(found))
    gaps = np.diff([*found, count])
    assert all(gaps <= max(1, -(-count // 64)))


def nudge(graph):
    """Change one number of the last layer by a little."""
    bias = next(each for each in graph.graph.initializer if list(each.dims) == [3])
    values = onnx.numpy_helper.to_array(bias).copy()
    values[1] += 0.5
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))


def test_an_export_that_differs_is_an_error_and_changes_no_file(tmp_path, run, exported, quick):
    quick(nudge)
    (tmp_path / "old.onnx").write_bytes(b"old")
    for name in ("new.onnx", "old.onnx"):
        told = run("export-model", exported.folder, "--format", "onnx", "--out", tmp_path / name)
        assert told.code == 2
        assert told.err.count("\n") == 1
        assert "not written: the exported model deviates from PyTorch by 0." in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_bytes() == b"old"


def test_the_comparison_counts_pixels_and_finds_the_largest_deviation(exported):
    images = [noise(shape) for shape in SHAPES]

    def shifted(batch):
        with torch.no_grad():
            logits = exported.model(batch).clone()
        logits[:, 0] += 0.25
        return logits

    with torch.no_grad():
        truth = [exported.model(batch).argmax(1).flatten() for batch in images]
    found = [shifted(batch).argmax(1).flatten() for batch in images]
    equal = float(torch.cat(truth).eq(torch.cat(found)).double().mean())
    parity = compare(exported.model, shifted, images)
    assert parity.deviation == pytest.approx(0.25, rel=1e-4)
    assert parity.equal == pytest.approx(equal)
    assert 0.5 < equal < 0.999
    assert not parity.holds
    assert compare(exported.model, exported.model, images).holds


def test_torchscript_computes_the_same_at_any_size_and_says_what_it_is(tmp_path, run, exported):
    file = tmp_path / "model.pt"
    told = run("export-model", exported.folder, "--format", "torchscript", "--out", file)
    assert (told.code, told.err) == (0, "")
    assert "PyTorch has deprecated TorchScript" in told.out
    loaded = torchscript.open_torchscript(file)
    for shape in SHAPES:
        with torch.no_grad():
            assert torch.equal(loaded(noise(shape)), exported.model(noise(shape)))
    with zipfile.ZipFile(file) as archive:
        name = next(each for each in archive.namelist() if each.endswith(torchscript.FACTS))
        said = json.loads(archive.read(name))
    assert json.loads(said["classes"]) == ["cup", "Teller ☃"]


def test_torchscript_takes_the_mask_transformer_too(tmp_path, run):
    config = SegmenterConfig("mask_transformer", backbone="test_vit", pretrained=False)
    model = Segmenter(("cup",), config, long_side=64).eval()
    model.save_pretrained(tmp_path / "seg")
    file = tmp_path / "model.pt"
    assert run("export-model", tmp_path / "seg", "--format", "torchscript", "--out", file).code == 0
    loaded = torchscript.open_torchscript(file)
    for shape in SHAPES:
        with torch.no_grad():
            torch.testing.assert_close(loaded(noise(shape)), model(noise(shape)))


def test_an_exported_model_that_fails_on_a_size_is_an_error_that_names_it(exported):
    def picky(batch):
        if batch.shape[-1] == 83:
            raise RuntimeError("several lines\nthe last says what")
        with torch.no_grad():
            return exported.model(batch)

    expected = r"fails on 3 images of 83x61 \(the last says what\)"
    with pytest.raises(CheckpointError, match=expected):
        compare(exported.model, picky, map(noise, SHAPES))


def test_a_folder_that_was_not_finished_is_not_in_the_way(tmp_path, run, exported, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    folder = tmp_path / "model"
    words = ("export-model", exported.folder, "--format", "safetensors", "--out", folder)
    with monkeypatch.context() as patch:
        patch.setattr("dealseg.deploying.export.compare", interrupted)
        assert run(*words).code == 130
    assert list(folder.iterdir()) == []
    assert run(*words).code == 0


def test_safetensors_are_a_folder_that_gives_the_same_segmenter(tmp_path, run, exported):
    folder = tmp_path / "model"
    told = run("export-model", exported.folder, "--format", "safetensors", "--out", folder)
    assert (told.code, told.err) == (0, "")
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    again = Segmenter.from_pretrained(folder, "cpu")
    assert (again.classes, again.long_side) == (("cup", "Teller ☃"), 64)
    with torch.no_grad():
        assert torch.equal(again(noise((1, 33, 47))), exported.model(noise((1, 33, 47))))
    told = run("export-model", exported.folder, "--format", "safetensors", "--out", folder)
    assert told.code == 2
    assert "is not an empty folder" in told.err


def test_mistakes_are_said_in_one_line_and_write_nothing(
    tmp_path, run, exported, quick, monkeypatch
):
    write_run(tmp_path / "run")
    (tmp_path / "run/d.onnx").mkdir()
    seg, file, made = exported.folder, tmp_path / "x.onnx", ("--out", tmp_path / "x.onnx")
    cases = [
        ((tmp_path / "run", "--format", "onnx", *made), "is a first-stage run, whose CAMs need"),
        ((tmp_path / "none", "--format", "onnx", *made), "none: not a segmenter"),
        ((seg, "--format", "onnx", "--out", tmp_path / "x.pt"), "out must end in .onnx for onnx"),
        ((seg, "--format", "onnx", "--out", tmp_path / "run/d.onnx"), "d.onnx: is a folder"),
        ((seg, "--format", "safetensors", *made), "out must be a folder, without suffix"),
        ((seg, "--format", "torchscript", "--out", tmp_path / "x.pt", "--int8"), "are for onnx"),
        ((seg, "--format", "onnx", *made, "--calibrate", exported.images), "give --int8 too"),
        ((seg, "--format", "onnx", *made, "--split", "val"), "given with --calibrate"),
        ((seg, "--format", "onnx", *made, "--int8", "--calibrate", tmp_path / "no"), "there is no"),
    ]
    for words, expected in cases:
        told = run("export-model", *words)
        assert (told.code, told.out) == (2, ""), words
        assert told.err.count("\n") == 1
        assert expected in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for words in (
        ("export-model", seg, "--format", "onnx", *made),
        ("predict", file, exported.images, *made),
    ):
        told = run(*words)
        assert told.code == 2
        assert "pip install 'dealseg[onnx]'" in told.err
    assert not file.exists()


def test_a_pytorch_that_is_too_old_is_said_and_writes_nothing(tmp_path, run, exported, monkeypatch):
    monkeypatch.setattr(graphs, "OLDEST_TORCH", (99, 1))
    told = run("export-model", exported.folder, "--format", "onnx", "--out", tmp_path / "x.onnx")
    assert told.code == 2
    assert "writing ONNX needs PyTorch 99.1 or newer, this is" in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_exported_segmenter_is_refused(tmp_path, run, exported):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    foreign = onnx.load(exported.file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    said = {
        "junk": "onnxruntime cannot read this model",
        "foreign": "does not say its classes and size",
    }
    for name, expected in said.items():
        told = run("predict", tmp_path / f"{name}.onnx", exported.images, "--out", tmp_path / "out")
        assert told.code == 2
        assert told.err.count("\n") == 1
        assert expected in told.err
