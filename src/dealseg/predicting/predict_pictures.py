"""From image files to masks: batched, streaming, resumable."""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dealseg.data.files import FileError, read_image
from dealseg.estimating.batches import Prepared, ahead, in_batches
from dealseg.predicting.inputs import Pictures
from dealseg.predicting.predictors import Prediction, Predictor
from dealseg.predicting.storing import Store


@dataclass(frozen=True)
class PredictResult:
    """What predicting did.

    Attributes:
        written: masks made now.
        kept: masks found from an interrupted call.
        seconds: that reading, network and writing took.
        unreadable: files that were passed over, with what is wrong.
    """

    written: int
    kept: int
    seconds: float
    unreadable: tuple[str, ...] = ()


def predict_pictures(
    predictor: Predictor,
    pictures: Pictures,
    out: Path,
    *,
    overlays: bool = False,
    batch_size: int = 1,
    threads: int | None = None,
    skip_unreadable: bool = False,
) -> PredictResult:
    """Write a mask for every image, and `labels.json`; an interrupted call goes on where it was.

    Args:
        predictor: the network.
        pictures: the images.
        out: the folder.
        overlays: also write masks laid over their images.
        batch_size: images of one size that are looked at together.
        threads: that read and write files; by default as many as processors, at most 8.
        skip_unreadable: pass over files that cannot be read instead of stopping there.

    Raises:
        DataError: if `out` holds something else or masks made with other settings, or an image
            cannot be read.
    """
    said: dict[str, Any] = {"data": str(pictures.root.resolve()), "split": pictures.split}
    if pictures.class_ids and pictures.classes == predictor.classes:
        said["class_ids"] = pictures.class_ids
    store = Store(out, {**predictor.settings(), **said}, overlays)
    store.begin()
    names = list(pictures.files)
    todo = [index for index, name in enumerate(names) if not store.has(name)]
    unreadable: dict[str, str] = {}

    def prepare(index: int) -> Prepared | None:
        try:
            image = read_image(pictures.files[names[index]])
        except FileError as error:
            if not skip_unreadable:
                raise
            unreadable[names[index]] = str(error)
            return None
        return Prepared(index, (image.shape[-2], image.shape[-1]), image)

    def write(made: tuple[Prepared, Prediction]) -> None:
        image, found = made
        store.put(names[image.index], image.pixels.permute(1, 2, 0).numpy(), found)

    began = time.perf_counter()
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        read = ahead(pool, prepare, todo, 2 * batch_size + 8)
        made = _predicted(predictor, (each for each in read if each is not None), batch_size)
        written = ahead(pool, write, made, 2 * batch_size + 8)
        for _ in tqdm(written, total=len(todo), desc="predict", unit="image", disable=None):
            pass
    seconds = time.perf_counter() - began
    told: dict[str, Any] = {"unreadable": sorted(unreadable)} if unreadable else {}
    if pictures.layout is not None:
        told["data_format"] = pictures.layout
    store.finish((name for name in names if name not in unreadable), **told)
    done, failed = len(todo) - len(unreadable), tuple(unreadable.values())
    return PredictResult(done, len(names) - len(todo), seconds, failed)


def _predicted(
    predictor: Predictor, images: Iterable[Prepared], batch_size: int
) -> Iterator[tuple[Prepared, Prediction]]:
    for batch in in_batches(images, batch_size):
        found = predictor.predict(torch.stack([image.pixels for image in batch]))
        yield from zip(batch, found, strict=True)
