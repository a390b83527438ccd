"""Video in and out with PyAV: every frame once, upright, in its order and at its time."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dealseg.data.files import file_error
from dealseg.errors import ConfigError, DataError
from dealseg.models.runs import replacing
from dealseg.predicting.inputs import Recording

CONTAINERS = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        number: from 0, in the order in which they are shown.
        pixels: upright RGB.
        time: when it is shown, in units of `unit`.
        unit: seconds.
    """

    number: int
    pixels: UInt8[np.ndarray, "h w 3"]
    time: int
    unit: Fraction


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a recording before its frames are.

    Attributes:
        rate: frames a second, on average.
        frames: how many there are, if the file says.
    """

    rate: Fraction
    frames: int | None


class VideoReader:
    """An open video file or camera; a context manager.

    Args:
        recording: what to open.

    Raises:
        ConfigError: if PyAV is not installed.
        DataError: if it cannot be opened or has no pictures.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording, self._av = recording, _av()
        self._name = Path(f"camera:{recording.source}" if recording.live else recording.source)
        kind = "camera" if recording.live else "video or image"
        with self._explained(f"cannot be opened as a {kind}"):
            self._container = self._opened()
        if not self._container.streams.video:
            self._container.close()
            raise file_error(self._name, "has no video in it")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.facts = VideoFacts(
            Fraction(rate.numerator, rate.denominator) if rate else Fraction(25),
            self._stream.frames or None,
        )

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self) -> Iterator[VideoFrame]:
        """Yield every frame once, in the order of its time.

        Raises:
            DataError: if the file is damaged.
        """
        frames, number = self._container.decode(self._stream), 0
        while True:
            with self._explained(f"is damaged after frame {number}"):
                frame = next(frames, None)
            if frame is None:
                return
            yield self._upright(frame, number)
            number += 1

    def _upright(self, frame: Any, number: int) -> VideoFrame:
        pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
        unit = frame.time_base or 1 / self.facts.rate
        timed = frame.pts is not None
        time = frame.pts if timed else round(number / (self.facts.rate * unit))
        return VideoFrame(
            number, np.ascontiguousarray(pixels), time, Fraction(unit.numerator, unit.denominator)
        )

    def _opened(self) -> Any:
        if not self.recording.live:
            return self._av.open(self.recording.source)
        source, kind = _camera(self.recording.source)
        return self._av.open(source, format=kind)

    @contextlib.contextmanager
    def _explained(self, problem: str) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise file_error(self._name, f"{problem} ({reason})") from error


class VideoWriter:
    """A video file in the making; it takes its place when the context ends well.

    Frames keep their times, so a recording of uneven rate stays one. H.264 at constant quality
    (CRF 18), without sound. It has no B-frames: with them the same frames were seen to give
    different files.

    Args:
        file: mp4, mkv or mov.
        rate: frames a second, said in the file's head.

    Raises:
        ConfigError: for another suffix, or if PyAV is not installed.
    """

    def __init__(self, file: Path, rate: Fraction) -> None:
        require_container(file)
        self.file, self._rate, self._av = file, rate, _av()
        self._stack = contextlib.ExitStack()
        self._stream: Any = None

    def __enter__(self) -> "VideoWriter":
        self.file.parent.mkdir(parents=True, exist_ok=True)
        kind = {".mkv": "matroska"}.get(self.file.suffix.lower(), self.file.suffix.lower()[1:])
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(replacing(self.file))
            self._container = self._av.open(str(partial), "w", format=kind)
            stack.enter_context(self._container)
            stack.push(self._flush)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _flush(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what the encoder still holds, unless the file is given up."""
        if kind is None and self._stream is not None:
            self._container.mux(self._stream.encode())

    def write(self, frame: VideoFrame, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append a picture that is shown at the time of `frame`.

        Raises:
            DataError: if it is of another size than the first one.
        """
        if self._stream is None:
            self._stream = self._started(frame, pixels.shape[0], pixels.shape[1])
        size = (self._stream.height, self._stream.width)
        if pixels.shape[:2] != size:
            raise DataError(f"{self.file}: frames change from {size} to {pixels.shape[:2]}")
        made = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        made.pts, made.time_base = frame.time, frame.unit
        self._container.mux(self._stream.encode(made))

    def _started(self, frame: VideoFrame, height: int, width: int) -> Any:
        options = {"crf": "18", "bf": "0"}
        stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.height, stream.width = height, width
        halved = height % 2 == 0 and width % 2 == 0
        stream.pix_fmt = "yuv420p" if halved else "yuv444p"  # halved colour needs even sides
        stream.codec_context.time_base = frame.unit
        return stream


def require_container(file: Path) -> None:
    """Raise ConfigError unless the suffix is one of a video file that can be written."""
    if file.suffix.lower() not in CONTAINERS:
        raise ConfigError(f"video must end in {', '.join(CONTAINERS)}, got {file.name!r}")


def _camera(source: str) -> tuple[str, str]:
    """Return what FFmpeg calls a camera on this system."""
    if sys.platform == "darwin":
        return source, "avfoundation"
    if sys.platform == "win32":
        return f"video={source}", "dshow"
    return (f"/dev/video{source}" if source.isdigit() else source), "v4l2"


def _av() -> ModuleType:
    try:
        import av  # noqa: PLC0415 -- an extra
    except ImportError as error:
        raise ConfigError("reading video needs PyAV: pip install 'dealseg[video]'") from error
    return av
