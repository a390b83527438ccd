"""The Depth Edge Alignment Loss (DEAL).

Source: Schmidt, Belagiannis, Nalpantidis, "Depth Edge Alignment Loss: DEALing with Depth in Weakly
Supervised Semantic Segmentation", arXiv 2509.17702. Every keyword below that the paper leaves open
is a choice of ours; `docs/method.md` gives the measurements behind the defaults.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dealseg.depth import DepthSpace, Kind, at_least_float32
from dealseg.losses.edge_maps import CamScale, DepthEdges, cam_edges, depth_edges, near_support
from dealseg.losses.edges import edge_activation, gate_zero


def edge_alignment(
    cam_edges: Float[Tensor, "b k h w"],
    depth_edges: Float[Tensor, "b 1 h w"],
    tags: Float[Tensor, "b k"],
    *,
    valid: Bool[Tensor, "b 1 h w"] | None = None,
    mu: float = 2.5,
) -> Float[Tensor, " b"]:
    r"""Score how badly CAM edges and depth edges agree, one value in [-1, 1] per image.

    $$ L = -\frac{1}{H'W'} \sum_{ij} \frac{1}{\sum_k y_k} \sum_k y_k a'_{k,ij} d'_{ij} $$

    with both edge maps passed through :func:`dealseg.losses.edges.edge_activation`. Edge on edge
    and flat on flat are rewarded; lower is better. Step 4 of the method, exactly; the mean runs
    over the valid cells only, and an image without a valid cell or without a tag costs 0 (and has
    gradient 0).

    Args:
        cam_edges: strengths in [0, 1], one map per class.
        depth_edges: strengths in [0, 1]; not read where invalid.
        tags: 1 for classes in the image, else 0.
        valid: cells that count; all when None.
        mu: shift of the gate.
    """
    image, maps = _present(cam_edges, tags)
    return _score(maps, image, depth_edges, valid, None, mu)


def _present(
    maps: Float[Tensor, "b k h w"], tags: Float[Tensor, "b k"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 1 h w"]]:
    """Pick the maps of the classes present: absent ones take no part and cost no time."""
    image, label = tags.nonzero(as_tuple=True)
    return image, maps[image, label][:, None]


def _score(
    maps: Float[Tensor, "n 1 h w"],
    image: Int[Tensor, " n"],
    depth_edges: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"] | None,
    weight: Float[Tensor, "n 1 h w"] | None,
    mu: float,
    trust: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, " b"]:
    """Weighted mean agreement of each map with its image's depth edges, then mean over the maps."""
    if valid is not None:
        depth_edges = depth_edges.masked_fill(~valid, 0.0)  # NaN times weight 0 is NaN
    agreement = edge_activation(maps, mu) * edge_activation(depth_edges, mu)[image]
    counted = torch.ones_like(agreement) if weight is None else weight
    if valid is not None:
        counted = counted * valid[image]
    mass = counted.sum(dim=(1, 2, 3))
    each = (agreement * counted).sum(dim=(1, 2, 3)) / torch.where(mass > 0, mass, 1.0)
    trusted = each if trust is None else each * trust
    zeros = each.new_zeros(len(depth_edges))
    number = zeros.index_add(0, image, torch.ones_like(each)).clamp(min=1)
    return -zeros.index_add(0, image, trusted) / number


class Alignment(NamedTuple):
    """The loss of each image, with what tells whether it can help (no gradient).

    Attributes:
        loss: in [-1, 1], one value per image.
        depth_share: share of valid grid cells with a depth edge above the gate's zero.
        cam_share: the same for the CAMs of the classes present.
        flat_share: share of those CAMs without a single edge cell.
    """

    loss: Float[Tensor, " b"]
    depth_share: Float[Tensor, ""]
    cam_share: Float[Tensor, ""]
    flat_share: Float[Tensor, ""]


