import pytest
import torch

from dealseg.data.erasing import ERASE_DRAWS, erased

SIZE = (160, 200)


def numbers(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(ERASE_DRAWS, generator=generator, dtype=torch.float64).tolist()


def plain(size=SIZE):
    """Return a picture of a colour that no noise has in all its channels at once for long."""
    return torch.full((3, *size), 7, dtype=torch.uint8)


def some_erased(seed, probability=1.0, image=None):
    image = plain() if image is None else image
    return erased(image, probability, numbers(seed), torch.Generator().manual_seed(seed))


def rectangle(result):
    """Return top, left, height and width of what changed."""
    changed = (result != 7).any(0)
    rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
    top, left = int(rows.min()), int(columns.min())
    return top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1


def timm_rectangles(count):
    """Return the rectangles of timm's own random erasing."""
    import random

    from timm.data.random_erasing import RandomErasing

    random.seed(0)
    erase, found = RandomErasing(1.0, mode="const", device="cpu"), []
    for _ in range(count):
        image = torch.full((3, *SIZE), 7.0)
        found.append(rectangle(erase(image)))
    return found


def test_rectangles_have_timm_s_places_areas_and_shapes():
    ours = [rectangle(some_erased(seed)) for seed in range(600)]
    theirs = timm_rectangles(600)
    for figure in (
        lambda r: r[2] * r[3],
        lambda r: r[2] / (r[2] + r[3]),
        lambda r: r[0] / (SIZE[0] - r[2]),
        lambda r: r[1] / (SIZE[1] - r[3]),
    ):
        a, b = sorted(map(figure, ours)), sorted(map(figure, theirs))
        assert max(abs(x - y) for x, y in zip(a, b, strict=True)) < 0.12 * (b[-1] - b[0])


def test_a_quarter_of_the_images_is_erased_if_so_asked():
    count = sum(bool((some_erased(seed, 0.25) != 7).any()) for seed in range(600))
    assert count / 600 == pytest.approx(0.25, abs=0.05)


def test_outside_the_rectangle_nothing_changes_and_the_given_image_never_does():
    image = plain()
    result = some_erased(3, image=image)
    top, left, height, width = rectangle(result)
    result[:, top : top + height, left : left + width] = 7
    assert torch.equal(result, image)
    assert (image == 7).all()


def test_noise_is_standard_normal_once_normalised_but_for_black_and_white():
    draws = numbers(0)
    draws[0], draws[3:5] = 0.0, [0.999, 0.5]
    result = erased(plain((900, 900)), 1.0, draws, torch.Generator().manual_seed(1))
    top, left, height, width = rectangle(result)
    noise = result[:, top : top + height, left : left + width].flatten(1).double() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()
    low, high = (0 - mean) / std, (1 - mean) / std
    reference = torch.randn(200_000, generator=torch.Generator().manual_seed(2)).double()
    for channel in range(3):
        found = (noise[channel] - mean[channel]) / std[channel]
        expected = reference.clamp(low[channel], high[channel])
        assert found.mean().item() == pytest.approx(expected.mean().item(), abs=0.01)
        assert found.std().item() == pytest.approx(expected.std().item(), abs=0.01)
    assert torch.corrcoef(noise).triu(1).abs().max() < 0.02


def test_a_picture_without_room_is_left_as_it_is():
    image = plain((1, 1))
    assert torch.equal(some_erased(0, image=image), image)


def test_the_same_numbers_give_the_same_noise():
    assert torch.equal(some_erased(5), some_erased(5))
    assert not torch.equal(some_erased(5), some_erased(6))
