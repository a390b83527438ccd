import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dealseg.config import DealConfig
from dealseg.labeling import colour_of
from dealseg.losses import depth_edges, edge_activation
from dealseg.report.assembling import depth_view
from dealseg.report.colours import DEPTH_MAP
from dealseg.report.example import DepthView, Example, Prediction, evenly_spaced
from dealseg.report.gallery import class_legend
from dealseg.report.pictures import (
    STRIPES,
    Picture,
    cam_pixels,
    data_uri,
    depth_pixels,
    edge_pixels,
    hatching,
    inputs,
    mask_pixels,
    mask_values,
    outputs,
    ramp,
    shown_size,
)

SIZE = (16, 24)


def view(depth, valid=None, **more):
    valid = torch.ones(depth.shape, dtype=torch.bool) if valid is None else valid
    gate = -torch.ones(4, 6)
    return DepthView(depth, valid, gate, torch.ones(4, 6, dtype=torch.bool), **more)


def luma(pixels):
    return pixels.astype(float) @ np.array([0.299, 0.587, 0.114])


def photo(size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def is_hatched(pixels, where):
    return bool((pixels[where] == hatching(*pixels.shape[:2])[where]).all())


@given(count=st.integers(0, 40), total=st.integers(0, 300))
def test_examples_are_spread_evenly_over_the_whole_set(count, total):
    found = evenly_spaced(count, total)
    assert len(found) == len(set(found)) == min(count, total)
    steps = np.diff([*found])
    assert all(0 <= index < total for index in found)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1
    assert not found or abs(found[0] - (total - 1 - found[-1])) <= 1


def test_masks_have_the_palettes_plain_colours_and_ignored_pixels_are_hatched():
    mask = torch.zeros(SIZE, dtype=torch.uint8)
    mask[:4], mask[4:8], mask[8:12] = 1, 21, 255
    pixels = mask_pixels(mask, photo())
    assert (pixels[:4] == colour_of(1)).all()
    assert (pixels[4:8] == colour_of(21)).all()
    assert is_hatched(pixels, np.s_[8:12])
    rest = pixels[12:]
    assert (rest[..., 0] == rest[..., 1]).all()
    assert rest.min() > 170


def test_the_legend_names_each_class_of_the_masks_in_the_masks_colour():
    winner = torch.full(SIZE, 2, dtype=torch.uint8)
    truth = torch.zeros(SIZE, dtype=torch.uint8)
    truth[0] = 1
    score = torch.zeros(SIZE)
    score[:8] = 0.9
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    example = Example("a", image, predictions=[Prediction("r", winner, score, 0.5)], truth=truth)
    assert mask_values(example) == [1, 2]
    legend = class_legend(example, ("cup", "<box>"))
    mask = next(p for p in outputs(example) if p.title == "Mask, r")
    red, green, blue = mask.pixels[4, 4]
    assert f"rgb({red}, {green}, {blue})" in legend
    assert "rgb({}, {}, {})".format(*colour_of(1)) in legend
    assert "cup" in legend
    assert "&lt;box&gt;" in legend


def test_pixels_without_depth_are_hatched_in_greys_that_no_depth_has():
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[:, :8] = False
    depth = torch.linspace(1, 2, 24).repeat(16, 1)
    pixels = depth_pixels(view(depth, valid), SIZE)
    assert is_hatched(pixels, np.s_[:, :8])
    assert not (pixels[:, 8:] == pixels[:, 8:, :1]).all(axis=2).any()
    colours = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ramp(DEPTH_MAP, 256)]
    nearest = min(np.abs(np.array(c) - np.array(g)).max() for c in colours for g in STRIPES)
    assert nearest > 15


@pytest.mark.parametrize("metric", [True, False])
def test_near_is_bright_whether_depth_is_in_metres_or_inverse(metric):
    depth = torch.linspace(1, 2, 24).repeat(16, 1)
    brightness = luma(depth_pixels(view(depth, metric=metric), SIZE))
    assert (brightness[0, 0] > brightness[0, -1]) == metric


