"""From a scene and a camera to colour, depth, instances and what the depth sensor must know."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from dealseg.data.synthetic.light import LightMap, Spots, shade
from dealseg.data.synthetic.scene import Camera, Lens, Scene
from dealseg.data.synthetic.shapes import dot
from dealseg.data.synthetic.surfaces import normals, surface_coordinates
from dealseg.data.synthetic.textures import look_up
from dealseg.data.synthetic.things import Part
from dealseg.data.synthetic.trace import first_hits

Vectors = Float[np.ndarray, "n 3"]
CONTRAST = 0.14
"""Step between neighbours, in shares of white, above which a pixel is sampled four times."""


@dataclass(frozen=True)
class Frame:
    """One rendered picture.

    Attributes:
        light: linear RGB that falls on each pixel, anti-aliased.
        depth: metres along the optical axis at each pixel's centre, inf where nothing was hit.
        instance: index of the thing at the pixel's centre, -1 for the room.
        facing: cosine between the surface's normal and the view at the pixel's centre.
    """

    light: Float[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    instance: Int[np.ndarray, "h w"]
    facing: Float[np.ndarray, "h w"]


def render(scene: Scene, chart: LightMap, camera: Camera) -> Frame:
    """Return the picture: depth and instances exact, light of edges averaged over 2 x 2 samples.

    Args:
        scene: what there is.
        chart: the light map of `scene` (see `light_map`).
        camera: one of the scene's or another.
    """
    size = camera.size
    y, x = np.mgrid[:size, :size]
    pixels = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    light, depth, which, facing = _look(scene, chart, camera, pixels)
    image = light.reshape(size, size, 3)
    fine = np.flatnonzero(_edges(image, which.reshape(size, size)))
    corners = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]])
    samples = (pixels[fine][:, None] + corners).reshape(-1, 2)
    finer, *_ = _look(scene, chart, camera, samples, coarse=True)
    image.reshape(-1, 3)[fine] = np.minimum(finer, 4.0).reshape(-1, 4, 3).mean(axis=1)
    owner = _owners(scene)[which]
    return Frame(*(a.reshape(size, size, *a.shape[1:]) for a in (light, depth, owner, facing)))


def develop(
    light: Float[np.ndarray, "h w 3"], lens: Lens, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the photograph of the light: blur, vignette, tint, tone curve and grain.

    The tone curve is 1 - exp(-1.5 x) and gamma 2.2; the grain's variance has a constant part and
    one that grows with the light (shot noise).
    """
    size = light.shape[0]
    image = _blurred(light, lens.blur)
    axis = (np.arange(size) - (size - 1) / 2) / (size / 2)
    vignette = 1 - lens.vignette * (axis[:, None] ** 2 + axis**2) / 2
    image = image * vignette[..., None].astype(np.float32)
    image = 1 - np.exp(-1.5 * lens.exposure * image * np.array(lens.tint, np.float32))
    image = np.maximum(image, 0.0) ** (1 / 2.2)
    grain = lens.grain * np.sqrt(0.4 + 0.6 * image) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.rint(np.clip(image + grain, 0.0, 1.0) * 255)).astype(np.uint8)


def luminance(light: Float[np.ndarray, "*dims 3"]) -> Float[np.ndarray, "*dims"]:
    """Return Rec. 709 luminance of linear RGB."""
    return np.asarray(light @ np.array([0.2126, 0.7152, 0.0722]))


def _parts(scene: Scene) -> list[Part]:
    return [*scene.room, *(piece for thing in scene.things for piece in thing.parts)]


def _owners(scene: Scene) -> Int[np.ndarray, " n"]:
    """Return the thing that each part belongs to; a last entry serves index -1."""
    room = [-1] * len(scene.room)
    return np.array([*room, *(i for i, t in enumerate(scene.things) for _ in t.parts), -1])


def _look(
    scene: Scene,
    chart: LightMap,
    camera: Camera,
    pixels: Float[np.ndarray, "n 2"],
    *,
    coarse: bool = False,
) -> tuple[Vectors, Float[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return light, depth, part and cosine to the view of each pixel position."""
    parts = _parts(scene)
    depth, which = first_hits(parts, camera, pixels)
    rays = camera.rays(pixels)
    point = camera.position + np.where(np.isfinite(depth), depth, 1.0)[:, None] * rays
    view = -rays / np.sqrt(dot(rays, rays))[:, None]
    normal, paint, gloss = _surfaces(parts, which, point, depth, camera.focal)
    normal = np.where((which < 0)[:, None], view, normal)
    facing = dot(normal, view)
    spots = Spots(
        point=point.astype(np.float32),
        normal=np.where(facing[:, None] < 0, -normal, normal).astype(np.float32),
        view=view.astype(np.float32),
        albedo=paint,
        gloss=gloss[:, 0],
        sharpness=gloss[:, 1],
        owner=_owners(scene)[which],
        support=(which == 0) & (np.abs(point[:, 2]) < 1e-6),
    )
    return shade(scene, chart, spots, coarse=coarse), depth, which, np.abs(facing)


def _surfaces(
    parts: list[Part],
    which: Int[np.ndarray, " n"],
    point: Vectors,
    depth: Float[np.ndarray, " n"],
    focal: float,
) -> tuple[Vectors, Vectors, Float[np.ndarray, "n 2"]]:
    """Return normal, reflectance, and gloss with sharpness of the parts' points."""
    normal, paint = np.zeros_like(point), np.full(point.shape, 0.5, np.float32)
    gloss = np.zeros((len(point), 2), np.float32)
    for index in np.unique(which[which >= 0]):
        piece, rows = parts[index], np.flatnonzero(which == index)
        local = (point[rows] - piece.offset) @ piece.rotation
        own = normals(piece.shape, local)
        normal[rows] = own @ piece.rotation.T
        face, place = surface_coordinates(piece.shape, local, own)
        paint[rows] = look_up(piece.skin, face, place, float(np.median(depth[rows])) / focal)
        gloss[rows] = piece.skin.gloss, piece.skin.sharpness
    return normal, paint, gloss


def _edges(light: Float[np.ndarray, "h w 3"], which: Int[np.ndarray, "h w"]) -> np.ndarray:
    tone = np.clip(luminance(light), 0.0, 1.5) ** (1 / 2.2)
    found = np.zeros(tone.shape, dtype=bool)
    for axis in (0, 1):
        step = (np.abs(np.diff(tone, axis=axis)) > CONTRAST) | (np.diff(which, axis=axis) != 0)
        first, second = (
            (slice(None, -1), slice(1, None))
            if axis == 0
            else ((slice(None), slice(None, -1)), (slice(None), slice(1, None)))
        )
        found[first] |= step
        found[second] |= step
    return found.ravel()


def _blurred(image: Float[np.ndarray, "h w 3"], sigma: float) -> Float[np.ndarray, "h w 3"]:
    weights = np.exp(-0.5 * (np.arange(-2, 3) / max(sigma, 1e-3)) ** 2)
    weights = weights / weights.sum()
    for _ in range(2):
        padded = np.pad(image, [(2, 2), (0, 0), (0, 0)], mode="edge")
        lanes = (w * padded[k : k + len(image)] for k, w in enumerate(weights.tolist()))
        image = np.swapaxes(sum(lanes), 0, 1)
    return image
