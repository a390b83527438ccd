import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from dealseg.data.palette import colour_of
from dealseg.reviewing import drawing

MASK = np.zeros((6, 8), np.uint8)
MASK[1:5, 2:6] = 3
MASK[0, 7] = 255


def test_a_filled_mask_has_the_palette_s_colours_on_a_clear_ground():
    layer = drawing.filled(MASK)
    assert (layer[MASK == 3] == (*colour_of(3), 255)).all()
    assert (layer[MASK == 0][:, 3] == 0).all()
    assert tuple(layer[0, 7]) in {(118, 122, 130, 255), (168, 172, 180, 255)}


def test_an_outline_is_the_class_s_border_lined_with_white_and_nothing_inside():
    mask = np.zeros((12, 12), np.uint8)
    mask[2:10, 2:10] = 3
    layer = drawing.outlined(mask)
    border = mask == 3
    border[3:9, 3:9] = False
    assert (layer[border] == (*colour_of(3), 255)).all()
    assert tuple(layer[1, 5]) == tuple(layer[3, 5]) == (255, 255, 255, 150)
    assert (layer[4:8, 4:8, 3] == 0).all()
    assert layer[0, 0, 3] == 0


def test_classes_that_touch_both_have_their_border():
    mask = np.repeat(np.uint8([[1, 1, 1, 2, 2, 2]]), 4, axis=0)
    opaque = drawing.outlined(mask)[..., 3] == 255
    assert opaque.tolist() == [[False, False, True, True, False, False]] * 4


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((3000, 4000), (1536, 2048)), ((100, 50), (100, 50)), ((1, 5000), (1, 2048))],
)
def test_pictures_are_made_smaller_with_their_aspect_and_never_larger(size, fitted):
    assert drawing.fitted(size, 2048) == fitted


def test_a_mask_made_smaller_has_no_new_values():
    mask = np.random.default_rng(0).choice(np.uint8([0, 7, 255]), (90, 120))
    small = drawing.resized(mask, 40)
    assert small.shape == (30, 40)
    assert set(np.unique(small)) <= {0, 7, 255}
    assert drawing.resized(mask, 200) is mask


def test_a_thumbnail_mixes_image_and_colour_where_the_mask_is():
    image = np.full((6, 8, 3), 100, np.uint8)
    small = drawing.thumbnail(image, MASK)
    assert (small[MASK == 0] == 100).all()
    expected = np.rint(0.45 * 100 + 0.55 * np.array(colour_of(3)))
    assert np.abs(small[2, 3].astype(float) - expected).max() <= 1


def test_a_thumbnail_of_a_large_image_is_small_whatever_the_size_of_the_mask():
    assert drawing.thumbnail(np.zeros((600, 800, 3), np.uint8), MASK, 64).shape == (48, 64, 3)


def test_depth_has_the_report_s_colours_from_near_to_far_and_stripes_where_unmeasured():
    far = np.linspace(1, 3, 1001)[None].repeat(9, axis=0)
    valid = np.ones(far.shape, bool)
    valid[4] = False
    pixels = drawing.coloured_depth(far, valid).astype(int)
    low, high = np.percentile(far[valid], [2, 98])
    shade = 1 - ((far[0] - low) / (high - low)).clip(0, 1)
    expected = (colormaps["viridis"](shade)[:, :3] * 255).round()
    assert np.abs(pixels[0] - expected).max() <= 6
    assert {tuple(pixel) for pixel in pixels[4]} == {(118, 122, 130), (168, 172, 180)}
    assert drawing.coloured_depth(far, np.zeros_like(valid)).shape == (9, 1001, 3)
    flat = drawing.coloured_depth(np.ones((4, 4)), np.ones((4, 4), bool))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


def test_files_hold_the_pixels():
    layer = drawing.filled(MASK)
    assert (np.asarray(Image.open(io.BytesIO(drawing.png(layer)))) == layer).all()
    photo = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    back = np.asarray(Image.open(io.BytesIO(drawing.jpeg(photo)))).astype(int)
    assert np.abs(back - photo).max() <= 4
