"""Losses: one file each, a pure function that scores each image alone and a thin Module."""

from dealseg.losses.cross_equivariance import CrossEquivariance, cross_equivariance
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
from dealseg.losses.equivariance import Equivariance, equivariance, max_norm
from dealseg.losses.feature_similarity import (
    FeatureSimilarity,
    feature_similarity,
    predictions_from_cams,
)
from dealseg.losses.gradient_clipping import clipping_level, gradient_clipping
from dealseg.losses.importance_sampling import ImportanceSampling, importance_sampling
from dealseg.losses.min_pooling import MinPooling, min_pooling
from dealseg.losses.noisy_masks import (
    generalised_cross_entropy,
    pixel_cross_entropy,
    symmetric_cross_entropy,
    weighted_mean,
)
from dealseg.losses.siamese import SiameseLosses, View, siamese_losses
from dealseg.losses.soft_margin import MultilabelSoftMargin, multilabel_soft_margin

__all__ = [
    "EDGE_SHARE",
    "Alignment",
    "CrossEquivariance",
    "DepthEdgeAlignment",
    "DepthEdges",
    "Equivariance",
    "FeatureSimilarity",
    "ImportanceSampling",
    "MinPooling",
    "MultilabelSoftMargin",
    "SiameseLosses",
    "View",
    "align_cams",
    "cam_edges",
    "clipping_level",
    "cross_equivariance",
    "depth_edge_alignment",
    "depth_edges",
    "edge_activation",
    "edge_alignment",
    "equivariance",
    "feature_similarity",
    "gate_zero",
    "generalised_cross_entropy",
    "gradient_clipping",
    "grid_size",
    "importance_sampling",
    "max_norm",
    "min_pooling",
    "multilabel_soft_margin",
    "near_support",
    "pixel_cross_entropy",
    "predictions_from_cams",
    "siamese_losses",
    "sobel_magnitude",
    "symmetric_cross_entropy",
    "weighted_mean",
]
