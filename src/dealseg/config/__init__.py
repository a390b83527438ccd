"""Every option of a training, one frozen dataclass a component. No torch in here.

The docstrings of the attributes are the command's help texts.
"""

from dealseg.config.data import AugmentConfig, DataConfig
from dealseg.config.label import LabelConfig
from dealseg.config.losses import DealConfig, FslConfig, IslConfig
from dealseg.config.model import ModelConfig
from dealseg.config.optim import OptimConfig
from dealseg.config.segmenter import SegmenterConfig
from dealseg.config.segmenter_training import (
    SegmenterDataConfig,
    SegmenterLossConfig,
    SegmenterTrainConfig,
)
from dealseg.config.training import TrainConfig

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "DealConfig",
    "FslConfig",
    "IslConfig",
    "LabelConfig",
    "ModelConfig",
    "OptimConfig",
    "SegmenterConfig",
    "SegmenterDataConfig",
    "SegmenterLossConfig",
    "SegmenterTrainConfig",
    "TrainConfig",
]
