"""From RGB-D recordings with image-level tags to pixel masks, with DEAL."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dealseg.models.segmenter import Segmenter

__version__ = "0.1.0"
__all__ = ["Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Segmenter` when it is asked for, so that `import dealseg` stays light."""
    if name == "Segmenter":
        from dealseg.models.segmenter import Segmenter  # noqa: PLC0415

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
