"""Makes `crf.npz`: what pydensecrf2 1.1 (Krahenbuhl and Koltun's C++ code) gives for one scene.

`python tests/goldens/crf.py`, with this folder's parent on the path. The file holds `image`
(h, w, 3), `probabilities` (c, h, w) and, for every name in `SETTINGS`, `q_NAME` (c, h, w).
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".npz")
SETTINGS = {
    "usual": {"smooth": (3.0, 3.0), "bilateral": (10.0, 80.0, 13.0)},
    "alike": {"smooth": (0.0, 3.0), "bilateral": (4.0, 50.0, 5.0)},
}
"""Options of `mean_field`: the field's usual ones, and ours without the kernel of positions."""


def scene(height=33, width=42, classes=3, seed=0):
    """Return a picture of two noisy blocks on a slope, and probabilities blurred and moved."""
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros((height, width), int)
    labels[8:20, 5:21] = 1
    labels[14:28, 25:37] = 2
    palette = np.array([[120, 110, 90], [190, 60, 50], [60, 90, 160]])
    image = palette[labels] + 0.6 * rows[..., None] + random.normal(0, 4, (height, width, 3))
    centres = np.array([[16, 38], [11, 16], [23, 29]])[:classes]
    apart = [(rows - y) ** 2 + (columns - x) ** 2 for y, x in centres]
    weights = np.stack([np.full((height, width), 0.4), *(np.exp(-a / 90) for a in apart[1:])])
    probabilities = (weights / weights.sum(0)).astype(np.float32)
    return image.clip(0, 255).round().astype(np.uint8), probabilities


def peer(image, probabilities, smooth, bilateral, iterations=10):
    """Return what pydensecrf2 gives; a weight of 0 leaves a kernel out."""
    from pydensecrf import densecrf

    classes, height, width = probabilities.shape
    field = densecrf.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities.reshape(classes, -1))))
    if smooth[0]:
        field.addPairwiseGaussian(sxy=smooth[1], compat=smooth[0])
    if bilateral[0]:
        compat, sxy, srgb = bilateral
        field.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=image.copy(), compat=compat)
    return np.asarray(field.inference(iterations), np.float32).reshape(probabilities.shape)


def main():
    image, probabilities = scene()
    results = {f"q_{name}": peer(image, probabilities, **how) for name, how in SETTINGS.items()}
    np.savez_compressed(FILE, image=image, probabilities=probabilities, **results)


if __name__ == "__main__":
    main()
