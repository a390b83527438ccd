"""Run folders and data sets small enough to report on in no time."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from dealseg.config import DataConfig, DealConfig, ModelConfig, TrainConfig
from dealseg.evaluation import EvaluationResult, ScoredImage, evaluate
from dealseg.models import create
from dealseg.models.runs import RunFacts, save_weights, write_config
from fakes import MemoryDataset

CLASSES = ("cup", "box", "ball")
TINY = ModelConfig(backbone="test_resnet", output_stride=32, pretrained=False)
METRICS = """epoch,loss/class_cam,loss/total,deal/alignment,deal/cam_share,deal/depth_share,lr
0,0.7,0.6,0.1,0.12,0.08,0.001
1,0.5,,0.3,0.14,0.08,0.001
"""


class Pictures(MemoryDataset):
    """Images with a gradient, and depth with a step and a hole."""

    def image(self, index):
        height, width = self.masks[index].shape
        ramp = torch.linspace(0, 255, width).repeat(3, height, 1)
        return ramp.to(torch.uint8)

    def depth(self, index):
        depth = torch.ones(1, *self.masks[index].shape)
        depth[:, :, depth.shape[-1] // 2 :] = 2.0
        depth[:, :4, :4] = 0.0
        return depth, depth > 0


def pictures(images=5, size=32):
    masks = [torch.zeros(size, size, dtype=torch.uint8) for _ in range(images)]
    for index, mask in enumerate(masks):
        mask[8:24, 8:24] = 1 + index % 3
        mask[:2] = 255
    return Pictures(masks, classes=CLASSES)


def config(losses="none", method="cam", backbone=TINY.backbone, **deal):
    model = replace(TINY, backbone=backbone)
    data, deal = DataConfig(long_side=32), DealConfig(**deal)
    return TrainConfig(method=method, losses=losses, model=model, data=data, deal=deal)


def make_run(
    path: Path, losses="none", *, evaluation=None, metrics=METRICS, weights=False, **more
) -> Path:
    path.mkdir(parents=True)
    write_config(path, config(losses, **more), RunFacts(CLASSES, "data/table", "metric"))
    if metrics:
        (path / "metrics.csv").write_text(metrics)
    if evaluation is not None:
        (path / "evaluation.json").write_text(json.dumps(evaluation))
    if weights:
        generator = torch.Generator().manual_seed(0)
        model = create("cam", classes=3, generator=generator, **vars(TINY))
        save_weights(path, model)
    (path / "environment.json").write_text(json.dumps({"seed": 0, "versions": {"torch": "2"}}))
    return path


def level(miou, threshold=0.4, **more):
    """What `evaluation.json` holds for one threshold."""
    return {
        "mean_iou": miou,
        "threshold": threshold,
        "threshold_origin": "default",
        "iou": [0.9, miou, None, 0.1],
        "mean_boundary_iou": 0.25,
        "mean_contour_f": None,
        **more,
    }


def evaluation(miou, oracle=None, *, names=("background", *CLASSES), **more):
    return {
        "dataset": "data/table",
        "split": "val",
        "images": 24,
        "images_missing": 0,
        "class_map": {str(value): name for value, name in enumerate(names)},
        "fixed": level(miou),
        "oracle": None if oracle is None else level(oracle, 0.2),
        "thresholds": [0.0, 0.5, 1.0],
        "curve": [0.1, miou, None],
        "tags": {"mean_average_precision": 0.8},
        **more,
    }


def real_evaluation(protocol="full") -> EvaluationResult:
    dataset = pictures()
    scored = []
    for index, mask in enumerate(dataset.masks):
        winner = mask.clone()
        winner[(mask == 0) | (mask == 255)] = 1
        score = torch.rand(mask.shape, generator=torch.Generator().manual_seed(index))
        scored.append(ScoredImage(dataset.names[index], winner, score))
    chosen = {"threshold": 0.3, "threshold_origin": "default", "protocol": protocol}
    return evaluate(scored, dataset, split="val", **chosen)
