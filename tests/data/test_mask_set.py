import json

import numpy as np
import pytest
from make_folder import save, save_palette, write_folder

from dealseg.data.mask_set import open_masks
from dealseg.errors import ConfigError, DataError

MASK = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)


def write(root, facts=None, names=("a",), folder="masks"):
    for name in names:
        save_palette(root / folder / f"{name}.png", MASK)
    if facts is not None:
        (root / "labels.json").write_text(json.dumps(facts))
    return root


def test_what_label_wrote_is_understood(tmp_path):
    facts = {
        "classes": ["cat", "dog"],
        "class_ids": {"1": 17, "2": 18},
        "data": "/somewhere/data",
        "split": "val",
        "threshold": 0.4,
        "masks": {"a": {"confidence": 0.83, "ignored": 0.12}},
    }
    found = open_masks(write(tmp_path, facts, ("a", "sub/b c", "ü")))
    assert found.names == ("a", "sub/b c", "ü")
    assert (found.classes, found.class_ids) == (("cat", "dog"), (17, 18))
    assert (str(found.data_root), found.split) == ("/somewhere/data", "val")
    assert found.facts["threshold"] == 0.4
    assert (found.confidence("a"), found.confidence("ü")) == (0.83, None)
    assert np.array_equal(found.mask("sub/b c").numpy(), MASK)
    assert found.path("ü") == tmp_path / "masks/ü.png"
    assert open_masks(write(tmp_path, {**facts, "split": "all"})).split is None


def test_masks_of_others_need_class_names(tmp_path):
    write(tmp_path, folder=".")
    with pytest.raises(ConfigError, match=r"what the mask values mean; .*--class-names"):
        open_masks(tmp_path)
    found = open_masks(tmp_path, ("cup", "plate"))
    assert (found.names, found.class_ids, found.data_root) == (("a",), None, None)
    assert np.array_equal(found.mask("a").numpy(), MASK)


def test_the_ground_truth_of_a_folder_data_set_is_a_mask_set_with_its_own_ignore_value(tmp_path):
    yaml = "classes: [cup, plate]\nignore_index: 7\n"
    write_folder(tmp_path, {"a": "cup"}, yaml=yaml)
    save(tmp_path / "masks/a.png", np.where(MASK == 255, 7, MASK).astype(np.uint8))
    found = open_masks(tmp_path)
    assert found.classes == ("cup", "plate")
    assert np.array_equal(found.mask("a").numpy(), MASK)


def test_classes_that_contradict_the_folder_are_refused(tmp_path):
    write(tmp_path, {"classes": ["cat", "dog"]})
    assert open_masks(tmp_path, ("cat", "dog")).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"labels.json: says the classes are \['cat', 'dog'\], not"):
        open_masks(tmp_path, ("dog", "cat"))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([1], "expected an object"),
        ({"classes": "cat"}, "expected an object"),
        ({"classes": ["cat", "cat"]}, "there twice"),
        ({"classes": ["cat"], "threshold": "x"}, "must be a number"),
        ({"classes": ["cat", "dog"], "class_ids": {"1": 5}}, "an id of its own"),
        ({"classes": ["cat", "dog"], "class_ids": {"1": 5, "2": 5}}, "an id of its own"),
        ({"classes": ["cat"], "class_ids": [5]}, "an id of its own"),
        ({"classes": ["cat"], "masks": {"a": {"confidence": 7}}}, r"in \[0, 1\], got 7"),
        ({"classes": ["cat"], "masks": ["a"]}, "something of each name"),
        ({"classes": ["cat"], "masks": {"a": {"confidence": None}}}, "got None"),
        ({"classes": ["cat"], "masks": {"a": 0.5}}, "expected an object for 'a', got 0.5"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, facts, message):
    with pytest.raises(DataError, match=rf"labels\.json: .*{message}"):
        open_masks(write(tmp_path, facts))


def test_masks_that_are_missing_unfinished_or_out_of_range_are_named(tmp_path):
    with pytest.raises(DataError, match="gone: there is no such folder"):
        open_masks(tmp_path / "gone", ("cat",))
    with pytest.raises(DataError, match="there are no masks here"):
        open_masks(tmp_path, ("cat",))
    write(tmp_path / "started")
    (tmp_path / "started/.labels.part.json").write_text("{}")
    with pytest.raises(DataError, match="labelling was interrupted"):
        open_masks(tmp_path / "started", ("cat",))
    found = open_masks(write(tmp_path / "few"), ("cat",))
    with pytest.raises(DataError, match=r"a\.png: mask value 2 is out of range: expected 0 to 1"):
        found.mask("a")
    with pytest.raises(DataError, match="there is no mask of 'b'"):
        found.path("b")
