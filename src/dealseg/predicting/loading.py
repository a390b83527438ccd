"""What to predict with: a segmenter, its ONNX export, or a first-stage run."""

import hashlib
from pathlib import Path

import torch

from dealseg.errors import CheckpointError, ConfigError
from dealseg.labeling import label_options, threshold_origin
from dealseg.models import load_run
from dealseg.models.onnx_network import open_onnx
from dealseg.models.placing import device_of
from dealseg.models.runs import CONFIG_FILE
from dealseg.models.segmenter import TENSORS_FILE, Segmenter, is_segmenter
from dealseg.predicting.options import PredictOptions
from dealseg.predicting.predictors import PixelPredictor, Predictor, RunPredictor


def load_predictor(model: Path, options: PredictOptions | None = None) -> Predictor:
    """Load a network for prediction.

    Args:
        model: folder of a segmenter or of a first-stage run, or a `.onnx` file.
        options: how it is to look at images.

    Raises:
        CheckpointError: if it is none of these, or unfinished.
        ConfigError: for options that cannot work with it.
    """
    options = options or PredictOptions()
    device = device_of(options.device)
    if model.suffix.lower() == ".onnx":
        return _onnx(model, options)
    if is_segmenter(model):
        return _segmenter(model, device, options)
    if (model / CONFIG_FILE).is_file():
        return _first_stage(model, device, options)
    found = "no such file or folder" if not model.exists() else "not a model"
    raise CheckpointError(
        f"{model}: {found}; give the folder of dealseg train-segmenter or dealseg train, or an "
        "exported .onnx file"
    )


def _segmenter(folder: Path, device: torch.device, options: PredictOptions) -> PixelPredictor:
    network = Segmenter.from_pretrained(folder, device)
    source = _source(folder, folder / TENSORS_FILE)
    return PixelPredictor(network, network.classes, network.long_side, source, device, options)


def _onnx(file: Path, options: PredictOptions) -> PixelPredictor:
    if options.precision not in ("auto", "32-true"):
        raise ConfigError(
            f"precision {options.precision} is PyTorch's; an ONNX file has its own: export with "
            "--int8 for a smaller one"
        )
    network = open_onnx(file, gpu=options.device == "gpu")
    place = torch.device("cpu")
    return PixelPredictor(
        network, network.classes, network.long_side, _source(file, file), place, options, half=False
    )


def _first_stage(folder: Path, device: torch.device, options: PredictOptions) -> RunPredictor:
    if options.window is not None:
        raise ConfigError(f"window is for segmenters; {folder} is a first-stage run")
    if options.precision not in ("auto", "32-true"):
        raise ConfigError(f"precision is for segmenters; {folder} is a first-stage run")
    run = load_run(folder, device)
    label = label_options(run.config, tags="predicted", refine=options.refine)
    long_side = options.long_side or label.long_side or run.config.data.long_side
    origin = "method" if label.auto_threshold else threshold_origin(run.config, None)
    return RunPredictor(run, label, origin, long_side)


def _source(path: Path, weights: Path) -> dict[str, str]:
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    return {"run": str(path.resolve()), "weights_sha256": checksum}
