"""Losses: one file each, a pure function that scores each image alone and a thin Module."""

from dealseg.losses.depth_edge_alignment import (
    Alignment,
    DepthEdgeAlignment,
    align_cams,
    depth_edge_alignment,
    edge_alignment,
    grid_size,
)
from dealseg.losses.edge_maps import DepthEdges, cam_edges, depth_edges, near_support
from dealseg.losses.edges import EDGE_SHARE, edge_activation, gate_zero, sobel_magnitude

__all__ = [
    "EDGE_SHARE",
    "Alignment",
    "DepthEdgeAlignment",
    "DepthEdges",
    "align_cams",
    "cam_edges",
    "depth_edge_alignment",
    "depth_edges",
    "edge_activation",
    "edge_alignment",
    "gate_zero",
    "grid_size",
    "near_support",
    "sobel_magnitude",
]
