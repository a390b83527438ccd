import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import damaged, fuzz

from dealseg.data import json_stream
from dealseg.data.json_stream import entries, read_value, text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
FILES = st.dictionaries(st.text(max_size=3), VALUES | st.lists(VALUES, max_size=4), max_size=4)


def meant(value):
    """Return a value in which every string is the text that is meant."""
    if isinstance(value, dict):
        return {text(key): meant(item) for key, item in value.items()}
    return [meant(item) for item in value] if isinstance(value, list) else text(value)


@fuzz
@given(told=FILES, chunk=st.integers(1, 40), indent=st.none() | st.just(1), mark=st.booleans())
def test_entries_are_those_of_the_json_library_however_the_file_is_cut(
    tmp_path, monkeypatch, told, chunk, indent, mark
):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    file = tmp_path / "a.json"
    written = json.dumps(told, indent=indent, ensure_ascii=False)
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + written.encode())
    found = list(entries(file))
    expected = [(k, v) for k, values in told.items() if isinstance(values, list) for v in values]
    assert [(text(entry.key), meant(entry.value)) for entry in found] == expected
    with file.open("rb") as stream:
        assert [read_value(stream, e.start, e.stop) for e in found] == [e.value for e in found]


@pytest.mark.parametrize("escaped", [True, False])
def test_text_is_what_was_meant_escaped_or_not(tmp_path, escaped):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"a": ["Größe", "日本", "é"]}, ensure_ascii=escaped), "utf-8")
    assert [text(entry.value) for entry in entries(file)] == ["Größe", "日本", "é"]


GOOD = json.dumps({"info": {"a": 1}, "images": [{"id": 1}, {"id": 2.5}], "empty": []}).encode()


@fuzz
@given(data=damaged([GOOD]), chunk=st.integers(1, 40))
def test_a_damaged_file_is_refused_or_read_as_the_json_library_does(
    tmp_path, monkeypatch, data, chunk
):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    file = tmp_path / "a.json"
    file.write_bytes(data)
    try:
        found = [(entry.key, entry.value) for entry in entries(file)]
    except ValueError:
        return
    whole, _ = json.JSONDecoder(object_pairs_hook=list).raw_decode(
        data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").lstrip(" \t\n\r")
    )
    listed = [(key, value) for key, values in whole if is_list(values) for value in values]
    assert [(key, plain(value)) for key, value in found] == [(k, plain(v)) for k, v in listed]


def is_list(value) -> bool:
    return isinstance(value, list) and not (value and isinstance(value[0], tuple))


def plain(value):
    """Return JSON with objects as pairs, in which a NaN equals itself."""
    return repr(list(value.items()) if isinstance(value, dict) else value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "expected { at byte 0, got the end"),
        ("[1]", r"expected { at byte 0, got '\['"),
        ('{"a": [1 2]}', r"expected , or \] at byte 9, got '2'"),
        ('{"a": [1', r"expected , or \] at byte 8, got the end"),
        ('{"a" 1}', "expected : at byte 5, got '1'"),
        ('{"a": nothing}', "Expecting value at byte 6"),
    ],
)
def test_the_message_says_the_byte(tmp_path, written, message):
    (tmp_path / "a.json").write_text(written)
    with pytest.raises(ValueError, match=message):
        list(entries(tmp_path / "a.json"))
