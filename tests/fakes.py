"""A data set that lives in memory."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dealseg.data.base import DepthInfo


@dataclass
class MemoryDataset:
    """Ground truth given as a list; images are black and there is no depth."""

    masks: list[Tensor | None]
    classes: tuple[str, ...] = ("cup", "box", "ball")
    names: tuple[str, ...] = ()
    tag_rows: list[Tensor | None] | None = None
    root: Path = Path("memory")
    depth_info: DepthInfo = field(default_factory=DepthInfo)

    def __post_init__(self):
        self.names = self.names or tuple(f"{index:06d}" for index in range(len(self.masks)))

    def __len__(self):
        return len(self.masks)

    def image_path(self, index):
        return self.root / f"{self.names[index]}.png"

    def image(self, index):
        mask = self.masks[index]
        return torch.zeros(3, *(mask.shape if mask is not None else (4, 4)), dtype=torch.uint8)

    def tags(self, index):
        if self.tag_rows is not None:
            return self.tag_rows[index]
        mask = self.masks[index]
        if mask is None:
            return None
        return torch.tensor([float((mask == k + 1).any()) for k in range(len(self.classes))])

    def depth(self, index):
        return None

    def mask(self, index):
        return self.masks[index]
