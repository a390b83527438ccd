"""Runs side by side on one self-contained HTML page, and its figures as PNG."""

from dealseg.report.example import DepthView, Example, Prediction
from dealseg.report.page import page
from dealseg.report.records import RunRecord, read_runs
from dealseg.report.writing import write_report

__all__ = [
    "DepthView",
    "Example",
    "Prediction",
    "RunRecord",
    "page",
    "read_runs",
    "write_report",
]
