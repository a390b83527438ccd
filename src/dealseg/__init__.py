"""From RGB-D recordings with image-level tags to pixel masks, with the Depth Edge Alignment Loss."""

__version__ = "0.1.0"
