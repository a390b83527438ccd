import os
import shutil
from dataclasses import asdict, replace

import pytest
from make_bop import write_bop
from make_folder import write_folder
from small_grid import GRID

from dealseg.config import LabelConfig
from dealseg.data.opening import list_dataset
from dealseg.experiments import expand
from dealseg.experiments import keys as keys_module
from dealseg.experiments.keys import Keys, data_stamp

JOBS = {job.name: job for job in expand(GRID).jobs}
BASELINE, DEAL = JOBS["cam-none-none-none-s0"], JOBS["cam-deal-sensor-none-s0"]


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data")


def keys(data, *jobs):
    found = Keys(data)
    return [found.key(job) for job in jobs or (BASELINE, DEAL)]


def test_an_option_that_came_later_counts_only_if_it_is_used(data, monkeypatch):
    whole, used = keys(data, DEAL), replace(DEAL.config, deal=replace(DEAL.config.deal, gain=3.0))
    monkeypatch.setattr(keys_module, "asdict", without_gain)
    before = keys(data, DEAL)  # as when there was no such option yet
    monkeypatch.undo()
    monkeypatch.setitem(keys_module.LATER, "deal.gain", 2.0)
    assert keys(data, DEAL) == before != whole
    assert keys(data, replace(DEAL, config=used)) != before


def without_gain(config):
    plain = asdict(config)
    del plain["deal"]["gain"]
    for path in keys_module.LATER:
        part, _, name = path.partition(".")
        plain[part].pop(name, None)
    return plain


def test_every_job_of_a_grid_has_a_key_of_its_own(data):
    found = Keys(data)
    assert len({found.key(job) for job in JOBS.values()}) == len(JOBS)


def test_keys_are_the_same_for_the_same_data_at_another_place(data, tmp_path):
    shutil.copytree(data, tmp_path / "copy")
    assert keys(data) == keys(tmp_path / "copy")


def test_a_key_does_not_change_with_the_number_of_workers(data):
    more = replace(DEAL, config=replace(DEAL.config, workers=8))
    assert keys(data, DEAL) == keys(data, more)


def test_jobs_finished_before_masks_could_be_refined_stay_finished(data, monkeypatch):
    plain = asdict(DEAL.config)
    for name in ("refine", "refine_depth", "ignore"):
        del plain["label"][name]
    before = keys(data, DEAL)
    monkeypatch.setattr("dealseg.experiments.keys.asdict", lambda _: plain)
    assert keys(data, DEAL) == before
    monkeypatch.undo()
    refining = replace(DEAL.config, label=LabelConfig(refine="crf"))
    assert keys(data, replace(DEAL, config=refining)) != before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"method": "seam"},
        {"losses": "isl,deal"},
        {"frozen_stages": 1},
    ],
)
def test_a_key_changes_with_every_option(data, change):
    assert keys(data, DEAL) != keys(data, replace(DEAL, config=replace(DEAL.config, **change)))


def test_a_key_changes_with_nested_options_and_the_split_that_judges(data):
    (data / "splits").mkdir()
    (data / "splits" / "some.txt").write_text("a\nb\n")
    config = DEAL.config
    others = [
        replace(DEAL, config=replace(config, optim=replace(config.optim, lr=0.1))),
        replace(DEAL, config=replace(config, data=replace(config.data, split="some"))),
        replace(DEAL, val="some"),
    ]
    assert len(set(keys(data, DEAL, *others))) == 4


def touched(path):
    os.utime(path, (1, 1))


def grown(path):
    before = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [touched, grown])
@pytest.mark.parametrize(
    ("file", "of_baseline", "of_deal"),
    [
        ("images/a.jpg", True, True),
        ("masks/a.png", True, True),
        ("depth/a.png", False, True),
        ("notes.txt", False, False),
    ],
)
def test_a_key_changes_with_the_files_that_its_job_reads_and_no_others(
    data, change, file, of_baseline, of_deal
):
    (data / "notes.txt").write_text("-")
    baseline, deal = keys(data)
    change(data / file)
    now = keys(data)
    assert (now[0] != baseline, now[1] != deal) == (of_baseline, of_deal)


@pytest.mark.parametrize(
    ("label", "reads"),
    [
        (LabelConfig(), False),
        (LabelConfig(refine="crf"), True),
        (LabelConfig(refine="crf", refine_depth=False), False),
    ],
)
def test_a_key_changes_with_the_depth_that_masks_are_refined_along(data, label, reads):
    job = replace(BASELINE, config=replace(BASELINE.config, label=label))
    before = keys(data, job)
    touched(data / "depth/a.png")
    assert (keys(data, job) != before) == reads


def test_a_key_changes_with_tags_even_if_their_file_looks_the_same(data):
    before, status = keys(data), (data / "tags.csv").stat()
    text = (data / "tags.csv").read_text()
    (data / "tags.csv").write_text(text.replace("a,cup\n", "a,\n").replace("d,\n", "d,cup\n"))
    os.utime(data / "tags.csv", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (data / "tags.csv").stat().st_size == status.st_size
    assert not set(before) & set(keys(data))


def test_a_key_changes_with_how_depth_is_read_where_it_is(data):
    baseline, deal = keys(data)
    yaml = (data / "dataset.yaml").read_text()
    (data / "dataset.yaml").write_text(yaml.replace("unit: mm", "unit: cm"))
    assert keys(data)[0] == baseline
    assert keys(data)[1] != deal


def test_a_key_changes_with_the_content_of_initial_weights_and_not_with_their_place(data, tmp_path):
    def key(content, name):
        file = tmp_path / name
        file.write_bytes(content)
        model = replace(BASELINE.config.model, weights=str(file))
        return keys(data, replace(BASELINE, config=replace(BASELINE.config, model=model)))

    assert key(b"one", "a") == key(b"one", "b") != key(b"two", "c")


def test_instance_masks_of_bop_are_looked_at_one_by_one(tmp_path):
    root = write_bop(tmp_path / "bop")
    dataset = list_dataset(root, format="bop")
    before = data_stamp(dataset, depth=False, masks=True)
    mask = next(root.rglob("mask_visib/*.png"))
    touched(mask)
    assert data_stamp(dataset, depth=False, masks=True) != before
    assert data_stamp(dataset, depth=False, masks=False) == data_stamp(
        list_dataset(root, format="bop"), depth=False, masks=False
    )


def test_a_file_that_is_away_changes_the_key_and_is_no_error(data):
    dataset = list_dataset(data, format="folder")
    before = data_stamp(dataset, depth=True, masks=True)
    (data / "depth" / "a.png").unlink()
    assert data_stamp(dataset, depth=True, masks=True) != before
