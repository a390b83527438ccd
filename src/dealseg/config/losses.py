"""The losses beside a method's own."""

from dataclasses import dataclass
from typing import Literal

from dealseg.config.checks import require


@dataclass(frozen=True)
class DealConfig:
    """The Depth Edge Alignment Loss; `docs/method.md` has the measurements behind the defaults.

    Attributes:
        weight: lambda, the factor of the loss in the sum.
        start: share of the training before which the loss is off.
        warmup: share of the training over which lambda then rises linearly.
        mu: shift of the gate (2.5 in the paper).
        cells: grid cells on the longer side.
        space: take edges of depth, of its logarithm, or of inverse depth.
        cam_scale: how a CAM reaches [0, 1]: max (ReLU over its maximum), minmax or sigmoid.
        gain: factor on Sobel's change per cell.
        divide: divide edge maps by their maximum instead of applying gain.
        localised: count only cells near the CAM's own support.
        trust: weight each class's term by the network's own probability of the class, so that
            a class that is not learnt yet is not flattened; false is the paper's form.
        shuffle: give each image the depth of another one: a control that must not help.
        cam: the CAM it acts on; by default the method's own choice.
    """

    weight: float = 0.3
    start: float = 0.0
    warmup: float = 0.2
    mu: float = 2.5
    cells: int = 64
    space: Literal["depth", "log", "inverse"] = "inverse"
    cam_scale: Literal["max", "minmax", "sigmoid"] = "max"
    gain: float = 2.0
    divide: bool = False
    localised: bool = False
    trust: bool = True
    shuffle: bool = False
    cam: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.weight >= 0, "deal.weight", ">= 0", self.weight)
        require(0 <= self.start < 1, "deal.start", "a share in [0, 1)", self.start)
        require(0 <= self.warmup <= 1, "deal.warmup", "a share in [0, 1]", self.warmup)
        require(self.cells >= 3, "deal.cells", ">= 3", self.cells)
        require(self.gain > 0, "deal.gain", "> 0", self.gain)

    def lambda_at(self, progress: float) -> float:
        """Return the factor of the loss when a share `progress` of the training is done."""
        if progress < self.start:
            return 0.0
        if self.warmup == 0:
            return self.weight
        return self.weight * min(1.0, (progress - self.start) / self.warmup)


@dataclass(frozen=True)
class IslConfig:
    """The importance sampling loss; `docs/methods.md` says where it attaches.

    Attributes:
        weight: its share of the class loss: (1 - weight) of pooling + weight of sampling.
        samples: cells drawn for each class; 0 is the exact expectation, without drawing.
        cam: the CAM it acts on; by default the method's own choice.
    """

    weight: float = 0.2
    samples: int = 10
    cam: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(0 <= self.weight <= 1, "isl.weight", "in [0, 1]", self.weight)
        require(self.samples >= 0, "isl.samples", ">= 0 (0 is exact)", self.samples)


@dataclass(frozen=True)
class FslConfig:
    """The feature similarity loss; `docs/methods.md` says where it attaches.

    Attributes:
        weight: its factor in the sum (1.0 on VOC and 0.2 on COCO in the original).
        mu: shift of the gate on colour distances.
        sigma: reach in image pixels (40 in the original), made cells by the CAM's stride.
        window: pairs farther apart than this many sigmas are left out, which bounds memory; 0
            takes all pairs, as the original.
        cam: the CAM it acts on; by default the method's own choice.
    """

    weight: float = 1.0
    mu: float = 2.5
    sigma: float = 40.0
    window: float = 0.0
    cam: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.weight >= 0, "fsl.weight", ">= 0", self.weight)
        require(self.sigma > 0, "fsl.sigma", "> 0 pixels", self.sigma)
        require(self.window >= 0, "fsl.window", ">= 0 sigmas", self.window)
