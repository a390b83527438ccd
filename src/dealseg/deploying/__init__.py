"""From a segmenter to a file for a robot: ONNX, TorchScript or safetensors."""

from dealseg.deploying.checking import Parity, compare
from dealseg.deploying.export import (
    Cost,
    Exporting,
    evenly_spaced,
    export_model,
    onnx_function,
)
from dealseg.deploying.measuring import seconds_a_call

__all__ = [
    "Cost",
    "Exporting",
    "Parity",
    "compare",
    "evenly_spaced",
    "export_model",
    "onnx_function",
    "seconds_a_call",
]
