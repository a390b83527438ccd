"""Components, objects, run lengths and outlines, against scipy, pycocotools and slow oracles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as tools
from scipy import ndimage

from dealseg.data.coco_masks import decompressed
from dealseg.exporting import run_lengths
from dealseg.exporting.components import components
from dealseg.exporting.contours import polygon
from dealseg.exporting.instances import Instance, find_instances
from dealseg.exporting.run_lengths import brush_bytes, coco_counts, compressed
from oracles.brush import decoded
from oracles.polygons import filled

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)
MASKS = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 1, 2, 255]))
FEW = settings(max_examples=60, deadline=None, database=None, derandomize=True)
RING = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]], np.uint8)


def whole(pixels):
    """An object that fills the image it is in."""
    return Instance(1, int(pixels.sum()), 0, 0, pixels, pixels.shape)


@FEW
@given(MASKS, st.sampled_from([4, 8]))
def test_components_are_those_of_scipy_in_the_order_of_their_first_pixels(mask, connectivity):
    labels, values = components(mask, connectivity=connectivity)
    structure = np.ones((3, 3)) if connectivity == 8 else None
    expected = np.zeros(mask.shape, int)
    for value in (1, 2):
        found, _ = ndimage.label(mask == value, structure=structure)
        expected[found > 0] = found[found > 0] + expected.max()
    pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert len(values) == expected.max()
    firsts = [np.flatnonzero(labels == number + 1)[0] for number in range(len(values))]
    assert firsts == sorted(firsts)
    assert [mask.ravel()[first] for first in firsts] == values.tolist()


def test_a_spiral_is_one_component_and_its_arms_are_not_joined_across_the_gap():
    spiral = np.array(
        [[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],
        np.uint8,
    )
    assert len(components(spiral)[1]) == 1
    assert len(components(1 - spiral)[1]) == 1
    with pytest.raises(ValueError, match="connectivity must be 4 or 8, got 6"):
        components(spiral, connectivity=6)


@FEW
@given(MASKS, st.sampled_from(["components", "class"]), st.integers(0, 3))
def test_objects_are_the_mask_taken_apart(mask, how, least):
    painted = np.zeros(mask.shape, np.uint8)
    found = find_instances(mask, how, least)
    for each in found:
        assert not painted[each.whole].any()
        painted[each.whole] = each.value
        rows, columns = np.nonzero(each.whole)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert each.box == box
        assert each.area == each.whole.sum() >= least
    assert [each.value for each in found] == sorted(each.value for each in found)
    if least <= 1:
        assert np.array_equal(painted, np.where(mask == 255, 0, mask))
    if how == "class":
        assert len(found) == len({each.value for each in found})


@FEW
@given(MASKS, st.sampled_from(["components", "class"]))
def test_run_lengths_are_those_of_pycocotools_letter_by_letter(mask, how):
    for each in find_instances(mask, how):
        expected = tools.encode(np.asfortranarray(each.whole.astype(np.uint8)))
        assert compressed(coco_counts(each)) == expected["counts"].decode()
        assert tools.toBbox(expected).tolist() == each.box


@FEW
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8))
def test_any_run_lengths_come_back_from_their_text(counts):
    assert decompressed(compressed(counts)) == counts


@FEW
@given(arrays(bool, SHAPES))
def test_the_brush_code_is_the_mask_in_four_channels(pixels):
    numbers = np.array(decoded(brush_bytes(whole(pixels))))
    assert np.array_equal(
        numbers.reshape(*pixels.shape, 4), np.repeat(pixels[..., None], 4, 2) * 255
    )


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 40000])
def test_the_brush_code_uses_every_kind_of_length_up_to_its_limit(length):
    row = np.zeros((1, 2 * length + 1), bool)
    row[0, length : 2 * length] = True
    numbers = decoded(brush_bytes(whole(row)))
    assert numbers == [0] * 4 * length + [255] * 4 * length + [0] * 4


def test_the_shortest_kind_of_length_is_used():
    row = np.array([[True, True, False]])  # 8 numbers of 255 and 4 of 0: 3 bits each
    bits = 32 + 5 + 16 + 2 * (1 + 2 + 3 + 8)
    assert len(brush_bytes(whole(row))) == -(-bits // 8)
    assert run_lengths.brush_bytes(whole(row))[:4] == [0, 0, 0, 12]


@FEW
@given(MASKS)
def test_an_outline_filled_is_the_object_to_the_pixel_holes_and_all(mask):
    for each in find_instances(mask, "components"):
        points = polygon(each.pixels).tolist()
        assert np.array_equal(filled(points, each.pixels.shape), each.pixels)


def test_many_holes_are_cut_free_one_after_the_other():
    pixels = np.ones((9, 13), bool)
    pixels[1::2, 1::2] = False
    assert np.array_equal(filled(polygon(pixels).tolist(), pixels.shape), pixels)


def test_a_square_has_four_corners_and_a_ring_is_cut_once():
    assert polygon(np.ones((5, 7), bool)).tolist() == [[0, 0], [0, 4], [6, 4], [6, 0]]
    points = polygon(RING[:, 1:].astype(bool)).tolist()
    assert np.array_equal(filled(points, (3, 3)), RING[:, 1:].astype(bool))
    assert polygon(np.ones((1, 1), bool)).tolist() == [[0, 0]]