def align_cams(
    cams: Float[Tensor, "b k h w"],
    edges: DepthEdges,
    tags: Float[Tensor, "b k"],
    *,
    mu: float = 2.5,
    scale: CamScale = "max",
    gain: float = 2.0,
    divide: bool = False,
    localised: bool = False,
    trust: Float[Tensor, "b k"] | None = None,
) -> Alignment:
    """Score raw CAMs against depth edges computed before; see :func:`depth_edge_alignment`."""
    size = (edges.strength.shape[-2], edges.strength.shape[-1])
    image, present = _present(at_least_float32(cams), tags)
    strength = cam_edges(present, size=size, scale=scale, gain=gain, divide=divide)
    weight = near_support(present, size) if localised else None
    depth_strength = edges.strength.to(strength.dtype)
    trusted = (
        None if trust is None else trust.detach().to(strength.dtype)[tags.nonzero(as_tuple=True)]
    )
    loss = _score(strength, image, depth_strength, edges.valid, weight, mu, trusted)
    return Alignment(loss, *_shares(strength.detach(), depth_strength, edges.valid, mu))


def _shares(
    cam_strength: Tensor, depth_strength: Tensor, valid: Tensor, mu: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the shares of depth edge cells, of CAM edge cells, and of CAMs without any."""
    zero = gate_zero(mu)
    found = cam_strength > zero
    depth_share = (depth_strength > zero)[valid].float().sum() / valid.sum().clamp(min=1)
    cam_share = found.float().sum() / max(found.numel(), 1)
    flat = (~found.flatten(1).any(dim=1)).float().sum() / max(len(found), 1)
    return depth_share, cam_share, flat


def depth_edge_alignment(
    cams: Float[Tensor, "b k h w"],
    depth: Float[Tensor, "b 1 hd wd"],
    tags: Float[Tensor, "b k"],
    *,
    valid: Bool[Tensor, "b 1 hd wd"] | None = None,
    mu: float = 2.5,
    size: tuple[int, int] | None = None,
    space: DepthSpace = "inverse",
    kind: Kind = "metric",
    cam_scale: CamScale = "max",
    gain: float = 2.0,
    divide: bool = False,
    localised: bool = False,
    trust: Float[Tensor, "b k"] | None = None,
) -> Float[Tensor, " b"]:
    """Return the Depth Edge Alignment Loss of raw CAMs and raw depth, in [-1, 1], for each image.

    Steps 1 to 4 of the method: both sides on one grid, Sobel, gate, mean agreement over cells and
    present classes with its sign turned. Only the CAMs get a gradient.

    Args:
        cams: raw maps, any resolution.
        depth: metres, or inverse depth as `kind` says, of the same view; any resolution.
        tags: 1 for classes in the image, else 0.
        valid: where depth was measured; 0, negative, NaN and infinite values are invalid anyhow.
        mu: shift of the gate, 2.5 in the paper.
        size: rows and columns of the grid; None takes the depth's aspect with 64 cells on the
            longer side (never more than the depth has).
        space: edges of depth, of its logarithm, or of its inverse.
        kind: `metric`, `disparity` or `relative`.
        cam_scale: how a CAM reaches [0, 1]; see :func:`cam_edges`.
        gain: factor on Sobel's change per cell on both sides.
        divide: divide both edge maps by their maximum instead of applying `gain`.
        localised: count only cells near the CAM's own support; see :func:`near_support`.
        trust: weight in [0, 1] of each class's term, no gradient; in training the network's own
            class probability, so that a class it has not learnt yet is not flattened. None is 1,
            the paper's form.

    Raises:
        ValueError: for an unknown `space`, `kind` or `cam_scale`.
    """
    height, width = depth.shape[-2:]
    grid = size or grid_size(height, width)
    edges = depth_edges(depth, valid, size=grid, space=space, kind=kind, gain=gain, divide=divide)
    return align_cams(
        cams,
        edges,
        tags,
        mu=mu,
        scale=cam_scale,
        gain=gain,
        divide=divide,
        localised=localised,
        trust=trust,
    ).loss


def grid_size(height: int, width: int, cells: int = 64) -> tuple[int, int]:
    """Return rows and columns of a grid with `cells` on the longer side and the map's aspect."""
    factor = min(1.0, cells / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


class DepthEdgeAlignment(nn.Module):
    """Batch mean of :func:`depth_edge_alignment`, which documents the options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(
        self,
        cams: Float[Tensor, "b k h w"],
        depth: Float[Tensor, "b 1 hd wd"],
        tags: Float[Tensor, "b k"],
        valid: Bool[Tensor, "b 1 hd wd"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return depth_edge_alignment(cams, depth, tags, valid=valid, **self.options).mean()
