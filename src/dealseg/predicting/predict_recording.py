"""From a video file or a camera to masks: in order, each frame once."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm

from dealseg.data.files import file_error
from dealseg.draw import overlay
from dealseg.errors import ConfigError
from dealseg.predicting.inputs import Recording
from dealseg.predicting.predict_pictures import PredictResult
from dealseg.predicting.predictors import Prediction, Predictor
from dealseg.predicting.recordings import VideoFrame, VideoReader, VideoWriter
from dealseg.predicting.storing import Store

_LOG = logging.getLogger("dealseg")

Mask = UInt8[np.ndarray, "h w"]


def predict_recording(
    predictor: Predictor,
    recording: Recording,
    out: Path | None = None,
    *,
    video: Path | None = None,
    overlays: bool = False,
    batch_size: int = 1,
    limit: int | None = None,
) -> PredictResult:
    """Write a mask for every frame, `masks/000000.png` and on, or a video with them, or both.

    An interrupted call goes on where it was, but a camera's ends well, with what there is.

    Args:
        predictor: the network.
        recording: video file or camera.
        out: folder for the masks; None makes only the video.
        video: file for the frames with their masks laid over, at the times they have.
        overlays: also write each frame with its mask laid over into `out`.
        batch_size: frames that are looked at together.
        limit: stop after so many frames.

    Raises:
        ConfigError: if there is nothing to write, `video` is the recording, or there is no PyAV.
        DataError: if the recording cannot be read or has no frame, or `out` holds something else.
    """
    if out is None and video is None:
        raise ConfigError("there is nothing to write; give --out FOLDER or --video FILE.mp4")
    _require_another(recording, video)
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(recording))
        store = _store(predictor, recording, out, overlays=overlays)
        film = stack.enter_context(VideoWriter(video, reader.facts.rate)) if video else None
        scribe = _Scribe(predictor, store, film)
        bar = tqdm(total=limit or reader.facts.frames, desc="predict", unit="frame", disable=None)
        began = time.perf_counter()
        try:
            for batch in _batches(islice(reader.frames(), limit), batch_size):
                scribe.take(batch)
                bar.update(len(batch))
        except KeyboardInterrupt:
            if not recording.live:
                raise
        bar.close()
        seconds = time.perf_counter() - began
        if not recording.live and limit is None:
            _require_whole(recording, scribe.written + scribe.kept, reader.facts.frames)
    if store is not None:
        store.finish(_name(number) for number in range(scribe.written + scribe.kept))
    return PredictResult(scribe.written, scribe.kept, seconds)


@dataclass
class _Scribe:
    """Takes frames in their order to the network and to what is written."""

    predictor: Predictor
    store: Store | None
    film: VideoWriter | None
    written: int = 0
    kept: int = 0

    def take(self, frames: list[VideoFrame]) -> None:
        """Look at the frames whose masks are not there yet, and write all in their order."""
        kept = {} if self.store is None else _kept(self.store, frames)
        new = [frame for frame in frames if frame.number not in kept]
        found = iter(self._found(new))
        for frame in frames:
            mask = kept[frame.number] if frame.number in kept else self._new(frame, next(found))
            if self.film is not None:
                self.film.write(frame, overlay(frame.pixels, mask))
        self.written += len(new)
        self.kept += len(kept)

    def _new(self, frame: VideoFrame, found: Prediction) -> Mask:
        if self.store is None:
            return found.mask.numpy()
        return self.store.put(_name(frame.number), frame.pixels, found)

    def _found(self, frames: list[VideoFrame]) -> Iterable[Prediction]:
        if not frames:
            return []
        pixels = [torch.from_numpy(frame.pixels).permute(2, 0, 1) for frame in frames]
        return self.predictor.predict(torch.stack(pixels))


def _require_another(recording: Recording, video: Path | None) -> None:
    """Refuse to write a video over the one that is looked at."""
    if video is None or recording.live or not video.exists():
        return
    if video.samefile(recording.source):
        raise ConfigError(f"video {video} is what is looked at; choose another file")


def _require_whole(recording: Recording, found: int, told: int | None) -> None:
    """Refuse a video without a frame, and warn of one that ends early."""
    if found == 0:
        raise file_error(Path(recording.source), "has no frame that can be read")
    if told is not None and found < told:
        _LOG.warning(
            "%s: %d of the %d frames that it tells of could be read; it may be cut off",
            recording.source, found, told,
        )  # fmt: skip


def _kept(store: Store, frames: list[VideoFrame]) -> dict[int, Mask]:
    names = {frame.number: _name(frame.number) for frame in frames}
    return {number: store.mask(name) for number, name in names.items() if store.has(name)}


def _store(
    predictor: Predictor, recording: Recording, out: Path | None, *, overlays: bool
) -> Store | None:
    if out is None:
        return None
    if recording.live and out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; a camera's frames go to a new folder")
    data = f"camera:{recording.source}"
    said = {"data": data if recording.live else str(Path(recording.source).resolve())}
    store = Store(out, {**predictor.settings(), **said, "split": "all"}, overlays)
    store.begin()
    return store


def _batches(frames: Iterable[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    """Yield runs of up to `size` frames of one shape, in their order."""
    batch: list[VideoFrame] = []
    for frame in frames:
        if batch and (len(batch) == size or frame.pixels.shape != batch[0].pixels.shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _name(number: int) -> str:
    return f"{number:06d}"
