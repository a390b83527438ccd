"""The command that brings a segmenter to where it is to work."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dealseg.deploying import Cost, Exporting

CALIBRATION_IMAGES = 64


def export_model(
    model: str,
    format: Literal["onnx", "torchscript", "safetensors"],
    out: str,
    output: Literal["logits", "classes"] = "logits",
    int8: bool = False,
    calibrate: str | None = None,
    split: str | None = None,
) -> int:
    """Export a segmenter for use without dealseg, and check it against PyTorch.

    Args:
        model: folder of a segmenter.
        format: onnx (any batch and image size), torchscript, or safetensors (a folder with weights
            and configuration that `Segmenter.from_pretrained` reads).
        out: file to write, ending in .onnx or .pt; for safetensors a folder.
        output: what an ONNX model gives: class logits, or the class of each pixel.
        int8: onnx only: weights of 8 bits; says what it costs.
        calibrate: images or a data set, some of which set the scales of 8-bit activations; with it
            --int8 quantises statically, which is faster on most processors.
        split: named part of that data set.
    """
    from dealseg.deploying import evenly_spaced
    from dealseg.deploying import export_model as export
    from dealseg.errors import ConfigError
    from dealseg.predicting import Recording, find_input

    files: list[Path] = []
    if calibrate is not None:
        found = find_input([calibrate], split=split)
        if isinstance(found, Recording):
            raise ConfigError(f"calibrate must be images, not the video {calibrate}")
        files = evenly_spaced(list(found.files.values()), CALIBRATION_IMAGES)
    elif split is not None:
        raise ConfigError("split is of the data set given with --calibrate")
    made = export(Path(model), format, Path(out), output=output, int8=int8, calibration=files)
    _tell(made, format)
    return 0


def _tell(made: "Exporting", format: str) -> None:
    print(f"{made.file}: {made.size / 1e6:.1f} MB")
    parity, by = made.parity, {"onnx": "onnxruntime"}.get(format, "PyTorch")
    apart = "" if parity.deviation is None else f"logits within {parity.deviation:.2g}, "
    print(
        f"checked by {by} on {parity.batches} batches of different sizes: {apart}"
        f"{100 * parity.equal:.3f} % of the pixels equal"
    )
    if made.cost is not None:
        _tell_cost(made.cost, made.size)
    if format == "torchscript":
        print("PyTorch has deprecated TorchScript; prefer onnx where you can")


def _tell_cost(cost: "Cost", size: int) -> None:
    print(
        f"int8: {cost.bytes_before / 1e6:.1f} -> {size / 1e6:.1f} MB, 640x480 on this processor "
        f"{cost.rate_before:.1f} -> {cost.rate:.1f} images a second"
    )
    if cost.equal is None:
        print("int8: how many pixels change is unknown without images; give --calibrate DATA")
    else:
        print(f"int8: {100 * cost.equal:.2f} % of the pixels equal on {cost.images} images")
    if cost.rate < cost.rate_before:
        print("int8 is slower here: take it for its size only, or leave it")
