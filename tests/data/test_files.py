import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from make_folder import SIZE, save, save_palette, scene, write_folder
from PIL import Image

from dealseg.data import DepthInfo, open_dataset
from dealseg.data.description import DepthRule, depth_values
from dealseg.data.files import image_size, index_files, read_depth, read_image
from dealseg.data.masks import LabelFile
from dealseg.errors import DataError

WIDE = np.array([[0, 1, 255, 256], [32767, 32768, 40000, 65535]], np.uint16)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Encode a PNG by hand, after its specification."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_16_bit_png_written_by_hand_keeps_every_value(tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in WIDE)
    (tmp_path / "d.png").write_bytes(png(4, 2, 16, 0, rows))
    assert read_depth(tmp_path / "d.png").tolist() == WIDE.tolist()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".npy"])
def test_16_bit_depth_round_trips_above_32767(tmp_path, suffix):
    file = tmp_path / f"d{suffix}"
    np.save(file, WIDE) if suffix == ".npy" else save(file, WIDE)
    assert read_depth(file).tolist() == WIDE.tolist()


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_of_either_byte_order_gives_the_same_numbers(tmp_path, order):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tags = {256: 4, 257: 2, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 16}
    entries = b"".join(
        struct.pack(order + "HHI", tag, 3, 1) + struct.pack(order + "H", v) + b"\0\0"
        for tag, v in tags.items()
    )
    directory = struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0)
    pixels = WIDE.astype(f"{order}u2").tobytes()
    (tmp_path / "d.tif").write_bytes(mark + struct.pack(order + "I", 24) + pixels + directory)
    raw = read_depth(tmp_path / "d.tif")
    assert raw.tolist() == WIDE.tolist()
    assert raw.dtype.isnative  # torch takes no other


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_float_depth_keeps_nan_and_infinity_for_the_validity(tmp_path, suffix):
    metres = np.array([[0.5, np.nan], [np.inf, -1.0]], np.float32)
    file = tmp_path / f"d{suffix}"
    np.save(file, metres) if suffix == ".npy" else save(file, metres)
    values, valid = depth_values(read_depth(file), DepthInfo("m"))
    assert values.tolist() == [[0.5, 0], [0, 0]]
    assert valid.tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (2, 3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int32, np.float16, np.float64])
def test_npy_of_any_number_type_is_read_as_height_by_width(tmp_path, shape, dtype):
    np.save(tmp_path / "d.npy", np.arange(6).astype(dtype).reshape(shape))
    assert read_depth(tmp_path / "d.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("rule", "raw", "metres"),
    [
        (DepthRule(), np.uint16(1500), 1.5),
        (DepthRule(), np.float32(1.5), 1.5),
        (DepthRule("cm"), np.uint16(150), 1.5),
        (DepthRule("m", 1 / 5000), np.uint16(7500), 1.5),  # TUM RGB-D
        (DepthRule("mm", 0.1), np.uint16(15000), 1.5),  # BOP depth_scale
        (DepthRule("um", 100), np.uint16(15000), 1.5),
        (DepthRule(None, 0.5, "disparity"), np.uint16(3), 1.5),
        (DepthRule("1", 2.0, "relative"), np.float32(0.75), 1.5),
    ],
)
def test_stored_numbers_become_metres_or_inverse_depth(rule, raw, metres):
    stored = np.full((1, 1), raw)
    values, valid = depth_values(stored, rule.info(stored.dtype))
    assert values.dtype == np.float32
    assert values.item() == pytest.approx(metres, rel=1e-6)
    assert valid.item()


def test_a_negative_number_is_valid_only_as_relative_depth():
    raw = np.array([[-2.0, 0.0]], np.float32)
    assert depth_values(raw, DepthInfo("1", 1.0, "relative"))[1].tolist() == [[True, False]]
    assert depth_values(raw, DepthInfo("m"))[1].tolist() == [[False, False]]


def test_depth_beyond_float32_is_invalid_not_infinite():
    values, valid = depth_values(np.array([[1e300, 1e-300, 2.0]]), DepthInfo("m"))
    assert values.tolist() == [[0, 0, 2]]
    assert valid.tolist() == [[False, False, True]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_depth_with_colours_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "d.png")
    with pytest.raises(
        DataError, match=rf"d.png: expected a one-channel depth map, got mode {mode}"
    ):
        read_depth(tmp_path / "d.png")


def test_a_jpeg_is_refused_as_depth_under_any_name(tmp_path):
    save(tmp_path / "d.png", np.zeros((4, 4), np.uint8), format="JPEG")
    with pytest.raises(DataError, match="a JPEG changes the numbers"):
        read_depth(tmp_path / "d.png")


@pytest.mark.parametrize("array", [np.zeros((2, 2), bool), np.zeros((2, 2), complex), np.zeros(3)])
def test_an_npy_that_is_no_map_of_numbers_is_refused(tmp_path, array):
    np.save(tmp_path / "d.npy", array)
    with pytest.raises(DataError, match=r"expected a depth map of shape \(height, width\), got"):
        read_depth(tmp_path / "d.npy")


