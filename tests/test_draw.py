import numpy as np
import pytest

from dealseg.data.palette import colour_of
from dealseg.draw import outlined, overlay


@pytest.fixture
def picture():
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    mask = generator.choice(np.array([0, 1, 2, 255], dtype=np.uint8), (7, 9))
    return image, mask


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_each_pixel_of_a_class_is_mixed_with_its_colour_and_background_stays(picture, alpha):
    image, mask = picture
    painted = overlay(image, mask, alpha=alpha, outline=False)
    for row, column in np.ndindex(mask.shape):
        own = image[row, column].astype(float)
        value = int(mask[row, column])
        share = alpha if value else 0.0
        expected = own * (1 - share) + np.array(colour_of(value)) * share
        assert np.abs(painted[row, column] - expected).max() <= 0.5


def test_the_image_given_is_not_changed(picture):
    image, mask = picture
    before = image.copy()
    overlay(image, mask)
    assert np.array_equal(image, before)


def test_borders_are_white_and_lie_where_a_right_or_lower_neighbour_differs(picture):
    image, mask = picture
    edge = outlined(mask)
    for row, column in np.ndindex(mask.shape):
        beyond = [mask[r, c] for r, c in ((row + 1, column), (row, column + 1)) if r < 7 and c < 9]
        assert edge[row, column] == any(value != mask[row, column] for value in beyond)
    painted = overlay(image, mask, alpha=0.5)
    assert (painted[edge] == 255).all()
    plain = overlay(image, mask, alpha=0.5, outline=False)
    assert np.array_equal(painted[~edge], plain[~edge])


def test_an_opacity_out_of_range_is_refused(picture):
    with pytest.raises(ValueError, match=r"alpha must be from 0 to 1, got 1\.5"):
        overlay(*picture, alpha=1.5)
