"""CAM networks whose every number is known, and runs that hold them."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from dealseg.config import DataConfig, ModelConfig, TrainConfig
from dealseg.models import CamModel, CamOutput, Run, create
from dealseg.models.base import CamFacts
from dealseg.models.runs import RunFacts, load_run, save_weights, write_config


class ColourCam(CamModel):
    """Each class answers to a colour, at one cell for 4x4 pixels; symmetric under mirroring."""

    default_backbone = "none"
    cams: ClassVar = {"cam": CamFacts("everything")}
    label_cam = "cam"
    attach: ClassVar = {"deal": "cam", "isl": "cam", "fsl": "cam"}
    score_logits = ("cam",)
    isl_mixes = ("class_cam", 1.0)

    def __init__(self, classes=3, seed=0):
        super().__init__(classes, ModelConfig(), generator=torch.Generator().manual_seed(seed))
        self.calls = 0

    def build(self, classes, config):
        self.mix = nn.Conv2d(3, classes, 1)
        with torch.no_grad():
            self.mix.weight.normal_()
            self.mix.bias.normal_(std=0.1)

    def encode(self, image):
        self.calls += 1
        cells = [-(-side // 4) for side in image.shape[-2:]]
        return {"x": adaptive_avg_pool2d(image, cells)}

    def decode(self, features, size):
        cam = self.mix(features["x"])
        return CamOutput({"cam": cam.mean((-2, -1))}, {"cam": cam})

    def head_parameters(self):
        return list(self.mix.parameters())


def fake_run(
    classes=("cup", "plate"), long_side=48, path="runs/fake", seed=0, sha="ab" * 32
) -> Run:
    """Return a run around a ColourCam; nothing is on disk."""
    config = TrainConfig(data=DataConfig(long_side=long_side))
    facts = RunFacts(tuple(classes), "data", "metric")
    return Run(Path(path), config, facts, ColourCam(len(classes), seed).eval(), sha)


def write_run(folder: Path, classes=("cup", "plate"), long_side=48, seed=0) -> Run:
    """Write a run folder of a tiny untrained network and load it."""
    model = ModelConfig(backbone="test_resnet", pretrained=False)
    config = TrainConfig(data=DataConfig(long_side=long_side), model=model)
    folder.mkdir(parents=True)
    write_config(folder, config, RunFacts(tuple(classes), "data", "metric"))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = create("cam", classes=len(classes), generator=generator, **vars(model))
    _spread(network.eval(), generator)
    save_weights(folder, network)
    return load_run(folder)


@torch.no_grad()
def _spread(network: CamModel, generator: torch.Generator) -> None:
    """Scale the classifier so that CAMs of noise are centred at 0: masks with parts and edges."""
    weight, bias = network.head_parameters()
    cams = network(torch.rand(1, 3, 48, 64, generator=generator)).cams["cam"]
    spread = cams.std((0, 2, 3))
    weight /= spread[:, None, None, None]
    bias.copy_(-cams.mean((0, 2, 3)) / spread)