def test_an_npy_with_a_pickle_is_refused_and_not_run(tmp_path):
    np.save(tmp_path / "d.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"d\.npy: cannot read this depth map"):
        read_depth(tmp_path / "d.npy")


def test_an_npy_that_claims_a_huge_shape_is_refused_without_allocating_it(tmp_path):
    claim = {"descr": "<f4", "fortran_order": False, "shape": (99_999, 99_999)}
    with (tmp_path / "d.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, claim)
        file.write(bytes(400))
    with pytest.raises(DataError, match=r"d\.npy: cannot read"):
        read_depth(tmp_path / "d.npy")


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_a_map_without_pixels_is_refused(tmp_path, suffix):
    file = tmp_path / f"d{suffix}"
    if suffix == ".npy":
        np.save(file, np.zeros((0, 4)))
    else:
        file.write_bytes(png(0, 4, 8, 0, b""))
    with pytest.raises(DataError, match=r"d\.(png|npy): "):
        read_depth(file)


def test_a_decompression_bomb_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "a.png").write_bytes(png(60_000, 60_000, 8, 0, b"\0"))
    with pytest.raises(DataError, match=r"a\.png: this image has too many pixels; make it smaller"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_depth, image_size])
def test_missing_files_folders_and_other_bytes_are_told_apart(tmp_path, read):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, message in {
        "none.png": "there is no such",
        "folder.png": "found a folder",
        "text.png": "is not a JPEG, PNG or TIFF",
        "empty.png": "is not a JPEG, PNG or TIFF",
    }.items():
        with pytest.raises(DataError, match=rf"{name}: .*{message}") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_truncated_picture_is_refused(tmp_path, suffix):
    file = save(tmp_path / f"a{suffix}", scene(size=(64, 64))[0])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=rf"a{suffix}: cannot read this image"):
            read_image(file)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_pictures_of_every_usual_mode_become_rgb(tmp_path, mode):
    file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (5, 3), (255, 255, 255)).convert(mode).save(file)
    image = read_image(file)
    assert image.shape == (3, 3, 5)
    assert image.dtype == torch.uint8
    assert image.min() == 255


def test_a_16_bit_grey_picture_keeps_its_upper_byte(tmp_path):
    image = read_image(save(tmp_path / "a.tif", WIDE))
    assert image[0].tolist() == (WIDE >> 8).tolist()
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_an_exif_orientation_is_applied_to_pixels_and_size(tmp_path, turn, suffix):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # white at the upper left
    stored = {  # by the EXIF table: which corner row 0 and column 0 of the stored picture show
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    file = save(tmp_path / f"a{suffix}", np.ascontiguousarray(stored), exif=exif)
    assert image_size(file) == (16, 32)
    assert torch.equal(read_image(file), torch.from_numpy(upright).permute(2, 0, 1))


def test_a_palette_mask_gives_indices_not_colours(tmp_path):
    stored = np.array([[0, 1], [2, 255]], np.uint8)
    for file in (save_palette(tmp_path / "p.png", stored), save(tmp_path / "l.png", stored)):
        assert LabelFile(file).read((2, 2), 2).tolist() == [[0, 1], [2, 255]]


def test_another_ignore_index_becomes_255(tmp_path):
    file = save(tmp_path / "m.png", np.array([[0, 1, 9]], np.uint8))
    assert LabelFile(file, ignore_index=9).read((1, 3), 1).tolist() == [[0, 1, 255]]
    file = save(tmp_path / "m.png", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(DataError, match="mask value 255 is out of range: expected 0 to 1, or 9"):
        LabelFile(file, ignore_index=9).read((1, 3), 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), 3, np.uint8), "mask value 3 is out of range: expected 0 to 2"),
        (np.zeros((2, 3), np.uint8), r"the mask is 3x2 but the image is 2x2 \(width x height\)"),
        (
            np.zeros((2, 2, 3), np.uint8),
            "expected a one-channel mask, got mode RGB; save the class",
        ),
        (np.zeros((2, 2), np.uint16), "expected a one-channel mask, got mode I;16"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(tmp_path, values, message):
    with pytest.raises(DataError, match=message):
        LabelFile(save(tmp_path / "m.png", values)).read((2, 2), 2)


def test_names_are_paths_without_suffix_and_hidden_files_are_passed_over(tmp_path):
    for name in ("b.PNG", "sub/a.jpg", "._b.png", ".hidden/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = index_files(tmp_path, (".png", ".jpg"))
    assert list(found) == ["b", "sub/a"]
    assert index_files(tmp_path / "absent", (".png",)) == {}


def test_eight_bit_depth_warns_once_per_data_set(tmp_path):
    root = write_folder(tmp_path)
    for name in "abcd":
        save(root / f"depth/{name}.png", np.full(SIZE, 200, np.uint8))
    dataset = open_dataset(root)
    with pytest.warns(UserWarning, match="this depth has 8 bits") as caught:
        values = [dataset.depth(index)[0] for index in range(4)]
    assert len(caught) == 1
    assert values[0].max() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("size", "refused"),
    [
        (SIZE, False),
        ((12, 16), False),
        ((48, 64), False),
        ((11, 15), False),  # half the size, rounded down
        ((12, 12), True),
        ((24, 33), True),
        ((25, 32), True),
        ((32, 24), True),
    ],
)
def test_depth_of_another_aspect_is_refused_and_of_another_size_is_not(tmp_path, size, refused):
    root = write_folder(tmp_path, {"a": "cup"})
    save(root / "depth/a.png", np.full(size, 1000, np.uint16))
    dataset = open_dataset(root)
    if refused:
        with pytest.raises(DataError, match=r"a\.png: the depth is \d+x\d+ but the image is 32x24"):
            dataset.depth(0)
    else:
        assert dataset.depth(0)[0].shape == (1, *size)


def test_an_error_survives_the_way_out_of_a_worker_process(tmp_path):
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.png")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.file) == (str(caught.value), tmp_path / "a.png")
