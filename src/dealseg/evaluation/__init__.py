"""Masks or scores against ground truth: one pass, one result."""

from dealseg.evaluation.evaluate import evaluate
from dealseg.evaluation.figures import Figures, TagFigures
from dealseg.evaluation.result import EvaluationResult
from dealseg.evaluation.sources import (
    CamFolder,
    MaskFolder,
    ScoredImage,
    SourceInfo,
    open_source,
)

__all__ = [
    "CamFolder",
    "EvaluationResult",
    "Figures",
    "MaskFolder",
    "ScoredImage",
    "SourceInfo",
    "TagFigures",
    "evaluate",
    "open_source",
]
