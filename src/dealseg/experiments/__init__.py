"""Grids of trainings: run in any order, on any number of machines, and gathered into tables."""

from dealseg.experiments.expanding import Job, Plan, Variant, expand
from dealseg.experiments.grid import Grid, grid_of, grids, read_grid
from dealseg.experiments.results import Result, read_result, write_result
from dealseg.experiments.running import Outcome, Shard, run_jobs
from dealseg.experiments.tables import Table, build_table

__all__ = [
    "Grid",
    "Job",
    "Outcome",
    "Plan",
    "Result",
    "Shard",
    "Table",
    "Variant",
    "build_table",
    "expand",
    "grid_of",
    "grids",
    "read_grid",
    "read_result",
    "run_jobs",
    "write_result",
]
