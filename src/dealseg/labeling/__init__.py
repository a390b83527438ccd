"""From a trained run and images to masks: multi-scale, streaming, resumable."""

from dealseg.labeling.palette import colour_of, palette
from dealseg.labeling.scoring import (
    DEFAULT_THRESHOLD,
    ImageScores,
    LabelOptions,
    score_dataset,
    score_image,
)
from dealseg.labeling.writing import LabelResult, label_dataset, mask_path, write_mask

__all__ = [
    "DEFAULT_THRESHOLD",
    "ImageScores",
    "LabelOptions",
    "LabelResult",
    "colour_of",
    "label_dataset",
    "mask_path",
    "palette",
    "score_dataset",
    "score_image",
    "write_mask",
]
