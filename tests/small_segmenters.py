"""Tiny segmenters whose masks have many parts, and pictures for them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dealseg.config.segmenter import SegmenterConfig
from dealseg.models.segmenter import Segmenter


def write_segmenter(folder: Path, classes=("cup", "plate"), long_side=64, **options) -> Segmenter:
    """Write an untrained segmenter whose classes are spread over any picture."""
    config = SegmenterConfig(backbone="test_efficientnet", pretrained=False, width=32, **options)
    model = Segmenter(classes, config, long_side=long_side).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.head_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3, generator=generator)
        model.cpu()
        logits = model(torch.rand(2, 3, 64, 64, generator=generator))
        last = model.head_parameters()[-1]
        last -= logits.mean((0, 2, 3))
    model.save_pretrained(folder)
    return Segmenter.from_pretrained(folder, "cpu")


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return smooth coloured noise."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def save_picture(path: Path, pixels: np.ndarray, **options) -> Path:
    """Write a picture; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask)
