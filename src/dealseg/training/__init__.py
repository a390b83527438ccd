"""Training with Lightning: the only room that knows it."""

from dealseg.training.fit import train

__all__ = ["train"]
