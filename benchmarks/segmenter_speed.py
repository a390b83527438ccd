"""Frames a second of segmenters on a CPU: PyTorch, and ONNX in float32 and 8 bits.

python benchmarks/segmenter_speed.py                         # untrained networks: speed only
python benchmarks/segmenter_speed.py --model RUN --images D  # a trained one: also agreement

One image of 640x480 at a time, seen at that size. Networks without training have the speed of
trained ones; how many pixels 8 bits change can only be told from a trained one, on real images,
which also set the scales of the activations (static quantisation).
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from dealseg.config.segmenter import ARCHITECTURES, SegmenterConfig
from dealseg.data.files import read_image
from dealseg.deploying import compare, evenly_spaced, onnx_function, seconds_a_call
from dealseg.deploying.graphs import segmenter_graph
from dealseg.deploying.quantising import quantised
from dealseg.models.segmenter import Segmenter
from dealseg.models.sizing import at_long_side
from dealseg.predicting import Pictures, find_input

HEIGHT, WIDTH = 480, 640
Compute = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="segmenter; by default untrained ones")
    parser.add_argument("--images", help="images or a data set, for agreement and calibration")
    parser.add_argument("--split")
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring each")
    what = "count the processor's seconds: on a busy machine, for one thread"
    parser.add_argument("--processor-time", action="store_true", help=what)
    given = parser.parse_args()
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    print(f"{platform.machine()}, {versions}; {WIDTH}x{HEIGHT}, one image at a time\n")
    columns = " | ".join(f"images/s, {threads} threads" for threads in given.threads)
    print(f"| network | {columns} | MB | pixels equal |")
    print("|" + "---|" * (len(given.threads) + 3))
    images = read(given.images, given.split) if given.images else []
    for name, model in models(given):
        for row in rows(name, model.eval(), images, given):
            print(row, flush=True)


def models(given: argparse.Namespace) -> Iterator[tuple[str, Segmenter]]:
    if given.model is not None:
        model = Segmenter.from_pretrained(given.model, "cpu")
        yield model.config.architecture, model
        return
    for name in given.architectures:
        config = SegmenterConfig(architecture=name, pretrained=False)
        yield name, Segmenter([f"class {i}" for i in range(10)], config, long_side=WIDTH)


def read(given: str, split: str | None, most: int = 64) -> list[Tensor]:
    found = find_input([given], split=split)
    if not isinstance(found, Pictures):
        raise SystemExit("--images must be images")
    chosen = evenly_spaced(list(found.files.values()), most)
    return [at_long_side(read_image(file)[None].float() / 255, WIDTH) for file in chosen]


def rows(
    name: str, model: Segmenter, images: list[Tensor], given: argparse.Namespace
) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        graph = segmenter_graph(model)
        trials = images or [torch.rand(1, 3, HEIGHT, WIDTH)]
        variants = {"ONNX float32": graph, "ONNX int8, dynamic": quantised(graph, [])}
        variants["ONNX int8, static"] = quantised(graph, trials)
        size = sum(tensor.numel() * 4 for tensor in model.state_dict().values()) / 1e6
        yield row(f"{name}, PyTorch", lambda _: inference(model), size, "", given)
        for kind, each in variants.items():
            file = Path(folder) / "model.onnx"
            file.write_bytes(each.SerializeToString())
            equal = f"{100 * compare(model, onnx_function(file), images).equal:.2f} %"
            yield row(
                f"{name}, {kind}", lambda threads, at=file: onnx_function(at, threads),
                file.stat().st_size / 1e6, equal if images else "", given,
            )  # fmt: skip


def inference(model: Segmenter) -> Compute:
    def computed(image: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(image)

    return computed


def row(
    name: str,
    made: Callable[[int], Compute],
    size: float,
    equal: str,
    given: argparse.Namespace,
) -> str:
    image, rates = torch.rand(1, 3, HEIGHT, WIDTH), []
    for threads in given.threads:
        torch.set_num_threads(threads)
        compute = made(threads)
        clock = time.process_time if given.processor_time else time.perf_counter
        seconds = seconds_a_call(lambda run=compute: run(image), given.seconds, clock=clock)
        rates.append(f"{1 / seconds:.1f}")
    return f"| {name} | {' | '.join(rates)} | {size:.1f} | {equal} |"


if __name__ == "__main__":
    main()
