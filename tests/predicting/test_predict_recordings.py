"""`dealseg predict` on videos and cameras, as a user calls it."""

import json
import struct
import sys
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest
import torch

from dealseg.draw import overlay
from dealseg.predicting import Prediction, predict_recording, recordings
from dealseg.predicting.inputs import Recording
from small_segmenters import picture, read_mask

IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
QUARTER = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
"""The display matrices of MP4: as stored, and turned clockwise by a quarter."""


def film(size=(48, 64), count=7):
    """Return frames whose brightness grows with their number, so that any disorder shows."""
    pictures = [picture(seed, *size).astype(int) for seed in range(count)]
    return [(30 * n + p // 5).astype(np.uint8) for n, p in enumerate(pictures)]


def write_video(path, frames, times=None, unit=Fraction(1, 20), codec="ffv1", kind="bgr0"):
    """Write a video without loss; frame n is shown at `times[n]` units."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = kind, unit
        if codec == "libx264":
            stream.options = {"crf": "0"}
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = times[number] if times else number, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_video(path):
    """Return the times in seconds and the pictures."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.time for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.mark.parametrize("batch", [1, 3])
def test_every_frame_has_its_mask_in_order(tmp_path, run, segmenter, batch):
    frames = film()
    video = write_video(tmp_path / "in.mkv", frames)
    words = ("predict", segmenter.folder, video, "--batch-size", batch, "--out", tmp_path / "out")
    told = run(*words)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"7 masks made in {tmp_path}/out/masks, ")
    for number, pixels in enumerate(frames):
        mask = read_mask(tmp_path / f"out/masks/{number:06d}.png")
        assert np.array_equal(mask, segmenter.model.predict(pixels))
    said = json.loads((tmp_path / "out/labels.json").read_text())
    assert (said["images"], said["data"]) == (7, str(video.resolve()))


@pytest.mark.parametrize("size", [(48, 64), (45, 63)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_video_out_has_the_frames_in_their_order_at_their_times(
    tmp_path, run, segmenter, size, suffix
):
    frames, times = film(size), [0, 1, 2, 5, 6, 11, 12]  # at 20 a second, some left out
    video, out = write_video(tmp_path / "in.mkv", frames, times), tmp_path / f"out.{suffix}"
    assert run("predict", segmenter.folder, video, "--video", out).code == 0
    shown, found = read_video(out)
    assert shown == pytest.approx([time / 20 for time in times], abs=1e-3)
    for pixels, drawn in zip(frames, found, strict=True):
        expected = overlay(pixels, segmenter.model.predict(pixels))
        assert drawn.shape == expected.shape
        assert np.abs(drawn.astype(int) - expected).mean() < 12  # H.264 halves the colours' size
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_a_turned_video_is_seen_upright(tmp_path, run, segmenter):
    frames = film(count=3)
    video = write_video(tmp_path / "in.mp4", frames, codec="libx264", kind="yuv444p")
    content = video.read_bytes()
    place = content.rindex(IDENTITY)  # the track's matrix; the one of the whole file is before
    turned = content[:place] + QUARTER + content[place + len(QUARTER) :]
    video.write_bytes(turned)
    assert run("predict", segmenter.folder, video, "--out", tmp_path / "out").code == 0
    _, stored = read_video(video)
    for number, pixels in enumerate(stored):
        upright = np.ascontiguousarray(np.rot90(pixels, -1))  # clockwise, as the matrix says
        mask = read_mask(tmp_path / f"out/masks/{number:06d}.png")
        assert mask.shape == (64, 48)
        assert np.array_equal(mask, segmenter.model.predict(upright))


def test_an_interrupted_call_goes_on_and_the_video_is_whole(tmp_path, run, segmenter):
    video = write_video(tmp_path / "in.mkv", film())
    words = ("predict", segmenter.folder, video, "--out", tmp_path / "out", "--video")
    run(*words, tmp_path / "whole.mkv")
    whole = (tmp_path / "out/labels.json").read_bytes()
    for number in (2, 6):
        (tmp_path / f"out/masks/{number:06d}.png").unlink()
    told = run(*words, tmp_path / "again.mkv", "--batch-size", "4")
    assert told.out.startswith("2 masks made, 5 kept from before in ")
    assert (tmp_path / "out/labels.json").read_bytes() == whole
    first, second = read_video(tmp_path / "whole.mkv"), read_video(tmp_path / "again.mkv")
    assert first[0] == second[0]
    assert all(np.array_equal(a, b) for a, b in zip(first[1], second[1], strict=True))


def test_a_video_that_ends_early_is_warned_of(tmp_path, segmenter, run, caplog, monkeypatch):
    video = write_video(tmp_path / "in.mp4", film(count=4), codec="libx264", kind="yuv444p")
    words = ("predict", segmenter.folder, video, "--out")
    assert run(*words, tmp_path / "whole").code == 0
    assert caplog.text == ""
    all_of_it = recordings.VideoReader.frames
    monkeypatch.setattr(
        recordings.VideoReader, "frames", lambda self: islice(all_of_it(self), 3)
    )  # as FFmpeg gives them of a file that was cut off
    assert run(*words, tmp_path / "cut").code == 0
    assert "in.mp4: 3 of the 4 frames that it tells of could be read" in caplog.text
    monkeypatch.setattr(recordings.VideoReader, "frames", lambda _: iter(()))
    film_out = tmp_path / "drawn.mp4"
    told = run(*words, tmp_path / "none", "--video", film_out)
    assert told.code == 2
    assert "in.mp4: has no frame that can be read" in told.err
    assert not film_out.exists()


def test_a_video_that_cannot_be_ended_leaves_nothing(tmp_path, segmenter, run, monkeypatch):
    video = write_video(tmp_path / "in.mkv", film(count=2))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordings.VideoWriter, "_flush", full)
    told = run("predict", segmenter.folder, video, "--video", tmp_path / "drawn.mp4")
    assert told.code == 2
    assert "No space left" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_only_as_many_frames_as_told_are_seen(tmp_path, run, segmenter):
    video = write_video(tmp_path / "in.mkv", film())
    out = tmp_path / "out"
    assert run("predict", segmenter.folder, video, "--out", out, "--frames", "3").code == 0
    assert sorted(path.stem for path in (out / "masks").iterdir()) == ["000000", "000001", "000002"]


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """A camera that shows a video."""
    video = write_video(tmp_path / "camera.mkv", film())
    monkeypatch.setattr(recordings, "_camera", lambda _: (str(video), "matroska"))
    return "webcam:0"


def test_a_camera_is_looked_at_until_interrupted_and_all_is_kept(tmp_path, segmenter, camera, run):
    class Impatient:
        """Is interrupted in its third frame."""

        classes, remark, calls = ("cup", "plate"), "", 0

        def settings(self):
            return {"classes": ["cup", "plate"]}

        def predict(self, images):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            mask = torch.from_numpy(segmenter.model.predict(images[0].permute(1, 2, 0).numpy()))
            return [Prediction(mask, 0.5)]

    out, film_out = tmp_path / "out", tmp_path / "out.mkv"
    done = predict_recording(Impatient(), Recording("0", live=True), out, video=film_out)
    assert (done.written, done.kept) == (2, 0)
    assert len(list((out / "masks").iterdir())) == 2
    said = json.loads((out / "labels.json").read_text())
    assert (said["images"], said["data"]) == (2, "camera:0")
    assert len(read_video(film_out)[1]) == 2
    told = run("predict", segmenter.folder, camera, "--out", out)
    assert told.code == 2
    assert "is not empty; a camera's frames go to a new folder" in told.err
    with pytest.raises(KeyboardInterrupt):
        predict_recording(Impatient(), Recording(str(tmp_path / "camera.mkv")), tmp_path / "file")
    assert not (tmp_path / "file/labels.json").exists()


def test_a_camera_is_a_device_of_the_system(monkeypatch):
    names = {"linux": ("/dev/video1", "v4l2"), "darwin": ("1", "avfoundation")}
    for system, expected in (names | {"win32": ("video=1", "dshow")}).items():
        monkeypatch.setattr(sys, "platform", system)
        assert recordings._camera("1") == expected


def test_mistakes_are_said_in_one_line(tmp_path, run, segmenter, monkeypatch):
    video = write_video(tmp_path / "in.mkv", film(count=2))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    tone = tmp_path / "tone.wav"
    tone.write_bytes(wav())
    seg, out = segmenter.folder, ("--out", tmp_path / "out")
    cases = [
        ((seg, tmp_path / "broken.mp4", *out), "broken.mp4: cannot be opened as a video or image"),
        ((seg, tone, *out), "tone.wav: has no video in it"),
        ((seg, "camera:99", *out), "camera:99: cannot be opened as a camera"),
        ((seg, video, "--video", video), "in.mkv is what is looked at; choose another file"),
        ((seg, video), "there is nothing to write; give --out FOLDER or --video FILE.mp4"),
        ((seg, video, "--video", tmp_path / "o.gif"), "video must end in .mp4, .mkv, .mov"),
        ((seg, video, "--overlay", "--video", tmp_path / "o.mp4"), "give --out FOLDER"),
        ((seg, video, video, *out), "in.mkv: is not an image; give one video alone"),
    ]
    before = video.read_bytes()
    for words, expected in cases:
        told = run("predict", *words)
        assert told.code == 2, words
        assert told.err.count("\n") == 1
        assert expected in told.err
    assert video.read_bytes() == before
    monkeypatch.setitem(sys.modules, "av", None)
    told = run("predict", seg, video, *out)
    assert told.code == 2
    assert "needs PyAV: pip install 'dealseg[video]'" in told.err
    assert not (tmp_path / "out").exists()


def wav() -> bytes:
    """Return a sound file with 8 samples."""
    samples = bytes(16)
    form = (16).to_bytes(4, "little") + bytes.fromhex("01000100401f0000803e000002001000")
    body = b"WAVEfmt " + form + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(body).to_bytes(4, "little") + body
