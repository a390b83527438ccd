"""From a trained run and images to masks: multi-scale, streaming, resumable."""

from dealseg.data.palette import colour_of, palette
from dealseg.labeling.automatic import with_threshold
from dealseg.labeling.claiming import claim
from dealseg.labeling.mask_files import mask_path, write_mask
from dealseg.labeling.options import (
    DEFAULT_THRESHOLD,
    LabelOptions,
    label_options,
    threshold_origin,
)
from dealseg.labeling.scoring import (
    ClassMaps,
    ImageScores,
    class_maps,
    score_dataset,
    score_image,
)
from dealseg.labeling.writing import LabelResult, label_dataset

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
    "with_threshold",
    "write_mask",
]
