"""Training with Lightning: the only room that knows it."""

from dealseg.training.fit import train
from dealseg.training.fit_segmenter import train_segmenter

__all__ = ["train", "train_segmenter"]
