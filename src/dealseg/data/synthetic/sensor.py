"""What a structured-light or stereo depth camera makes of an exact depth map.

Lengths in metres, disparities in pixels of the sensor's own focal length. The defaults are those of
the first Kinect: Khoshelham and Elberink 2012 (Sensors 12(2), "Accuracy and resolution of Kinect
depth data") measured 1 / (focal * baseline) = 2.85e-5 per cm for one disparity step of 1/8 pixel.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Map = Float[np.ndarray, "h w"]
Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class DepthSensor:
    """The sensor's figures.

    Attributes:
        focal: of the sensor, in its own pixels.
        baseline: between its two views, metres; the second view lies to the right (+x).
        step: smallest disparity it tells apart, pixels.
        jitter: deviation of a disparity, pixels.
        near: metres below which it measures nothing.
        far: metres above which it measures nothing.
        dark: luminance below which the returned light fails it.
        grazing: degrees between normal and view from which it begins to fail; it fails for good
            halfway from there to 90 degrees.
        lateral: deviation, in image pixels, of the place where a depth is read.
    """

    focal: float = 580.0
    baseline: float = 0.075
    step: float = 1 / 8
    jitter: float = 1 / 16
    near: float = 0.25
    far: float = 6.0
    dark: float = 0.025
    grazing: float = 74.0
    lateral: float = 0.35


def measure(
    depth: Map,
    facing: Map,
    brightness: Map,
    focal: float,
    sensor: DepthSensor,
    rng: np.random.Generator,
) -> Map:
    """Return the depth that the sensor reports, 0 where it measured nothing.

    In this order: edges frayed, noise, quantisation, holes. Holes of dark and grazing surfaces
    come in
    patches: a smooth random field is compared with the chance of a hole, since block matching
        fails by
    neighbourhoods.

    Args:
        depth: exact, along the optical axis; inf where there is nothing.
        facing: cosine between normal and view.
        brightness: luminance of the picture, linear.
        focal: of the picture in its pixels, which scales the stereo shadow.
        sensor: its figures.
        rng: the only source of chance.
    """
    holes = stereo_shadow(depth, focal * sensor.baseline)
    holes |= hole_chance(facing, brightness, sensor) > patchy(rng, depth.shape)
    frayed = fray(depth, sensor.lateral, rng)
    noisy = frayed + deviation(frayed, facing, sensor) * _correlated(rng, depth.shape)
    seen = quantise(noisy, sensor)
    return np.where(holes | ~((seen >= sensor.near) & (seen <= sensor.far)), 0.0, seen)


def deviation(depth: Map, facing: Map, sensor: DepthSensor) -> Map:
    r"""Return the deviation of the depth noise, metres.

    $$ \sigma = \frac{z^2}{f b} \sigma_d + \frac{10^{-4}}{\sqrt z} \frac{\theta^2}{(\pi/2 -
    \theta)^2} $$

    Source: the first term is the error propagation of triangulation (Khoshelham and Elberink 2012,
    eq. 8); the second the growth at grazing angles from Nguyen, Izadi and Lovell 2012 (3DIMPVT,
    "Modeling Kinect sensor noise"), of its axial noise for theta > 60 degrees. Departure: the
    second term is held at its value at 85 degrees, beyond which it has no bound.
    """
    z = np.where(np.isfinite(depth), depth, 0.0)
    theta = np.minimum(np.arccos(np.clip(facing, 0.0, 1.0)), np.deg2rad(85.0))
    steep = np.where(theta > np.pi / 3, theta**2 / (np.pi / 2 - theta) ** 2, 0.0)
    stereo = z**2 / (sensor.focal * sensor.baseline) * sensor.jitter
    return np.asarray(stereo + 1e-4 / np.sqrt(np.maximum(z, 0.1)) * steep)


def quantise(depth: Map, sensor: DepthSensor) -> Map:
    """Return the depth of the nearest whole number of disparity steps.

    Neighbouring values differ by about z^2 step / (focal baseline) (Khoshelham and Elberink 2012,
    on depth resolution).
    """
    scale = sensor.focal * sensor.baseline / sensor.step
    steps = np.rint(scale / np.maximum(depth, 1e-3))
    return np.asarray(scale / np.maximum(steps, 1e-9))


def stereo_shadow(depth: Map, reach: float) -> Mask:
    """Return the pixels that the second view cannot see.

    Pixel x has the disparity reach / z, and lies at x - disparity in the second view. It is hidden
    there when some pixel to its right comes to lie at or left of the same place: so the shadow is
    a strip on the left of a near thing, reach (1 / z_near - 1 / z_far) pixels wide.

    Args:
        depth: exact, metres; inf where there is nothing.
        reach: focal length of the picture in pixels times the baseline in metres.
    """
    place = np.arange(depth.shape[1]) - reach / np.maximum(depth, 1e-3)
    leftmost = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    hidden = np.zeros(depth.shape, dtype=bool)
    hidden[:, :-1] = leftmost[:, 1:] <= place[:, :-1]
    return hidden


def hole_chance(facing: Map, brightness: Map, sensor: DepthSensor) -> Map:
    """Return the chance of a hole on surfaces that are dark or seen at a grazing angle.

    Our choice of ramps: 0 at the sensor's limit, 1 at half the dark limit or halfway to 90
    degrees. That Kinect loses such surfaces is reported by Nguyen et al. 2012 and by Mallick, Das
    and Majumdar 2014 (IEEE Sensors Journal, "Characterizations of noise in Kinect depth images"),
    without a formula.
    """
    angle = np.rad2deg(np.arccos(np.clip(facing, 0.0, 1.0)))
    steep = np.clip((angle - sensor.grazing) / (0.5 * (90.0 - sensor.grazing)), 0.0, 1.0)
    dim = np.clip((sensor.dark - brightness) / (0.5 * sensor.dark), 0.0, 1.0)
    return np.asarray(1.0 - (1.0 - steep) * (1.0 - dim))


def patchy(rng: np.random.Generator, shape: tuple[int, ...]) -> Map:
    """Return a smooth random field whose values are spread evenly over (0, 1)."""
    field = _smooth(_smooth(rng.standard_normal(shape)))
    order = np.argsort(field, axis=None, kind="stable")
    even = np.empty(field.size)
    even[order] = (np.arange(field.size) + 0.5) / field.size
    return even.reshape(shape)


def fray(depth: Map, lateral: float, rng: np.random.Generator) -> Map:
    """Return the depth read beside each pixel, off by normal deviates of `lateral` pixels, rounded.

    Source: Barron and Malik 2013 (CVPR, "Intrinsic scene properties from a single RGB-D image"),
    as used by Handa et al. 2014 (ICRA, the ICL-NUIM sets).
    """
    y, x = np.indices(depth.shape)
    dy, dx = np.rint(lateral * rng.standard_normal((2, *depth.shape))).astype(int)
    return np.asarray(
        depth[np.clip(y + dy, 0, depth.shape[0] - 1), np.clip(x + dx, 0, depth.shape[1] - 1)]
    )


def _correlated(rng: np.random.Generator, shape: tuple[int, ...]) -> Map:
    """Return normal noise of deviation 1, half of its variance shared with the neighbours.

    Matching windows overlap, so that stereo noise is not white; the half is our choice.
    """
    white, soft = rng.standard_normal(shape), _smooth(rng.standard_normal(shape))
    return np.asarray(np.sqrt(0.5) * (white + soft * 3.0))


def _smooth(field: Map) -> Map:
    """Return the 3 x 3 mean, wrapped at the borders."""
    for axis in (0, 1):
        field = (np.roll(field, 1, axis) + field + np.roll(field, -1, axis)) / 3
    return field
