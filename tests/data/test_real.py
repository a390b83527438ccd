import os
from pathlib import Path

import pytest

from dealseg.data import DepthInfo, check_dataset, open_dataset

SHARED = Path(os.environ.get("DEALSEG_SHARED", Path(__file__).parents[2].parent / "shared"))
NYU = SHARED / "data/nyuv2"

pytestmark = pytest.mark.skipif(
    not NYU.is_dir(), reason="the real data is not here (set DEALSEG_SHARED)"
)


def test_the_splits_of_nyuv2_have_their_known_sizes():
    train, val = open_dataset(NYU, split="train"), open_dataset(NYU, split="val")
    assert (len(train), len(val)) == (795, 234)
    assert not set(train.names) & set(val.names)
    assert train.classes == val.classes
    assert len(train.classes) == 13
    assert train.depth_info == DepthInfo("mm", 1.0, "metric")
    rows = [dataset.tags(i) for dataset in (train, val) for i in range(len(dataset))]
    assert sum(int(row.sum() == 0) for row in rows) == 71


def test_a_sample_of_nyuv2_passes_the_check_and_its_quantised_depth_is_told():
    report = check_dataset(NYU, split="val", sample=12)
    assert report.ok, report.table()
    assert report.opened == 12
    assert report.valid_share > 0.99
    assert 1 < report.median_depth < 5
    assert "quantised depth" in {problem.kind for problem in report.warnings}
