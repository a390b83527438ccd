"""From a grid to its trainings, each once however many tables it stands in."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import yaml

from dealseg.config import DealConfig, FslConfig, IslConfig, TrainConfig
from dealseg.config.checks import require
from dealseg.config.recipes import recipe_path
from dealseg.config.training import LOSSES
from dealseg.errors import ConfigError
from dealseg.experiments.grid import NONE, Grid, Settings, TableSpec, merged
from dealseg.models.runs import from_mapping
from dealseg.noise import parse_noise

_ORDER = ("isl", "fsl", "deal")
READ_DEPTH = frozenset({"deal"})
"""The losses to which depth, and its noise, make a difference."""


@dataclass(frozen=True)
class Variant:
    """A point of the grid but for its seed.

    Attributes:
        method: name of the grid's method.
        losses: `none`, or losses in a fixed order, joined by `+`.
        depth: name of the depth source; `none` where no loss reads depth.
        noise: of the depth; likewise.
    """

    method: str
    losses: str = NONE
    depth: str = NONE
    noise: str = NONE

    @property
    def is_baseline(self) -> bool:
        """Return whether it has the method's own losses only."""
        return self.losses == NONE


@dataclass(frozen=True)
class Job:
    """One training and its evaluation.

    Attributes:
        variant: its place in the grid.
        config: of the training, with the seed.
        val: split that judges it.
    """

    variant: Variant
    config: TrainConfig
    val: str | None

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return self.config.seed

    @property
    def name(self) -> str:
        """What people call it: all axes, in characters that a file name may have."""
        v = self.variant
        parts = (v.method, v.losses, v.depth, v.noise, f"s{self.seed}")
        return "-".join(re.sub(r"[^\w.+=]+", "_", part) for part in parts)


@dataclass(frozen=True)
class PlannedTable:
    """A table and the variants that are its rows.

    Attributes:
        spec: what the grid says of it.
        variants: its rows.
        titles: what the methods are called.
    """

    spec: TableSpec
    variants: tuple[Variant, ...]
    titles: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """All that a grid asks for.

    Attributes:
        tables: with their rows.
        jobs: each once, in the order in which the tables first need them.
    """

    tables: tuple[PlannedTable, ...]
    jobs: tuple[Job, ...]


def expand(grid: Grid) -> Plan:
    """Return the tables of a grid and the jobs they need.

    Where no loss reads depth, depth source and noise are `none` whatever the table's axes are, so a
    baseline is trained once.

    Raises:
        ConfigError: if a combination cannot be trained.
    """
    tables = tuple(
        PlannedTable(spec, tuple(dict.fromkeys(_variants(spec))), grid.titles)
        for spec in grid.tables
    )
    variants = dict.fromkeys(variant for table in tables for variant in table.variants)
    jobs = (_job(grid, variant, seed) for variant in variants for seed in grid.seeds)
    return Plan(tables, tuple(jobs))


def _variants(spec: TableSpec) -> Iterator[Variant]:
    for method, losses, depth, noise in product(spec.methods, spec.losses, spec.depths, spec.noise):
        names = loss_names(losses)
        if depth == NONE:
            names = tuple(name for name in names if name not in READ_DEPTH)
        if READ_DEPTH & set(names):
            yield Variant(method, "+".join(names), depth, noise)
        else:
            yield Variant(method, "+".join(names) or NONE)


def loss_names(losses: str) -> tuple[str, ...]:
    """Return the losses that are joined by `+`, in the order of the paper's tables.

    Raises:
        ConfigError: if one is unknown or comes twice.
    """
    names = [name.strip() for name in losses.split("+") if name.strip() != NONE]
    known = set(names) <= set(LOSSES) and len(set(names)) == len(names)
    require(known, "losses", f"none, or some of {', '.join(LOSSES)} joined by +", losses)
    return tuple(sorted(names, key=_ORDER.index))


def reads_depth(config: TrainConfig) -> bool:
    """Return whether depth makes a difference to a training."""
    return bool(READ_DEPTH & set(config.loss_names))


def _job(grid: Grid, variant: Variant, seed: int) -> Job:
    chosen: Settings = {"seed": seed, "losses": variant.losses.replace("+", ",")}
    if variant.depth != NONE:
        chosen = merged(grid.depths[variant.depth], chosen)
    if variant.noise != NONE:
        parse_noise(variant.noise)
        chosen = merged(chosen, {"depth_noise": variant.noise})
    images = {"data": {"format": grid.data.format, "split": grid.data.train}}
    try:
        config = from_mapping(TrainConfig, merged(_of_method(grid, variant.method), images, chosen))
    except ConfigError as error:
        raise ConfigError(f"{variant.method}, losses {variant.losses}: {error}") from error
    return Job(variant, _without_unused(config), grid.data.val)


def _of_method(grid: Grid, name: str) -> Settings:
    """Return a method's recipe with its own changes; without a recipe, its name and its changes."""
    own = dict(grid.methods[name])
    recipe, changes, _ = own.pop("recipe", None), own.pop("set", {}), own.pop("title", None)
    require(not own, f"methods.{name}", "recipe, set and title", ", ".join(own))
    if recipe is None:
        return merged({"method": name}, grid.set, changes)
    settings = yaml.safe_load(recipe_path(recipe).read_text(encoding="utf-8"))
    return merged(settings, grid.set, changes)


def _without_unused(config: TrainConfig) -> TrainConfig:
    """Set the options of losses that are off to their defaults: they make no difference."""
    off = set(LOSSES) - set(config.loss_names)
    defaults = {"deal": DealConfig(), "isl": IslConfig(), "fsl": FslConfig()}
    return replace(config, **{name: defaults[name] for name in off})  # type: ignore[arg-type]
