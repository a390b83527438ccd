"""Pictures, probabilities and depth for the tests of refinement."""

import torch


def scene(seed=0, size=(7, 9), classes=3, batch=2, dtype=torch.float64):
    """Return probabilities, image, depth and validity: blocky, noisy, with some holes."""
    generator = torch.Generator().manual_seed(seed)

    def noise(channels):
        return torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)

    def blocks(channels):
        coarse = torch.rand(batch, channels, 2, 3, generator=generator, dtype=torch.float64)
        return torch.nn.functional.interpolate(coarse, size)

    probabilities = 0.1 + noise(classes)
    image = (blocks(3) + 0.05 * noise(3)) / 1.05
    depth = 1 + 3 * blocks(1) + 0.1 * noise(1)
    valid = noise(1) > 0.25
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    return probabilities.to(dtype), image.to(dtype), depth.to(dtype), valid


def step(size=(24, 32), edge=18, guess=14, low=0.3, high=0.7):
    """Return probabilities whose outline is at `guess`, and a map with a step at `edge`.

    The outline is soft, as a CAM's is: it crosses 1/2 at `guess`.
    """
    columns = torch.arange(size[1], dtype=torch.float64)
    foreground = (1 / (1 + torch.exp((columns - guess + 0.5) / 3))).expand(1, 1, *size)
    stepped = torch.where(columns < edge, low, high).expand(1, 1, *size).clone()
    return torch.cat([1 - foreground, foreground], dim=1), stepped


def outline(probabilities):
    """Return in every row the number of pixels that are foreground."""
    return (probabilities.argmax(1)[0] == 1).sum(dim=1)
