"""The pixel correlation module: equal to the formula in value and gradient, without its matrix."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dealseg.models.pcm import correlate, refine, winning_cam
from oracles import seam as oracle

BLOCKS = [None, 1, 3, 4, 8, 11, 12, 100]


def inputs(cells=12, maps=4, depth=5, batch=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, maps, cells, generator=generator, dtype=dtype)
    features = torch.randn(batch, depth, cells, generator=generator, dtype=dtype)
    return values, features


def raw_cam(batch=2, channels=8, height=3, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that a result of any operation had."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.numel())
        return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_size_equals_the_loop_over_pairs_of_cells(block, seed):
    maps, features = inputs(seed=seed)
    expected = [
        oracle.correlate(*each) for each in zip(maps.tolist(), features.tolist(), strict=True)
    ]
    result = correlate(maps, features, block=block)
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_the_normalised_cam_equals_the_loop_over_cells(seed):
    cam = raw_cam(seed=seed) - (seed == 4) * 2
    expected = torch.tensor([oracle.winning_cam(each) for each in cam.tolist()])
    torch.testing.assert_close(winning_cam(cam), expected.double())


def test_equal_winners_both_stay_and_where_no_class_is_positive_there_is_only_background():
    cam = torch.zeros(1, 3, 1, 2)
    cam[0, 1:, 0] = torch.tensor([[3.0, -1.0], [3.0, -2.0]])
    result = winning_cam(cam)
    torch.testing.assert_close(result[0, :, 0, 0], torch.tensor([0.0, 1.0, 1.0]), atol=1e-5, rtol=0)
    assert result[0, :, 0, 1].tolist() == [1, 0, 0]


def test_the_raw_background_channel_is_not_read():
    cam = raw_cam()
    other = cam.clone()
    other[:, 0] = 100
    assert torch.equal(winning_cam(cam), winning_cam(other))


@pytest.mark.parametrize("block", [1, 5, None])
def test_the_gradient_is_right(block):
    maps, features = (each.requires_grad_() for each in inputs(cells=7, maps=2, depth=3))
    assert torch.autograd.gradcheck(lambda *each: correlate(*each, block=block), (maps, features))


@pytest.mark.parametrize("block", BLOCKS)
def test_the_gradient_equals_that_of_the_whole_matrix(block):
    results = []
    for form in (oracle.dense, lambda *each: correlate(*each, block=block)):
        maps, features = (each.requires_grad_() for each in inputs(seed=3))
        weights = torch.randn(maps.shape, generator=torch.Generator().manual_seed(9)).double()
        (form(maps, features) * weights).sum().backward()
        results.append((maps.grad, features.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_cell_without_features_has_no_mean_and_no_nan_gradient():
    maps, features = inputs()
    features[:, :, 4] = 0
    features.requires_grad_()
    result = correlate(maps, features)
    result.sum().backward()
    assert torch.equal(result[:, :, 4], torch.zeros(2, 4))
    assert features.grad.isfinite().all()


def test_cells_that_are_unlike_all_others_keep_their_value_and_like_ones_share_theirs():
    features = torch.eye(3, dtype=torch.float64)[:, [0, 1, 1, 2]][None]
    result = correlate(torch.tensor([[[8.0, 2.0, 4.0, -6.0]]]).double(), features)
    torch.testing.assert_close(
        result, torch.tensor([[[8.0, 3, 3, -6]]]).double(), rtol=1e-4, atol=0
    )


def test_results_are_means_of_the_map():
    maps, features = inputs()
    result = correlate(maps, features)
    assert (result <= maps.amax(dim=2, keepdim=True)).all()
    assert (result >= (1 - 1e-4) * maps.amin(dim=2, keepdim=True)).all()
    constant = correlate(torch.ones_like(maps), features)
    torch.testing.assert_close(constant, torch.ones_like(maps), atol=1e-4, rtol=0)


def test_the_length_of_features_does_not_count():
    maps, features = inputs()
    longer = correlate(maps, 50 * features)
    torch.testing.assert_close(longer, correlate(maps, features), atol=1e-4, rtol=0)


def test_images_are_refined_alone():
    maps, features = inputs(batch=3)
    together = correlate(maps, features)
    for index in range(3):
        alone = correlate(maps[index : index + 1], features[index : index + 1])
        torch.testing.assert_close(alone[0], together[index])


def test_neither_pass_holds_a_matrix_of_all_pairs():
    """What is largest shrinks with the block; with one block it is the matrix."""
    sizes = {}
    for block in (16, 100):
        maps, features = (each.requires_grad_() for each in inputs(cells=100, batch=1))
        with LargestTensor() as largest:
            correlate(maps, features, block=block).sum().backward()
        sizes[block] = largest.elements
    assert sizes == {16: 100 * 16, 100: 100 * 100}


def test_many_cells_are_done_in_blocks_without_being_asked():
    maps, features = inputs(cells=2500, maps=1, depth=2, batch=1, dtype=torch.float32)
    with LargestTensor() as largest:
        correlate(maps, features)
    assert largest.elements <= 2**21 < 2500**2


def test_autocast_and_half_precision_change_no_sum():
    maps, features = inputs(dtype=torch.float32)
    expected = correlate(maps, features)
    gradients = []
    for enabled in (False, True):
        tracked = features.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = correlate(maps, tracked, block=5)
            result.square().sum().backward()
        torch.testing.assert_close(result.detach(), expected)
        gradients.append(tracked.grad)
    torch.testing.assert_close(*gradients)
    halved = correlate(maps, features.bfloat16())
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, correlate(maps, features.bfloat16().float()))


def test_refining_a_cam_is_the_correlation_of_its_winners_and_trains_features_alone():
    cam = raw_cam().requires_grad_()
    features = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(1)).double()
    features.requires_grad_()
    result = refine(cam, features)
    result.square().sum().backward()
    assert cam.grad is None
    assert features.grad.abs().sum() > 0
    for index in range(2):
        flat = [
            [v for row in rows for v in row] for rows in oracle.winning_cam(cam[index].tolist())
        ]
        expected = oracle.correlate(flat, features[index].flatten(1).tolist())
        torch.testing.assert_close(result[index].flatten(1).tolist(), expected)


@pytest.mark.parametrize("block", [0, -3])
def test_a_block_without_cells_is_refused(block):
    with pytest.raises(ValueError, match=f"block must be >= 1 cell, got {block}"):
        correlate(*inputs(), block=block)
