"""MXNet's files: read to the values that MXNet wrote, of all its versions, and never half."""

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dealseg.errors import CheckpointError
from dealseg.models.mxnet_params import read_params
from dealseg.models.resnet38d import FrozenNormReLU, ResBlock, converted, load
from goldens.deterministic import det_state

WRITTEN_BY_MXNET = Path(__file__).parents[1] / "goldens" / "resnet38_tiny.params"
"""`mxnet.nd.save` of MXNet 1.9.1: a tiny ResNet-38 of two blocks under MXNet's names.

The values are `det_state(shapes, 0)` under this project's names, to the last bit but one (NumPy 1
rounded otherwise); there is a classifier besides.
"""

VERSIONS = {"2016": None, "first": 0xF993FAC8, "second": 0xF993FAC9, "third": 0xF993FACA}
ARRAYS = {
    "arg:a": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    "aux:b": np.array([2.5], dtype=np.float64),
    "c": np.array([[1.5, -2]], dtype=np.float16),
    "d": np.array([7, -8], dtype=np.int64),
}
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def written(arrays, magic=VERSIONS["second"], storage=0):
    """A file as MXNet's versions write it; that of 2016 was read by MXNet 1.9.1 to these values."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for value in arrays.values():
        axes = "I" if magic is None else "q"
        if magic is not None:
            parts.append(struct.pack("<I", magic))
        if magic in (VERSIONS["second"], VERSIONS["third"]):
            parts.append(struct.pack("<i", storage))
        parts.append(struct.pack(f"<I{value.ndim}{axes}", value.ndim, *value.shape))
        parts.append(struct.pack("<iii", 1, 0, TYPES[value.dtype.name]) + value.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    return b"".join(parts)


@pytest.fixture
def save(tmp_path):
    def save(content):
        path = tmp_path / "net.params"
        path.write_bytes(content)
        return path

    return save


def tiny():
    layers = {"conv1a": nn.Conv2d(3, 3, 3, bias=False), "b2": ResBlock(3, 2, 4)}
    return nn.ModuleDict({**layers, "b2_1": ResBlock(4, 2, 4), "bn7": FrozenNormReLU(4)})


def test_weights_that_mxnet_wrote_fill_the_network():
    net = tiny()
    load(net, str(WRITTEN_BY_MXNET))
    state = net.state_dict()
    expected = det_state({name: value.shape for name, value in state.items()}, 0)
    assert len(expected) > 25
    for name, value in expected.items():
        torch.testing.assert_close(state[name], torch.from_numpy(value), rtol=1e-6, atol=0)


def test_names_are_those_of_the_network_without_the_classifier():
    assert len(read_params(WRITTEN_BY_MXNET)) == 28
    names = set(converted(WRITTEN_BY_MXNET))
    own = {name for name in tiny().state_dict() if not name.endswith("num_batches_tracked")}
    assert names == own


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_the_format_is_read(save, version):
    found = read_params(save(written(ARRAYS, VERSIONS[version])))
    assert list(found) == list(ARRAYS)
    for name, value in ARRAYS.items():
        assert torch.equal(found[name], torch.from_numpy(value))
        assert found[name].dtype == torch.from_numpy(value).dtype


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_cut_anywhere_is_refused(save, version):
    content = written(ARRAYS, VERSIONS[version])
    for length in range(len(content)):
        with pytest.raises(CheckpointError, match=r"net\.params: cut short, \d+ bytes"):
            read_params(save(content[:length]))


@pytest.mark.parametrize("place", range(24, 60))
def test_a_damaged_file_is_read_or_refused_but_never_breaks(save, place):
    content = bytearray(written(ARRAYS))
    content[place] ^= 0xFF
    with contextlib.suppress(CheckpointError):
        read_params(save(bytes(content)))


ONE = written({"a": np.zeros(1, np.float32)})
UNKNOWN_TYPE = ONE[:24] + struct.pack("<IiIqiii", 0xF993FAC9, 0, 1, 1, 1, 0, 99)
REFUSED = [
    (b"PK\x03\x04" + bytes(60), "not an MXNet list"),
    (written(ARRAYS, storage=1), "sparse array"),
    (written({"a": np.zeros(0, np.float32)}), "no shape that can be"),
    (UNKNOWN_TYPE, "array type 99"),
    (ONE[:-17] + struct.pack("<Q", 0), "1 arrays, but 0 names"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(save, content, reason):
    with pytest.raises(CheckpointError, match=reason):
        read_params(save(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.params: no such weights file"):
        read_params(tmp_path / "none.params")


@pytest.mark.parametrize("name", ["arg:fc6_weight", "arg:res2a_branch2a_moment", "bn7_scale"])
def test_arrays_of_another_network_are_refused(save, name):
    path = save(written({name: ARRAYS["arg:a"]}))
    with pytest.raises(CheckpointError, match=f"'{name}' is in no ResNet-38"):
        converted(path)
    with pytest.raises(CheckpointError, match="ResNet-38"):
        load(tiny(), str(path))


@pytest.mark.parametrize(
    ("foreign", "own"),
    [
        ("arg:res4b5_branch2b1_weight", "b4_5.conv_branch2b1.weight"),
        ("arg:res5a_branch1_weight", "b5.conv_branch1.weight"),
        ("aux:bn6a_branch2b2_moving_var", "b6.bn_branch2b2.running_var"),
        ("bn7_beta", "bn7.bias"),
        ("arg:conv1a_weight", "conv1a.weight"),
    ],
)
def test_names_are_translated_as_the_authors_did(save, foreign, own):
    assert list(converted(save(written({foreign: ARRAYS["arg:a"]})))) == [own]
