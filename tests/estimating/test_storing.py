"""16 bits keep what the network said: order, edges and numbers to half a step."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dealseg.data import DepthInfo
from dealseg.data.files import read_depth
from dealseg.errors import DataError
from dealseg.estimating import Output, restore, store, write_depth
from dealseg.estimating.storing import stored_info
from dealseg.losses import depth_edges

RELATIVE = DepthInfo("1", 1.0, "relative")
NUMBERS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=NUMBERS))
def test_relative_depth_comes_back_to_half_a_step_and_what_is_not_finite_is_0(estimate):
    stored = store(estimate, RELATIVE)
    finite = np.isfinite(estimate)
    np.testing.assert_array_equal(stored.values > 0, finite)
    back = stored.offset + stored.scale * stored.values[finite]
    span = np.ptp(estimate[finite].astype(float)) if finite.any() else 0.0
    rounding = 64 * np.finfo(np.float32).eps * np.abs(estimate[finite]).max(initial=0)
    limit = max(span / 65534 / 2 * (1 + 1e-6), rounding)
    np.testing.assert_allclose(back, estimate[finite], rtol=0, atol=limit)


def test_every_step_of_16_bits_is_used_and_none_for_the_farthest_pixel():
    values = store(np.linspace(-3, 7, 70000, dtype=np.float32)[None], RELATIVE).values
    assert (values.min(), values.max()) == (1, 65535)
    assert np.unique(values).size == 65535
    assert (np.diff(values[0].astype(int)) >= 0).all()


@pytest.mark.parametrize("level", [0.0, -2.5, 1e3])
def test_a_constant_map_stays_constant_though_rounding_shakes_it(level):
    shaken = np.float32(level) * (1 + np.float32(1e-7) * np.array([[0, 1], [2, 3]], np.float32))
    stored = store(shaken, RELATIVE)
    assert (stored.values == 32768).all()
    assert stored.offset + stored.scale * 32768 == pytest.approx(level, rel=1e-6)


def test_the_edges_of_a_stored_map_are_those_of_the_estimate():
    rows, columns = np.mgrid[:60, :80].astype(np.float32)
    estimate = 0.01 * rows + np.hypot(rows - 30, columns - 40).clip(0, 15) / 7 - 4
    edges = [
        depth_edges(
            torch.from_numpy(each.astype(np.float32))[None, None], size=(30, 40), kind="relative"
        ).strength
        for each in (estimate, store(estimate, RELATIVE).values)
    ]
    torch.testing.assert_close(*edges, rtol=0, atol=2e-4)
    assert edges[0].max() > 0.1


@given(
    arrays(np.float32, (3, 4), elements=st.floats(0, 2000, width=32)), st.sampled_from([1, 2, 10])
)
def test_metres_are_rounded_to_the_step_and_cut_never_wrapped(estimate, step):
    stored = store(estimate, DepthInfo("mm", float(step)))
    reach = 65535 * step / 1000
    metres = stored.values.astype(float) * stored.scale
    expected = estimate.astype(float).clip(step / 1000, reach)
    np.testing.assert_allclose(metres, expected, rtol=0, atol=step / 2000 + 1e-9)
    farther = np.rint(estimate.astype(float) / step * 1000) > 65535
    assert stored.beyond == farther.mean()
    assert (stored.values[farther] == 65535).all()


def test_metres_that_are_no_number_or_none_at_all():
    stored = store(np.array([[np.nan, np.inf, -1.0, 0.0, 2.0]], np.float32), DepthInfo("mm", 1.0))
    assert stored.values.tolist() == [[0, 0, 1, 1, 2000]]
    assert stored.beyond == 0


@pytest.mark.parametrize(
    ("farthest", "scale"),
    [(None, 1), (10, 1), (65.535, 1), (65.6, 2), (80, 2), (131.1, 5), (400, 10), (1e4, 10)],
)
def test_the_step_is_a_millimetre_where_the_network_s_reach_fits(farthest, scale):
    assert stored_info(Output("metric", farthest)) == DepthInfo("mm", float(scale), "metric")


def test_relative_depth_has_no_unit():
    assert stored_info(Output("relative")) == RELATIVE


def test_the_file_is_16_bit_and_remembers_how_to_undo_the_scaling(tmp_path):
    estimate = np.random.default_rng(0).normal(3, 5, (20, 30)).astype(np.float32)
    estimate[0, 0] = np.nan
    stored = store(estimate, RELATIVE)
    file = tmp_path / "below/a.png"
    write_depth(file, stored)
    np.testing.assert_array_equal(read_depth(file), stored.values)
    assert read_depth(file).dtype == np.uint16
    np.testing.assert_allclose(restore(file), estimate, atol=np.nanmax(estimate) / 60000)
    assert [path.name for path in file.parent.iterdir()] == ["a.png"]


def test_a_file_of_another_program_cannot_be_undone(tmp_path):
    Image.fromarray(np.ones((2, 2), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png.*lacks the entry"):
        restore(tmp_path / "a.png")


def test_a_write_that_fails_leaves_nothing_or_what_was_there(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    write_depth(file, store(np.array([[1.0, 2.0]], np.float32), RELATIVE))
    before = file.read_bytes()

    def full(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    for place in (file, tmp_path / "b.png"):
        with pytest.raises(OSError, match="no space"):
            write_depth(place, store(np.array([[5.0, 6.0]], np.float32), RELATIVE))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
