"""Random views for the tests of SEAM's losses."""

import torch


def random_tags(batch=3, classes=4, seed=0, dtype=torch.float64):
    """Tags with an image that has none, where there are three images."""
    generator = torch.Generator().manual_seed(seed)
    tags = (torch.rand(batch, classes, generator=generator) > 0.5).to(dtype)
    tags[:, 0] = 1
    tags[2:3] = 0
    return tags


def random_maps(sizes, batch=3, classes=4, seed=0, dtype=torch.float64):
    """Raw maps, background first, one tensor for each size."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, 1 + classes, *size, generator=generator, dtype=dtype) for size in sizes
    ]


def without_absent(maps, tags):
    """Each image's maps of the background and its classes, a batch of one; and its tags."""
    for image, labels in zip(maps, tags, strict=True):
        kept = torch.cat([torch.ones(1), labels]).bool()
        yield image[kept][None], labels[labels > 0][None]


def gradients(loss, maps, *rest):
    """Gradient of each of the maps, of a weighted sum over the batch; 0 where there is none."""
    maps = [each.clone().requires_grad_() for each in maps]
    values = loss(*maps, *rest)
    weights = torch.arange(1, len(values) + 1, dtype=values.dtype)
    slopes = torch.autograd.grad((values * weights).sum(), maps, allow_unused=True)
    pairs = zip(maps, slopes, strict=True)
    return [torch.zeros_like(m) if slope is None else slope for m, slope in pairs]
