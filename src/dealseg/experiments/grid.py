"""What a grid is: tables of methods, losses, depth sources and noise, as a YAML file says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dealseg.config.checks import require
from dealseg.errors import ConfigError
from dealseg.models.runs import from_mapping

Settings = Mapping[str, Any]
"""Options of a training by name, nested as in a recipe."""

MINIATURE = "miniature"
NONE = "none"
_FOLDER = Path(__file__).parent / "grids"
_NEEDED = ("title", "methods", "losses", "depths")


@dataclass(frozen=True)
class Images:
    """Which images a grid trains on and is judged by.

    Attributes:
        format: layout of the data set.
        train: split of the trainings; all images when None.
        val: split that judges them.
    """

    format: str = "auto"
    train: str | None = "train"
    val: str | None = "val"


@dataclass(frozen=True)
class TableSpec:
    """One table: every combination of its axes is a row.

    Attributes:
        name: of its files.
        title: what it shows.
        methods: of the grid's methods.
        losses: `none`, or losses joined by `+`.
        depths: of the grid's depth sources, or `none`.
        noise: specifications of `depth_noise`, or `none`.
    """

    name: str
    title: str
    methods: tuple[str, ...]
    losses: tuple[str, ...]
    depths: tuple[str, ...]
    noise: tuple[str, ...] = (NONE,)


@dataclass(frozen=True)
class Published:
    """A figure of the paper: a row for reference, never a result of ours.

    Attributes:
        table: the table it stands in.
        label: what it is.
        gain: points of max mIoU over the baseline.
        source: where it was published.
    """

    table: str
    label: str
    gain: float
    source: str


@dataclass(frozen=True)
class Grid:
    """A whole grid.

    Attributes:
        name: of the file it was read from.
        title: of the data.
        data: which images.
        methods: of each, `recipe`, whose settings those in `set` change; tables name it by `title`.
        set: settings of all trainings, between a method's recipe and its `set`.
        depths: settings of each depth source; they count where a loss reads depth.
        seeds: of each row.
        tables: what to show.
        published: the paper's figures.
    """

    name: str
    title: str
    methods: Mapping[str, Settings]
    tables: tuple[TableSpec, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    data: Images = field(default_factory=Images)
    depths: Mapping[str, Settings] = field(default_factory=dict)
    set: Settings = field(default_factory=dict)
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        """Refuse tables that name what there is not."""
        require(len(self.seeds) > 0, "seeds", "at least one number", self.seeds)
        require(len(self.tables) > 0, "tables", "at least one table", self.tables)
        for table in self.tables:
            _require_known(table, "methods", self.methods)
            _require_known(table, "depths", {NONE, *self.depths})

    @property
    def titles(self) -> dict[str, str]:
        """What tables and figures call each method."""
        return {name: str(own.get("title", name)) for name, own in self.methods.items()}

    def choose(
        self,
        *,
        tables: Sequence[str] = (),
        methods: Sequence[str] = (),
        losses: Sequence[str] = (),
        depths: Sequence[str] = (),
        noise: Sequence[str] = (),
        seeds: Sequence[int] = (),
        train: str | None = None,
        val: str | None = None,
    ) -> "Grid":
        """Return the grid with some of its tables, other values on their axes, or other splits.

        Raises:
            ConfigError: if there is no table, method or depth source of a name.
        """
        known = [table.name for table in self.tables]
        for name in tables:
            require(name in known, "tables", f"some of {', '.join(known)}", name)
        given = {"methods": methods, "losses": losses, "depths": depths, "noise": noise}
        axes: dict[str, Any] = {name: tuple(values) for name, values in given.items() if values}
        chosen = (table for table in self.tables if not tables or table.name in tables)
        return replace(
            self,
            tables=tuple(replace(table, **axes) for table in chosen),
            seeds=tuple(seeds) or self.seeds,
            data=replace(self.data, train=train or self.data.train, val=val or self.data.val),
        )


def _require_known(table: TableSpec, axis: str, known: Any) -> None:
    for name in getattr(table, axis):
        where = f"{axis} of table {table.name}"
        require(name in known, where, f"some of {', '.join(sorted(known))}", name)


def grids() -> list[str]:
    """Return the names of the grids that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def grid_of(name: str, file: Path | None = None, *, miniature: bool = False) -> Grid:
    """Return a grid of the package, or one's own in its place.

    Args:
        name: of a grid of the package.
        file: a YAML file to take instead.
        miniature: apply the file's part `miniature`, which makes everything tiny.

    Raises:
        ConfigError: if there is no such grid, or the file is not as it must be.
    """
    if file is None and name not in grids():
        raise ConfigError(f"grid must be one of {', '.join(grids())}, got {name!r}")
    return read_grid(file or _FOLDER / f"{name}.yaml", miniature=miniature)


