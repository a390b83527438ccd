"""COCO's semantic mask pixel by pixel, through the COCO API's own reading of the file."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO


def semantic_mask(file: Path, image_id: int) -> np.ndarray:
    """Return for each pixel the class of its smallest object; 255 where only a crowd region is.

    Of objects of one size the earlier one in the file counts. Classes are numbered from 1 in the
    order of their ids.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
    value = {number: place for place, number in enumerate(sorted(coco.getCatIds()), start=1)}
    image = coco.loadImgs(image_id)[0]
    shown = [
        (entry["area"], place, entry)
        for place, entry in enumerate(coco.dataset["annotations"])
        if entry["image_id"] == image_id
    ]
    with warnings.catch_warnings():  # pycocotools converts its arrays as before NumPy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        painted = [
            (area, place, coco.annToMask(entry), value[entry["category_id"]], entry["iscrowd"])
            for area, place, entry in shown
        ]
    mask = np.zeros((image["height"], image["width"]), np.uint8)
    for row, column in np.ndindex(*mask.shape):
        here = [found for found in painted if found[2][row, column]]
        objects = sorted((*found[:2], found[3]) for found in here if not found[4])
        if objects:
            mask[row, column] = objects[0][2]
        elif here:
            mask[row, column] = 255
    return mask
