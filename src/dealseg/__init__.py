"""From RGB-D recordings with image-level tags to pixel masks, with DEAL."""

__version__ = "0.1.0"
