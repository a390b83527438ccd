"""A segmenter as an ONNX graph that says what it is."""

import json
from types import ModuleType
from typing import Any

import torch

from dealseg import __version__
from dealseg.data.palette import colour_of
from dealseg.deploying.tracing import traced
from dealseg.errors import ConfigError
from dealseg.models.segmenter import Segmenter

OPSET = 18
"""What torch's exporter writes natively; onnxruntime reads it since 1.14 (early 2023)."""
IR_VERSION = 8
"""The file format of that opset's time; exporters write their own newest."""
OLDEST_TORCH = (2, 9)
"""The first release in which the exporter used here is the usual one; see pyproject.toml."""
AXES = ("batch", "height", "width")


def segmenter_graph(model: Segmenter) -> Any:
    """Return the ONNX model of a segmenter: `image` to `logits`, any batch, height and width.

    Written by torch's exporter over `torch.export`: the older one, over TorchScript, is about to be
    removed. The places in source files that it notes are taken out again.

    Raises:
        ConfigError: if onnx or onnxscript is not installed, or PyTorch is too old.
    """
    _onnx()
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        raise ConfigError(
            f"writing ONNX needs PyTorch {wanted} or newer, this is {torch.__version__}: "
            "pip install 'dealseg[onnx]'"
        )
    example = torch.zeros(2, 3, 96, 128, device=model.mean.device)
    moving = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with traced():
        program = torch.onnx.export(
            model, (example,), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["image"], output_names=["logits"], dynamic_shapes={"image": moving},
        )  # fmt: skip
    if program is None:
        raise ConfigError("torch.onnx.export gave no model; take a newer PyTorch")
    graph = program.model_proto
    _forget_sources(graph)
    _name_axes(graph)
    return graph


def with_classes(graph: Any) -> Any:
    """Return a model that gives `classes`, uint8 (batch, height, width), in place of `logits`.

    The first of equal logits wins, as in PyTorch.
    """
    onnx = _onnx()
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    found = "classes_int64"
    made.graph.node.extend([
        onnx.helper.make_node("ArgMax", ["logits"], [found], name="winner", axis=1, keepdims=0),
        onnx.helper.make_node("Cast", [found], ["classes"], name="mask", to=onnx.TensorProto.UINT8),
    ])  # fmt: skip
    del made.graph.output[:]
    kind = onnx.TensorProto.UINT8
    made.graph.output.append(onnx.helper.make_tensor_value_info("classes", kind, AXES))
    return made


def describe(graph: Any, facts: dict[str, str]) -> None:
    """Put facts into a model's metadata, in place of any it has, and date its file format."""
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    del graph.metadata_props[:]
    _onnx().helper.set_model_props(graph, facts)


def metadata(model: Segmenter, output: str, numbers: str, checksum: str) -> dict[str, str]:
    """Return all that is to be known to use an exported model, as texts; lists are JSON.

    Args:
        model: what is exported.
        output: `logits` or `classes`.
        numbers: `float32`, or how it was made int8.
        checksum: of the weights it comes from.
    """
    known = model.facts()
    colours = [list(colour_of(value)) for value in range(len(model.classes) + 1)]
    return {
        "dealseg_version": __version__,
        "classes": json.dumps(list(model.classes), ensure_ascii=False),
        "colours": json.dumps(colours),
        "long_side": str(model.long_side),
        "input": "image: float32 (batch, 3, height, width), RGB from 0 to 1, any height and width",
        "normalisation": "inside the model",
        "resizing": "bilinear with antialiasing, longer side to long_side pixels",
        "output": output,
        "numbers": numbers,
        "architecture": str(known["architecture"]),
        "backbone": str(known["backbone"]),
        "weights_sha256": checksum,
    }


def _forget_sources(graph: Any) -> None:
    """Take out names of source files and functions, which tell of the machine that exported."""
    parts = [graph, graph.graph, *graph.functions, *graph.graph.node, *graph.graph.value_info]
    parts += [*graph.graph.initializer, *graph.graph.input, *graph.graph.output]
    parts += [node for function in graph.functions for node in function.node]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]


def _name_axes(graph: Any) -> None:
    for tensor in (*graph.graph.input, *graph.graph.output):
        dims = tensor.type.tensor_type.shape.dim
        for axis, name in zip((0, 2, 3), AXES, strict=True):
            dims[axis].dim_param = name
    del graph.graph.value_info[:]  # it has the exporter's own names of the axes


def _onnx() -> ModuleType:
    try:
        import onnx  # noqa: PLC0415 -- an extra
        import onnxscript  # noqa: F401, PLC0415 -- torch's exporter needs it
    except ImportError as error:
        raise ConfigError("writing ONNX needs onnx: pip install 'dealseg[onnx]'") from error
    return onnx
