import csv
import logging
import re
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from dealseg.errors import ConfigError
from dealseg.losses import EDGE_SHARE
from dealseg.training.watch import (
    AlignmentWatch,
    FiniteWatch,
    MetricsFile,
    Progress,
    alignment_warnings,
)

FINE = {
    "deal/depth_share": 0.1,
    "deal/cam_share": 0.2,
    "deal/flat_share": 0.1,
    "deal/lambda": 0.3,
    "loss/total": 0.5,
}
TASK = Mock(spec=LightningModule)


def trainer(epoch=0, metrics=None, rate=0.1, zero=True):
    group = {"lr": rate}
    return Mock(
        spec=Trainer,
        current_epoch=epoch,
        global_step=4 * (epoch + 1),
        callback_metrics={k: torch.tensor(v) for k, v in (metrics or FINE).items()},
        optimizers=[SimpleNamespace(param_groups=[group])],
        is_global_zero=zero,
        estimated_stepping_batches=8,
    )


def test_a_healthy_alignment_has_no_warning():
    assert alignment_warnings(FINE) == {}


def test_a_training_without_the_alignment_has_no_warning():
    assert alignment_warnings({"loss/class_cam": 0.3, "loss/total": 0.3}) == {}


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        ({"deal/depth_share": 0.001}, "few edges", "only 0.1% of the cells.*Raise --deal.gain"),
        ({"deal/depth_share": 0.0}, "few edges", "dealseg check"),
        ({"deal/depth_share": 0.62}, "many edges", "62% of the cells.*slopes.*space inverse"),
        ({"deal/flat_share": 0.8}, "collapse", "80% of the CAMs are flat.*Lower --deal.weight"),
        ({"deal/cam_share": 0.001}, "collapse", "0.1% of their cells are edges.*--deal.start"),
    ],
)
def test_each_trouble_has_one_warning_with_its_remedy(change, name, message):
    found = alignment_warnings({**FINE, **change})
    assert list(found) == [name]
    assert re.search(message, found[name])
    assert "\n" not in found[name]


def test_the_limits_themselves_are_fine_and_just_outside_is_not():
    low, high = EDGE_SHARE
    for share, fine in ((low, True), (high, True), (low - 1e-6, False), (high + 1e-6, False)):
        assert (alignment_warnings({**FINE, "deal/depth_share": share}) == {}) == fine


def test_flat_cams_are_no_fault_of_a_loss_that_is_off():
    assert alignment_warnings({**FINE, "deal/flat_share": 1.0, "deal/lambda": 0.0}) == {}


def test_the_watch_warns_once_each_and_from_one_process(caplog):
    flat = {**FINE, "deal/flat_share": 0.9}
    with caplog.at_level(logging.WARNING, logger="dealseg"):
        AlignmentWatch().on_train_epoch_end(trainer(metrics=flat, zero=False), TASK)
        assert caplog.records == []
        watch = AlignmentWatch()
        for epoch in range(3):
            watch.on_train_epoch_end(trainer(epoch, flat), TASK)
        assert len(caplog.records) == 1
        watch.on_train_epoch_end(trainer(3, {**flat, "deal/depth_share": 0.9}), TASK)
        assert len(caplog.records) == 2
    assert {record.name for record in caplog.records} == {"dealseg"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_is_an_error_with_a_remedy(value):
    with pytest.raises(ConfigError, match=r"in epoch 3: lower --optim.lr.*--optim.clip 1"):
        FiniteWatch().on_train_epoch_end(trainer(3, {"loss/total": value}), TASK)
    FiniteWatch().on_train_epoch_end(trainer(), TASK)


def epochs(writer, numbers, **options):
    writer.on_train_start(trainer(numbers[0]), TASK)
    for epoch in numbers:
        values = {**FINE, "loss/total": 1 / (epoch + 3)}
        writer.on_train_epoch_end(trainer(epoch, values, **options), TASK)


def test_the_metrics_file_reads_back_as_what_was_logged(tmp_path):
    epochs(MetricsFile(tmp_path), range(3), rate=1e-5)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", *sorted(FINE), "lr"]
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    for epoch, row in enumerate(rows):
        assert float(row["loss/total"]) == pytest.approx(1 / (epoch + 3), rel=1e-5)
        assert float(row["lr"]) == 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_resumed_run_loses_and_doubles_no_row(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    epochs(MetricsFile(tmp_path / "a"), range(5))
    epochs(MetricsFile(tmp_path / "b"), range(3))
    epochs(MetricsFile(tmp_path / "b"), range(2, 5))  # epoch 2 had no checkpoint: it is run again
    texts = [(tmp_path / name / "metrics.csv").read_text() for name in "ab"]
    assert texts[0] == texts[1]


def test_other_processes_write_no_metrics(tmp_path):
    epochs(MetricsFile(tmp_path), range(2), zero=False)
    assert not list(tmp_path.iterdir())


def test_the_bar_follows_the_steps_and_is_closed_by_an_exception(monkeypatch, capsys):
    monkeypatch.setattr("dealseg.training.watch.tqdm", Bar)
    progress = Progress()
    progress.on_exception(trainer(), TASK, KeyboardInterrupt())  # before it was opened
    progress.on_train_start(trainer(), TASK)
    assert (progress.bar.total, progress.bar.initial) == (8, 4)
    progress.on_train_batch_end(trainer(1), TASK, {"loss": torch.tensor(0.25)}, None, 0)
    assert progress.bar.n == 8
    assert progress.bar.shown == "0.250"
    progress.on_exception(trainer(), TASK, KeyboardInterrupt())
    assert progress.bar.closed


class Bar:
    def __init__(self, total, initial, **_):
        self.total, self.initial, self.n = total, initial, initial
        self.disable = False
        self.closed = False

    def update(self, steps):
        self.n += steps

    def set_postfix(self, **values):
        self.shown = values["loss"]

    def close(self):
        self.closed = True
