"""Multi-scale flip inference of one image, one step after the other."""

import torch
from torch.nn.functional import interpolate


def grid_of(height, width, long_side):
    factor = long_side / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def summed(model, image, long_side, scales, flip):
    """Return the CAMs summed on the training grid, and the mean logits."""
    grid = grid_of(*image.shape[-2:], long_side)
    total, logits = 0, []
    for scale in scales:
        for mirrored in [False, True] if flip else [False]:
            target = [max(32, round(side * scale)) for side in grid]
            view = interpolate(image[None] / 255, target, mode="bilinear", antialias=True)
            output = model(torch.flip(view, [3]) if mirrored else view)
            cams = torch.relu(output.cams[model.label_cam])
            if mirrored:
                cams = torch.flip(cams, [3])
            total = total + interpolate(cams, grid, mode="bilinear")
            logits += [output.logits["cam"][0]]
    return total[0], sum(logits) / len(logits)


def scores(model, image, tags, long_side, scales, flip):
    """Return for each class its scores at the image's size; absent classes are all zero."""
    total, _ = summed(model, image, long_side, scales, flip)
    result = torch.zeros(len(tags), *image.shape[-2:])
    for k, tag in enumerate(tags.tolist()):
        peak = total[k].max()
        if tag and peak > 0:
            result[k] = interpolate(
                (total[k] / peak)[None, None], result.shape[1:], mode="bilinear"
            )
    return result
