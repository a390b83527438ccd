from functools import partial
from pathlib import Path

import pytest

from dealseg import demo
from dealseg.errors import CheckpointError, DataError


def files(folder: Path):
    found = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_mtime_ns for file in found}


def contents(folder: Path):
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.fixture(scope="module")
def small():
    """The demo on little pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "LONG_SIDE", 64)
        patch.setattr(demo, "write_synthetic", partial(demo.write_synthetic, size=48))
        yield partial(demo.run_demo, seed=0, images=16, epochs=1)


@pytest.fixture(scope="module")
def first(small, tmp_path_factory):
    out, said = tmp_path_factory.mktemp("demo") / "out", []
    return out, small(out, say=said.append), said


def test_the_demo_writes_data_runs_masks_and_the_report(first):
    out, _, _ = first
    written = set(files(out))
    for run in ("baseline", "deal"):
        for name in ("config.yaml", "weights.safetensors", "metrics.csv", "evaluation.json"):
            assert f"{run}/{name}" in written
        assert f"masks-{run}/labels.json" in written
        masks = [name for name in written if name.startswith(f"masks-{run}/masks/")]
        assert len(masks) == 10
    assert {"report.html", "data/dataset.yaml"} <= written


def test_it_tells_its_five_steps_in_order(first):
    _, _, said = first
    assert [line[:3] for line in said] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert "baseline without depth" in said[1]
    assert "with the Depth Edge Alignment Loss" in said[2]


def test_both_figures_are_told_with_the_oracle_marked_and_where_things_are(first):
    out, told, _ = first
    lines = told.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["baseline", "deal", "report", "masks"]
    for line in lines[:2]:
        assert " % at the fixed threshold 0." in line
        assert line.index("fixed") < line.index("ORACLE") < line.rindex(" %")
        assert "nan" not in line
    assert lines[2].endswith(str(out / "report.html"))
    assert (out / "report.html").is_file()
    assert Path(lines[3].split(":")[1].strip()).is_dir()


def test_called_again_it_keeps_what_is_there_and_says_the_same(small, first):
    out, told, _ = first
    before = files(out)
    assert small(out, say=lambda _: None) == told
    after = files(out)
    kept = [n for n in before if n.startswith(("data/", "masks-")) and n.endswith(".png")]
    kept += [f"{run}/weights.safetensors" for run in ("baseline", "deal")]
    assert len(kept) > 50
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert set(before) == set(after)


def test_called_with_other_numbers_it_refuses_to_mix(small, first):
    out, _, _ = first
    before = contents(out)
    with pytest.raises(DataError, match="choose another"):
        small(out, say=lambda _: None, seed=1)
    with pytest.raises(CheckpointError, match="resume with the same options, or choose another"):
        small(out, say=lambda _: None, epochs=2)
    assert contents(out) == before
