"""The command that looks at new images and videos with a trained network."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dealseg.config.label import Refinement

if TYPE_CHECKING:
    from dealseg.predicting import PredictResult

Input = Literal["auto", "images", "folder", "bop", "voc", "coco"]


def predict(
    model: str,
    input: list[str],
    out: str | None = None,
    video: str | None = None,
    overlay: bool = False,
    format: Input = "auto",
    split: str | None = None,
    long_side: int | None = None,
    window: int | None = None,
    overlap: float = 0.25,
    refine: Refinement | None = None,
    batch_size: int | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto",
    frames: int | None = None,
    skip_unreadable: bool = False,
    threads: int | None = None,
) -> int:
    """Write a mask for every image or video frame, without tags and without depth.

    Args:
        model: folder of a segmenter, an exported ONNX file, or a first-stage run, which is slower
            and predicts tags first.
        input: image files, a glob, a folder of images, a data set, a video file, or `camera:0`.
        out: folder for `masks/` and `labels.json`; a new one, or the same to go on.
        video: write this mp4, mkv or mov of a video's frames with their masks laid over.
        overlay: also write `overlays/`, the images with their masks laid over, into OUT.
        format: `images` looks at a folder as plain images, the others as a data set; auto looks.
        split: named part of a data set.
        long_side: longer side, in pixels, at which images are seen; by default the training's, or
            with --window the image's own.
        window: see larger images through windows of so many pixels a side.
        overlap: share of a window that the next one covers again; logits are averaged there.
        refine: bring masks onto the edges of the image's colours, by local affinity or a dense CRF;
            by default what a first-stage run was told, and none for others.
        batch_size: images of one size that are looked at together; by default 8 on a GPU, else 1.
        device: auto takes a GPU where there is one.
        precision: auto is 16-mixed on a GPU, else 32-true.
        frames: stop after so many frames of a video or camera.
        skip_unreadable: pass over images that cannot be read, and exit with code 1.
        threads: that read and write files; by default as many as processors, at most 8.
    """
    from dealseg.models.placing import device_of
    from dealseg.predicting import (
        PredictOptions,
        Recording,
        find_input,
        load_predictor,
        predict_pictures,
        predict_recording,
    )

    _require_positive(batch_size=batch_size, frames=frames, threads=threads)
    found = find_input(input, format, split, Path(out) if out else None)
    _require_place(isinstance(found, Recording), out, video, frames, overlay)
    predictor = load_predictor(
        Path(model), PredictOptions(device, precision, long_side, window, overlap, refine)
    )
    if predictor.remark:
        print(predictor.remark)
    size = batch_size or (8 if device_of(device).type == "cuda" else 1)
    if isinstance(found, Recording):
        folder, film = Path(out) if out else None, Path(video) if video else None
        done = predict_recording(
            predictor, found, folder, video=film, overlays=overlay, batch_size=size, limit=frames
        )
    else:
        done = predict_pictures(
            predictor, found, Path(str(out)), overlays=overlay, batch_size=size, threads=threads,
            skip_unreadable=skip_unreadable,
        )  # fmt: skip
    return _told(done, out, video)


def _require_positive(**options: int | None) -> None:
    from dealseg.errors import ConfigError

    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")


def _require_place(
    moving: bool, out: str | None, video: str | None, frames: int | None, overlay: bool
) -> None:
    from dealseg.errors import ConfigError

    if not moving and (video is not None or frames is not None):
        raise ConfigError("video and frames are for a video file or a camera, not for images")
    if out is None and (overlay or not moving):
        raise ConfigError("there is nowhere to write the masks; give --out FOLDER")


def _told(done: "PredictResult", out: str | None, video: str | None) -> int:
    kept = f", {done.kept} kept from before" if done.kept else ""
    places = " and ".join(place for place in (out and f"{out}/masks", video) if place)
    rate = f", {done.written / done.seconds:.1f} images a second" if done.written else ""
    print(f"{done.written} masks made{kept} in {places}{rate}")
    for problem in done.unreadable:
        print(f"passed over: {problem}")
    return 1 if done.unreadable else 0
