"""Damaged files give a valid result or one DataError on one line, never another exception."""

import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_bop import write_scene
from make_folder import save_palette, scene, write_coco, write_folder
from PIL import Image

from dealseg.data import check_dataset, open_dataset
from dealseg.data.files import image_size, read_depth, read_image
from dealseg.data.masks import LabelFile
from dealseg.errors import DataError

fuzz = settings(
    max_examples=150,
    derandomize=True,  # the same cases in every run; raise max_examples to search
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def encode(values: np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    if kind == "NPY":
        np.save(stream, values)
    else:
        Image.fromarray(values).save(stream, kind, **options)
    return stream.getvalue()


def exif() -> bytes:
    header = Image.Exif()
    header[0x0112] = 6
    return header.tobytes()


IMAGE, METRES, MASK = scene()
DEPTH = (METRES * 1000).astype(np.uint16)
VALID_IMAGES = [
    encode(IMAGE, "JPEG", exif=exif()),
    encode(IMAGE, "PNG"),
    encode(IMAGE, "TIFF"),
    encode(IMAGE, "TIFF", compression="tiff_lzw"),
]
VALID_DEPTHS = [
    encode(DEPTH, "PNG"),
    encode(DEPTH, "TIFF"),
    encode(METRES.astype(np.float32), "TIFF"),
    encode(METRES.astype(np.float32), "TIFF", compression="tiff_deflate"),
]
VALID_NPY = [encode(DEPTH, "NPY"), encode(METRES, "NPY")]


@st.composite
def damaged(draw, originals: list[bytes]) -> bytes:
    """Random bytes, or a good file that is cut, flipped, overwritten or lengthened somewhere."""
    data = bytearray(draw(st.sampled_from(originals)))
    how = draw(st.sampled_from(["noise", "cut", "flip", "overwrite", "insert"]))
    # Headers break in more ways than pixels, so half of the places are near the start.
    near = st.integers(0, min(200, len(data) - 1))
    places = draw(st.lists(near | st.integers(0, len(data) - 1), min_size=1, max_size=4))
    if how == "noise":
        return draw(st.binary(max_size=200))
    if how == "cut":
        return bytes(data[: places[0]])
    for place in places:
        if how == "flip":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "overwrite":
            data[place : place + 4] = draw(
                st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff" * 2])
            )
        else:
            data[place:place] = draw(st.binary(max_size=8))
    return bytes(data)


def survives(action):
    """Return the result of `action`, or None if it raised one line of DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return action()
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    return None


@fuzz
@given(data=damaged(VALID_IMAGES))
def test_damaged_images(tmp_path, data):
    file = tmp_path / "a.png"
    file.write_bytes(data)
    read = survives(lambda: (read_image(file), image_size(file)))
    if read is not None:
        image, size = read
        assert image.dtype == torch.uint8
        assert tuple(image.shape[1:]) == size


@fuzz
@given(data=damaged(VALID_DEPTHS))
def test_damaged_depth_pictures(tmp_path, data):
    check_depth(tmp_path / "a.png", data)


@fuzz
@given(data=damaged(VALID_NPY))
def test_damaged_depth_arrays(tmp_path, data):
    check_depth(tmp_path / "a.npy", data)


def check_depth(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    raw = survives(lambda: read_depth(file))
    if raw is not None:
        assert raw.ndim == 2
        assert raw.size > 0
        assert raw.dtype.kind in "uif"


@fuzz
@given(data=st.data())
def test_damaged_masks(tmp_path, data):
    good = save_palette(tmp_path / "good.png", MASK).read_bytes()
    (tmp_path / "m.png").write_bytes(data.draw(damaged([good, encode(MASK, "PNG")])))
    mask = survives(lambda: LabelFile(tmp_path / "m.png").read(MASK.shape, 2))
    if mask is not None:
        assert mask.shape == MASK.shape
        assert set(np.unique(mask)) <= {0, 1, 2, 255}


def read_whole(root: Path, split: str | None) -> None:
    dataset = open_dataset(root, split=split)
    for index in range(len(dataset)):
        dataset.tags(index), dataset.depth(index), dataset.mask(index)


def try_damaged_text(root: Path, file: Path, data: bytes, split: str | None = None) -> None:
    """Open and check a data set in which one file has other bytes; then put the file back."""
    original = file.read_bytes()
    file.write_bytes(data)
    try:
        opened = survives(lambda: read_whole(root, split) or True)
        report = survives(lambda: check_dataset(root, split=split))
    finally:
        file.write_bytes(original)
    assert report is None or not (opened is None and report.ok), "check overlooks what open refuses"


TEXTS = ["tags.csv", "dataset.yaml", "annotations.json", "splits/train.txt"]
CSV_WORDS = ["name", "tags", "a", "b", "cup", ";", ",", '"', "\n", "\r\n", " ", "\0", "\ufeff"]
YAML_WORDS = [
    "classes",
    "depth",
    "unit",
    "scale",
    "kind",
    "m",
    "1e999",
    "null",
    "&x",
    "*x",
    "!!set",
]
JSON_WORDS = ["images", "annotations", "categories", "id", "file_name", "0", "-1", "2001-99-99"]
WORDS = st.sampled_from([*CSV_WORDS, *YAML_WORDS, *JSON_WORDS, *"[]{}:-"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("fuzz") / "set", {"a": "cup", "b": "plate"})
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("a\nb\n")
    coco = shutil.copytree(root, root.with_name("coco"))
    (coco / "tags.csv").unlink()
    write_coco(coco / "annotations.json", {"a": "cup", "b": "plate"})
    return root


@fuzz
@given(data=st.data(), name=st.sampled_from(TEXTS))
def test_damaged_and_made_up_texts_of_a_folder_set(folder, data, name):
    root = folder.with_name("coco") if name == "annotations.json" else folder
    words = st.lists(WORDS, max_size=30).map(lambda parts: "".join(parts).encode())
    content = data.draw(damaged([(root / name).read_bytes()]) | words)
    try_damaged_text(root, root / name, content, split="train" if "splits" in name else None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["0", "8", "x", "-1", "obj_id", "depth_scale", "visib_fract"]), inner
        )
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def bop(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("fuzz") / "000001", (5, 9), ids=(0, 8))


@fuzz
@given(data=st.data(), name=st.sampled_from(["scene_gt", "scene_gt_info", "scene_camera"]))
def test_damaged_and_made_up_json_of_a_scene(bop, data, name):
    file = bop / f"{name}.json"
    made_up = (JSON | JSON.map(lambda value: {"0": [value], "8": value})).map(
        lambda value: json.dumps(value).encode()
    )
    content = data.draw(damaged([file.read_bytes()]) | made_up)
    try_damaged_text(bop, file, content)
