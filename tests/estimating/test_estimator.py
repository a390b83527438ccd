"""What a network says here is what transformers' own pipeline has it say."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import NETWORKS, transformers

from dealseg.estimating import load_estimator


def picture(height, width, seed=0):
    """Return noise with a bright box, so that maps have edges."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] += 120
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def estimate(estimator, image, target=None):
    size = tuple(image.shape[-2:])
    prepared = estimator.prepared(image)
    return estimator.estimates(prepared[None], [size], [target or size])[0]


def by_the_pipeline(folder, image):
    pipeline = transformers.pipeline("depth-estimation", model=str(folder), device="cpu")
    found = pipeline(Image.fromarray(image.permute(1, 2, 0).numpy()))
    return found["predicted_depth"].reshape(image.shape[-2:])


SAME = {"relative": (42, 56), "metric": (56, 42), "dpt": (64, 64), "glpn": (64, 96)}
"""Image sizes at which neither side resizes the network's map."""


@pytest.mark.parametrize(("name", "size"), SAME.items())
def test_a_map_that_needs_no_resizing_is_the_pipeline_s(networks, name, size):
    image = picture(*size)
    found = estimate(load_estimator(str(networks(name))), image)
    assert found.std() > 0.1
    torch.testing.assert_close(found, by_the_pipeline(networks(name), image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(40, 64), (101, 67)])
def test_a_resized_map_is_like_the_pipeline_s_but_does_not_overshoot(networks, name, size):
    image, estimator = picture(*size), load_estimator(str(networks(name)))
    found, expected = estimate(estimator, image), by_the_pipeline(networks(name), image)
    assert found.shape == expected.shape == size
    apart = (found - expected).abs().mean() / expected.std()
    assert apart < {"zoedepth": 0.02, "depth_pro": 1e-4}.get(name, 0.25)
    if name == "depth_pro":  # works in inverse depth: its metres are those of the pipeline
        return
    with torch.no_grad():
        raw = estimator.network(estimator.prepared(image)[None]).predicted_depth
    assert raw.min() - 1e-4 <= found.min()
    assert found.max() <= raw.max() + 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_s_map_does_not_depend_on_the_batch(networks, name):
    estimator = load_estimator(str(networks(name)))
    images = [picture(64, 96, seed) for seed in range(3)]
    prepared = torch.stack([estimator.prepared(image) for image in images])
    sizes = [(64, 96), (32, 48), (80, 120)]
    together = estimator.estimates(prepared, [(64, 96)] * 3, sizes)
    for image, size, found in zip(images, sizes, together, strict=True):
        alone = estimate(estimator, image, size)
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)
        assert found.shape == size


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_is_close_and_makes_no_steps(networks, name):
    image = picture(64, 96)
    exact = estimate(load_estimator(str(networks(name))), image)
    half = estimate(load_estimator(str(networks(name)), precision="bf16-mixed"), image)
    assert half.dtype == torch.float32
    assert not torch.equal(half, exact)
    assert (half - exact).abs().mean() < 0.06 * (exact.max() - exact.min())
    assert half.unique().numel() > 0.9 * exact.unique().numel()


def test_without_exact_heads_half_precision_would_make_steps(networks):
    """Shows that the test above can fail."""
    estimator = load_estimator(str(networks("dpt")), precision="bf16-mixed")
    estimator.network.head.forward = type(estimator.network.head).forward.__get__(
        estimator.network.head
    )
    exact = estimate(load_estimator(str(networks("dpt"))), picture(64, 64))
    assert estimate(estimator, picture(64, 64)).unique().numel() < 0.5 * exact.unique().numel()
