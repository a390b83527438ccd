"""From run folders to the page and its figures on disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from dealseg.data.base import RgbdDataset
from dealseg.errors import ConfigError, DataError
from dealseg.labeling import LabelOptions
from dealseg.models.placing import Device, device_of
from dealseg.report.assembling import assemble
from dealseg.report.charts import threshold_chart, training_charts
from dealseg.report.drawing import chart_sheet, example_sheet
from dealseg.report.example import Example, evenly_spaced
from dealseg.report.page import page
from dealseg.report.records import RunRecord, read_runs

FIGURES = "figures"


def write_report(
    runs: Sequence[Path],
    out: Path,
    *,
    data: RgbdDataset | None = None,
    examples: int = 8,
    title: str | None = None,
    options: LabelOptions | None = None,
    device: Device = "auto",
) -> Path:
    """Write one HTML page that compares runs, and its figures as PNG into `figures/` beside it.

    Runs without evaluation, metrics or weights are shown with what they have, and the page says
    what is missing. Examples are spread evenly over the data set: nobody picks them.

    Args:
        runs: run folders, in the order in which they are to be shown.
        out: HTML file to write.
        data: images for the examples; None leaves them out.
        examples: how many.
        title: of the page.
        options: how CAMs are made; its threshold is for runs that were not evaluated.
        device: where the networks work; `auto` takes a GPU where there is one.

    Returns:
        The file written.

    Raises:
        ConfigError: if there are no runs, one is given twice, `examples` is negative, or there is
            no such device.
        CheckpointError: if a folder is no run or its weights do not fit.
        DataError: if a file is damaged, the data set does not fit, or `out` cannot be written.
    """
    if examples < 0:
        raise ConfigError(f"examples must be >= 0, got {examples}")
    place, records = device_of(device), read_runs(runs)
    indices = [] if data is None else evenly_spaced(examples, len(data))
    shown = [] if data is None else assemble(records, data, indices, options, place)
    chosen = _how_chosen(data, len(shown))
    pictures = _figures(records, shown)
    _put(out, page(records, shown, title=title, chosen=chosen).encode("utf-8"))
    for name, content in pictures.items():
        _put(out.parent / FIGURES / name, content)
    return out


def _how_chosen(data: RgbdDataset | None, count: int) -> str:
    if data is None or count == 0:
        return "No examples were asked for."
    return (
        f"{count} of the {len(data)} images, spread evenly by their index: nobody picked them. "
        "Each CAM is that of the class that wins at the pixel."
    )


def _figures(runs: Sequence[RunRecord], examples: Sequence[Example]) -> dict[str, bytes]:
    figures: dict[str, bytes] = {}
    training, sweep = training_charts(runs), threshold_chart(runs)
    if training:
        figures["training.png"] = chart_sheet(training)
    if sweep is not None:
        figures["thresholds.png"] = chart_sheet([sweep])
    if examples:
        figures["examples.png"] = example_sheet(examples)
    return figures


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        if draft.is_file():
            draft.unlink()
        raise DataError(
            f"{path}: cannot write the report ({error.strerror}); choose a writable folder"
        ) from error
