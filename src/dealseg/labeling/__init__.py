"""From a trained run and images to masks: multi-scale, streaming, resumable."""

from dealseg.data.palette import colour_of, palette
from dealseg.labeling.scoring import (
    DEFAULT_THRESHOLD,
    ClassMaps,
    ImageScores,
    LabelOptions,
    class_maps,
    label_options,
    score_dataset,
    score_image,
    threshold_origin,
)
from dealseg.labeling.writing import LabelResult, claim, label_dataset, mask_path, write_mask

__all__ = [
    "DEFAULT_THRESHOLD",
    "ClassMaps",
    "ImageScores",
    "LabelOptions",
    "LabelResult",
    "claim",
    "class_maps",
    "colour_of",
    "label_dataset",
    "label_options",
    "mask_path",
    "palette",
    "score_dataset",
    "score_image",
    "threshold_origin",
    "write_mask",
]
