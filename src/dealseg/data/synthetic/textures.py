"""Tileable bitmaps of materials, made from a generator alone, and how they are looked up.

Colours are linear RGB reflectances in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Image = Float[np.ndarray, "h w 3"]
Field = Float[np.ndarray, "h w"]
Colour = Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Skin:
    """The bitmaps of a solid's faces.

    Attributes:
        levels: faces at full size, then each at half the size before it.
        repeat: how often each face's bitmap repeats over coordinates 0..1 of `surface_coordinates`.
        density: texels a metre of the finest level, which chooses the level to be read.
        gloss: strength of mirror reflection head-on, 0 matt to 1.
        sharpness: exponent of the highlight.
    """

    levels: tuple[Float[np.ndarray, "f _ _ 3"], ...]
    repeat: Float[np.ndarray, "f 2"]
    density: float
    gloss: float = 0.04
    sharpness: float = 40.0


def skin(
    faces: list[Image],
    metres: float,
    *,
    repeat: list[tuple[float, float]] | None = None,
    gloss: float = 0.04,
    sharpness: float = 40.0,
) -> Skin:
    """Return the skin with the given faces, all of one size.

    Args:
        faces: one bitmap for each face.
        metres: the length that a bitmap's width covers, about.
        repeat: see `Skin`; once when None.
        gloss: see `Skin`.
        sharpness: see `Skin`.
    """
    levels = [np.clip(np.stack(faces), 0.01, 1.0).astype(np.float32)]
    while min(levels[-1].shape[1:3]) > 8 and len(levels) < 6:
        levels.append(_halved(levels[-1]))
    times = np.array(repeat or [(1.0, 1.0)] * len(faces))
    return Skin(tuple(levels), times, faces[0].shape[1] / metres, gloss, sharpness)


def look_up(
    coat: Skin, face: Int[np.ndarray, " n"], place: Float[np.ndarray, "n 2"], footprint: float
) -> Float[np.ndarray, "n 3"]:
    """Return the colour at each place, read bilinearly from the level that fits the footprint.

    Args:
        coat: the bitmaps.
        face: as `surface_coordinates` gives it.
        place: as `surface_coordinates` gives it.
        footprint: metres that a pixel covers.
    """
    level = np.log2(max(coat.density * footprint, 1.0))
    bitmap = coat.levels[min(round(float(level)), len(coat.levels) - 1)]
    size = np.array([bitmap.shape[2], bitmap.shape[1]])
    texel = place * coat.repeat[face] * size - 0.5
    corner = np.floor(texel).astype(np.int64)
    fx, fy = (texel - corner).astype(np.float32).T[:, :, None]
    x0, y0 = corner[:, 0] % size[0], corner[:, 1] % size[1]
    x1, y1 = (x0 + 1) % size[0], (y0 + 1) % size[1]
    low = bitmap[face, y0, x0] * (1 - fx) + bitmap[face, y0, x1] * fx
    high = bitmap[face, y1, x0] * (1 - fx) + bitmap[face, y1, x1] * fx
    colour: np.ndarray = low * (1 - fy) + high * fy
    return colour


def linear(red: float, green: float, blue: float) -> Colour:
    """Return the linear reflectance of an sRGB colour in 0..255 (gamma 2.2)."""
    return np.asarray((np.array([red, green, blue]) / 255.0) ** 2.2)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the linear reflectance of a hue (turns), saturation and value in [0, 1]."""
    ramp = np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1.0 * 6.0 - 3.0) - 1.0
    srgb = value * (1 - saturation * (1 - np.clip(ramp, 0.0, 1.0)))
    return np.asarray(srgb**2.2)


def mix(low: np.ndarray, high: np.ndarray, share: Field) -> Image:
    """Return the blend of two colours or images, `high` where `share` is 1."""
    weight = np.clip(share, 0.0, 1.0)[..., None]
    return np.asarray(low * (1 - weight) + high * weight)


def grid(height: int, width: int) -> tuple[Field, Field]:
    """Return x and y of the texel centres, both in 0..1."""
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij"
    )
    return x, y


def noise(
    rng: np.random.Generator,
    size: int,
    *,
    roughness: float = 1.5,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Field:
    """Return tileable noise of mean 0 and deviation 1 with the power law f^(-roughness).

    Args:
        rng: source of the phases.
        size: width and height.
        roughness: 0 is white; 1 to 2 looks natural.
        stretch: how much longer features are along x and y.
    """
    fy = np.fft.fftfreq(size)[:, None] * size * stretch[1]
    fx = np.fft.rfftfreq(size)[None, :] * size * stretch[0]
    power = np.hypot(fx, fy)
    power[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * power ** (-roughness)
    field = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray((field - field.mean()) / field.std())


def emboss(image: Image, height: Field, light: tuple[float, float], strength: float) -> Image:
    """Return the image with the relief's light and shade painted on, for light from (x, y)."""
    slope = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) * light[0]
    slope = slope + (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * light[1]
    return np.asarray(image * np.clip(1.0 - strength * slope, 0.3, 1.7)[..., None])


def _halved(faces: Float[np.ndarray, "f a b 3"]) -> Float[np.ndarray, "f c d 3"]:
    return np.asarray(
        (faces[:, ::2, ::2] + faces[:, 1::2, ::2] + faces[:, ::2, 1::2] + faces[:, 1::2, 1::2]) / 4
    )