def test_what_is_written_in_invalid_depth_is_not_seen():
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[2, 3] = False
    depth = torch.linspace(1, 2, 24).repeat(16, 1)
    clean = depth_pixels(view(depth, valid), SIZE)
    depth[2, 3] = torch.inf
    assert (depth_pixels(view(depth, valid), SIZE) == clean).all()


@pytest.mark.parametrize("depth", [torch.zeros(SIZE), torch.full(SIZE, 3.0)])
def test_constant_depth_and_depth_without_a_measurement_are_drawn(depth):
    pixels = depth_pixels(view(depth, depth > 0), SIZE)
    assert is_hatched(pixels, np.s_[:]) == (not bool(depth.any()))


def test_edges_are_white_flat_is_black_and_cells_that_do_not_count_are_hatched():
    gate = torch.tensor([[-1.0, 1.0], [0.0, 1.0]])
    counted = torch.tensor([[True, True], [True, False]])
    depth = torch.ones(SIZE)
    pixels = edge_pixels(DepthView(depth, depth > 0, gate, counted), SIZE)
    assert (pixels[:8, :12] == 0).all()
    assert (pixels[:8, 12:] == 255).all()
    assert (pixels[8:, :12] == 128).all()
    assert is_hatched(pixels, np.s_[8:, 12:])


def test_shown_edges_are_those_the_loss_sees():
    depth = torch.ones(1, 48, 96)
    depth[:, :, 50:] = 2.0
    valid = torch.ones(1, 48, 96, dtype=torch.bool)
    valid[:, :10, :10] = False
    deal = DealConfig(cells=32, space="log", gain=1.5, mu=2.0)
    found = depth_view(depth, valid, deal, "metric")
    edges = depth_edges(depth[None], valid[None], size=(16, 32), space="log", gain=1.5)
    assert torch.equal(found.gate, edge_activation(edges.strength, 2.0)[0, 0])
    assert torch.equal(found.counted, edges.valid[0, 0])
    assert found.gate[8, 16] > 0.5
    assert found.gate[8, 4] == -1


def test_a_cam_of_zeros_leaves_the_grey_image_and_a_strong_one_covers_it():
    image, winner = photo(), torch.ones(SIZE, dtype=torch.uint8)
    score = torch.zeros(SIZE)
    grey = cam_pixels(Prediction("r", winner, score, 0.5), image)
    assert (grey == np.rint(luma(image)).astype(np.uint8)[..., None]).all()
    score[:, 12:] = 1.0
    pixels = cam_pixels(Prediction("r", winner, score, 0.5), image)
    assert (pixels[:, :11] == grey[:, :11]).all()
    assert (pixels[:, 11] == 255).all()
    assert np.abs(pixels[:, 13:].astype(int) - grey[:, 13:]).max(axis=2).min() > 30


def test_pictures_share_one_size_that_keeps_the_aspect_and_never_grows():
    wide = torch.zeros(3, 500, 1000, dtype=torch.uint8)
    small = torch.zeros(3, 10, 20, dtype=torch.uint8)
    assert shown_size(wide, 400) == (200, 400)
    assert shown_size(small, 400) == (10, 20)
    example = Example("a", wide, None, view(torch.ones(25, 50)), wide[0])
    shapes = {picture.pixels.shape for picture in inputs(example, 400)}
    assert shapes == {(200, 400, 3)}


def test_notes_tell_range_gaps_and_share_of_edges():
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[:4] = False
    depth = torch.linspace(0.5, 2, 24).repeat(16, 1)
    gate = -torch.ones(4, 5)
    gate[0] = 1.0
    shown = DepthView(depth, valid, gate, torch.ones(4, 5, dtype=torch.bool))
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    notes = {p.title: p.note for p in inputs(Example("a", image, view=shown))}
    assert notes["Depth"] == "0.50\N{EN DASH}2.00 m, 25% not measured"
    assert notes["Depth edges"] == "4 by 5 cells, 25% edge"


def test_pictures_other_than_photographs_are_embedded_without_loss():
    picture = Picture("t", "", "", photo())
    head, data = data_uri(picture).split(",")
    assert head == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == picture.pixels).all()
