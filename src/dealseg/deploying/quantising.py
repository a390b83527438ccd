"""Eight-bit models: smaller, and faster where the processor has instructions for them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from jaxtyping import Float
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor


def quantised(graph: Any, images: Sequence[Float[Tensor, "1 3 h w"]]) -> Any:
    """Return an ONNX model with weights of 8 bits.

    With images, activations have 8 bits too, on scales that the smallest and largest value of each
    on these images give (static quantisation, one scale a channel for weights). Without, scales are
    found anew for every image (dynamic quantisation), which is made for matrix products; of
    convolutions it often is slower than float32.

    Args:
        graph: the float model.
        images: calibration images in [0, 1], at the size the network is to see.
    """
    with TemporaryDirectory() as folder, _quiet():
        plain, ready = Path(folder) / "plain.onnx", Path(folder) / "ready.onnx"
        made = Path(folder) / "int8.onnx"
        onnx.save(graph, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        if images:
            quantize_static(
                ready, made, _Images(images), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        else:
            quantize_dynamic(ready, made, weight_type=QuantType.QUInt8)
        return onnx.load(made)


class _Images(CalibrationDataReader):
    def __init__(self, images: Sequence[Tensor]) -> None:
        self._left = iter(images)

    def get_next(self) -> Any:
        """Return the next image by the name of the model's input, None after the last."""
        image = next(self._left, None)
        return None if image is None else {"image": image.numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice off the terminal; it says all on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
