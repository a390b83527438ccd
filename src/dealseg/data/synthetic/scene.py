"""What a scene is: a room, things that stand in it, lamps, and a camera that moves round them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dealseg.data.synthetic.shapes import half_extents
from dealseg.data.synthetic.things import Part

Matrix = Float[np.ndarray, "3 3"]
Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Placed:
    """A thing in the world.

    Attributes:
        obj_id: 1..10 for a tagged class (index in `CLASSES` plus 1), 0 for a distractor.
        name: the class or kind of distractor.
        parts: in the world's frame.
        rotation: from the thing's frame to the world's.
        position: of the origin of the thing's frame in the world, metres.
    """

    obj_id: int
    name: str
    parts: tuple[Part, ...]
    rotation: Matrix
    position: Vector


@dataclass(frozen=True)
class Lamp:
    """A small round area light.

    Attributes:
        position: of its middle, metres.
        radius: metres; it softens the shadows.
        colour: irradiance at the origin on a surface that faces it, linear RGB.
    """

    position: Vector
    radius: float
    colour: Vector


@dataclass(frozen=True)
class Camera:
    """A square pinhole camera; x right, y down, z forward (OpenCV and BOP).

    Attributes:
        size: width and height in pixels; pixel (0, 0) has its centre at (0, 0).
        focal: in pixels; the principal point is the middle of the image.
        rotation: from the world's frame to the camera's.
        position: in the world, metres.
    """

    size: int
    focal: float
    rotation: Matrix
    position: Vector

    @property
    def centre(self) -> float:
        """Return both coordinates of the principal point."""
        return (self.size - 1) / 2

    @property
    def translation(self) -> Vector:
        """Return t of `camera = rotation @ world + t`, metres."""
        return np.asarray(-self.rotation @ self.position)

    def rays(self, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
        """Return directions in the world through the pixels, of length 1 along the optical axis."""
        flat = (pixels - self.centre) / self.focal
        return np.asarray(np.column_stack([flat, np.ones(len(flat))]) @ self.rotation)

    def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return pixel x, pixel y and depth of points in the world."""
        local = (points - self.position) @ self.rotation.T
        return np.column_stack(
            [local[:, :2] / local[:, 2:] * self.focal + self.centre, local[:, 2]]
        )


@dataclass(frozen=True)
class Lens:
    """How the picture departs from the light that falls in.

    Attributes:
        exposure: factor before the tone curve.
        tint: white balance, a factor for each channel.
        blur: deviation of the blur in pixels.
        vignette: share of light lost in the corners.
        grain: deviation of the sensor's noise, in shares of white.
    """

    exposure: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: float = 0.45
    vignette: float = 0.2
    grain: float = 0.01


@dataclass(frozen=True)
class Scene:
    """Everything that a picture depends on.

    Attributes:
        surface: what the things stand on.
        room: parts without a tag: the support first, then floor, walls and furniture.
        things: what stands on the support, whose top is the plane z = 0.
        lamps: that cast shadows.
        sky: light from all sides, linear RGB.
        ground: mean reflectance of the support, which lights things from below.
        cameras: one a frame.
        lens: of all frames.
    """

    surface: str
    room: tuple[Part, ...]
    things: tuple[Placed, ...]
    lamps: tuple[Lamp, ...]
    sky: Vector
    ground: Vector
    cameras: tuple[Camera, ...]
    lens: Lens


def look_at(eye: Vector, target: Vector, roll: float, size: int, focal: float) -> Camera:
    """Return a camera at `eye` that looks at `target`, turned by `roll` radians about its axis."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return Camera(size, focal, np.stack([c * right + s * down, c * down - s * right, forward]), eye)


def window(camera: Camera, piece: Part) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the part's image in pixels; unlimited if near."""
    half = half_extents(piece.shape)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = camera.project((signs * half) @ piece.rotation.T + piece.offset)
    if piece.shape.kind == "plane" or corners[:, 2].min() < 0.05:
        return -np.inf, -np.inf, np.inf, np.inf
    low, high = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
