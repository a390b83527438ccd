"""Masks in the formats of labelling tools and training programs, one file a format."""

from dealseg.exporting.export import FORMATS, ExportFormat, ExportResult, export_masks
from dealseg.exporting.options import ExportOptions
from dealseg.exporting.source import Item, Source

__all__ = [
    "FORMATS",
    "ExportFormat",
    "ExportOptions",
    "ExportResult",
    "Item",
    "Source",
    "export_masks",
]