def read_grid(file: Path, *, miniature: bool = False) -> Grid:
    """Read a grid's YAML file.

    Raises:
        ConfigError: if it cannot be read, has unknown keys, or names what there is not.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: not readable ({_reason(error)})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected a mapping of title, data, methods and tables")
    small = content.pop(MINIATURE, None)
    if miniature and small is None:
        raise ConfigError(f"{file}: has no part `{MINIATURE}:`; add one, or leave --miniature out")
    try:
        return _grid(file.stem, merged(content, small) if miniature else content)
    except (ConfigError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{file}: not a grid: {error}") from error


def _reason(error: Exception) -> str:
    """Return what is wrong with a file in one line, with the line of a YAML file."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return str(error).splitlines()[0]


def _grid(name: str, content: Settings) -> Grid:
    tables = dict(content.get("tables", {}))
    for each, spec in tables.items():
        lacking = [axis for axis in _NEEDED if axis not in spec]
        require(not lacking, f"tables.{each}", ", ".join(_NEEDED), f"no {', '.join(lacking)}")
    parts: dict[str, list[Any]] = {
        "tables": [from_mapping(TableSpec, {"name": n, **spec}) for n, spec in tables.items()],
        "published": [from_mapping(Published, each) for each in content.get("published", ())],
    }
    for each in parts["published"]:
        require(
            each.table in tables, "table of published", f"some of {', '.join(tables)}", each.table
        )
    grid: Grid = from_mapping(
        Grid, {"name": name, "title": name, "methods": {}, **content, **parts}
    )
    return grid


def merged(first: Settings, *others: Settings) -> dict[str, Any]:
    """Return nested settings in which later ones take the place of earlier ones."""
    result = dict(first)
    for other in others:
        for key, value in other.items():
            before = result.get(key)
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            result[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def nested(words: Sequence[str]) -> dict[str, Any]:
    """Turn `deal.weight=0.1` into {"deal": {"weight": 0.1}}.

    Raises:
        ConfigError: for a word without `=`.
    """
    result: dict[str, Any] = {}
    for word in words:
        path, equals, value = word.partition("=")
        require(bool(equals and path), "set", "words such as optim.epochs=4", word)
        inner: Any = yaml.safe_load(value)
        for name in reversed(path.split(".")):
            inner = {name: inner}
        result = merged(result, inner)
    return result


def with_settings(grid: Grid, words: Sequence[str]) -> Grid:
    """Return the grid with settings of all its trainings, or of one method's.

    Args:
        grid: the grid.
        words: `optim.epochs=4` for all methods, `seam:model.weights=FILE` for one.

    Raises:
        ConfigError: if a word is no setting, or the grid has no such method.
    """
    of_all, of_one = [], {name: list[str]() for name in grid.methods}
    for word in words:
        name, colon, rest = word.partition(":")
        if not colon or "=" in name:
            of_all.append(word)
            continue
        require(name in of_one, "set", f"METHOD: one of {', '.join(of_one)}", name)
        of_one[name].append(rest)
    methods = {
        name: merged(settings, {"set": nested([*of_all, *of_one[name]])})
        for name, settings in grid.methods.items()
    }
    return replace(grid, methods=methods)
