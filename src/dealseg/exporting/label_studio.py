"""Label Studio: tasks with brush predictions, and the labelling configuration they fit."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from dealseg.data.base import IGNORE
from dealseg.data.files import file_error
from dealseg.exporting.cvat import hex_colour
from dealseg.exporting.instances import Instance, find_instances
from dealseg.exporting.json_writing import Entries, json_list
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.run_lengths import brush_bytes
from dealseg.exporting.source import Item, Source
from dealseg.exporting.target import write_lines

DEFAULTS = {
    "instances": "class",
    "min_area": 0,
    "ignored": "background",
    "url_prefix": "/data/local-files/?d=",
}

FROM_NAME, TO_NAME = "mask", "image"
"""Of the control and the object: in each result and in the configuration."""
LARGEST = 100_000_000
"""Characters of a file of tasks; Label Studio refuses uploads above 250 MB."""


def write_label_studio(source: Source, folder: Path, options: ExportOptions) -> list[str]:
    """Write `tasks.json` (and `tasks-2.json`, ... beyond 100 MB) and `config.xml`.

    An image becomes a task with one prediction, whose score is the mask's confidence, and an
    object of it one brush region. Label Studio has no value for ignored pixels: they stay without
    a region, or get the label `ignored`.
    """
    names = dict(enumerate(source.classes, start=1))
    if options.ignored == "label":
        if "ignored" in source.classes:
            raise file_error(source.masks.root, "a class is called `ignored`; rename it")
        names[IGNORE] = "ignored"
    version = _model_version(source)
    tasks = _Tasks(folder)
    with tasks:
        for item in source.items():
            regions = [
                _region(item, each, names[value], number)
                for number, (value, each) in enumerate(_objects(item, options))
            ]
            prediction: dict[str, Any] = {"model_version": version, "result": regions}
            if item.confidence is not None:
                prediction["score"] = item.confidence
            url = f"{options.url_prefix}{quote(os.fsencode(source.relative(item.image)))}"
            data = {"image": url, "name": item.name}
            tasks.add({"data": data, "predictions": [prediction]})
    write_lines(folder / "config.xml", _config(names))
    return [f"images are asked for at {options.url_prefix}FILE, FILE being below the data set"]


def _model_version(source: Source) -> str:
    """Return a name for the network that made the masks, by which predictions are told apart."""
    checksum = source.masks.facts.get("weights_sha256")
    return f"dealseg-{checksum[:12]}" if isinstance(checksum, str) else "dealseg"


def _objects(item: Item, options: ExportOptions) -> Iterator[tuple[int, Instance]]:
    how, least = str(options.instances), options.min_area or 0
    for each in find_instances(item.mask, how, least):
        yield each.value, each
    if options.ignored == "label":
        for each in find_instances((item.mask == IGNORE).astype(np.uint8), how, least):
            yield IGNORE, each


def _region(item: Item, found: Instance, label: str, number: int) -> dict[str, Any]:
    height, width = found.size
    told = f"{item.name}\n{number}".encode(errors="surrogateescape")
    return {
        "id": hashlib.sha256(told).hexdigest()[:10],
        "type": "brushlabels",
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush_bytes(found), "brushlabels": [label]},
    }


def _config(names: dict[int, str]) -> list[str]:
    return [
        "<View>",
        f'  <Image name="{TO_NAME}" value="$image" zoom="true"/>',
        f'  <BrushLabels name="{FROM_NAME}" toName="{TO_NAME}">',
        *(
            f'    <Label value={quoteattr(name)} background="{hex_colour(value)}"/>'
            for value, name in names.items()
        ),
        "  </BrushLabels>",
        "</View>",
    ]


class _Tasks(ExitStack):
    """Files of tasks, a new one where the last is full."""

    def __init__(self, folder: Path):
        super().__init__()
        self._folder, self._files, self._written = folder, 0, LARGEST
        self._entries: Entries | None = None

    def add(self, task: dict[str, Any]) -> None:
        if self._entries is None or self._written >= LARGEST:
            self.close()
            self._files += 1
            name = "tasks.json" if self._files == 1 else f"tasks-{self._files}.json"
            self._entries, self._written = self.enter_context(json_list(self._folder / name)), 0
        self._written += self._entries.add(task)
