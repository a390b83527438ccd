"""What `dealseg check` found: figures, problems, and their table."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal

from dealseg.data.description import METRES

PLAUSIBLE_METRES = (0.05, 50.0)
"""Median distances outside of it are taken for a wrong unit."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: an `error` would make training wrong; a `warning` may make it worse.
        kind: two or three words, the same for like problems.
        file: where it is.
        message: expected, found, and the way out, on one line.
    """

    severity: Severity
    kind: str
    file: str
    message: str


@dataclass(frozen=True)
class CheckReport:
    """Figures over a data set and its problems.

    Attributes:
        root: folder of the data set.
        format: `folder`, `bop`, `voc` or `coco`.
        split: part that was checked, None for all.
        images: number of images listed.
        opened: number of them whose files were read.
        tag_counts: images that carry each class.
        background_only: images that are said to hold no class.
        untagged: images of which nobody says what is in them.
        with_depth: images that have a depth file.
        with_mask: images that have a ground truth.
        valid_share: mean share of pixels with depth, over the depth files read.
        median_depth: median over the files of their median depth; metres if metric.
        unit: unit of the stored depth times its scale, `1` for disparity and relative.
        size_mismatches: depth maps read whose size is not the image's.
        problems: errors first, then by kind and file.
        facts: which list was read and where its tags come from, if the format leaves a choice.
        class_ids: the data set's own id of each mask value, None where it has none.
    """

    root: str
    format: str
    split: str | None
    images: int
    opened: int
    tag_counts: Mapping[str, int]
    background_only: int
    untagged: int
    with_depth: int
    with_mask: int
    valid_share: float | None
    median_depth: float | None
    unit: str
    size_mismatches: int
    problems: tuple[Problem, ...]
    facts: tuple[str, ...] = ()
    class_ids: Mapping[str, int] | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return what would make training wrong."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Return what may make training worse."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def ok(self) -> bool:
        """Say whether there is no error."""
        return not self.errors

    @property
    def unit_guess(self) -> str:
        """Return the unit in which the median depth is plausible: the stated one if it is."""
        return guess_unit(self.unit, self.median_depth)

    def to_json(self) -> str:
        """Return all figures and problems as JSON text."""
        return json.dumps({**asdict(self), "ok": self.ok, "unit_guess": self.unit_guess}, indent=2)

    def table(self, *, examples: int = 3) -> str:
        """Return figures, every error, and of each kind of warning the first `examples`."""
        lines = [*self._figures(), "", *self._class_rows(), "", f"errors: {len(self.errors)}"]
        lines += [f"  {problem.file}: {problem.message}" for problem in self.errors]
        lines.append(f"warnings: {len(self.warnings)}")
        return "\n".join([*lines, *_grouped(self.warnings, examples)])

    def _figures(self) -> Iterator[str]:
        split = "" if self.split is None else f", split {self.split}"
        yield f"data set  {self.root} ({self.format}{split})"
        for fact in self.facts:
            yield f"          {fact}"
        yield f"images    {self.images}, of which {self.opened} were opened"
        yield f"tags      {self.background_only} background only, {self.untagged} untagged"
        yield f"depth     {self.with_depth} of {self.images} images{self._depth_text()}"
        yield f"masks     {self.with_mask} of {self.images} images"

    def _depth_text(self) -> str:
        if self.valid_share is None or self.median_depth is None:
            return ""
        unit = " m" if self.unit in METRES else ""
        return (
            f", {100 * self.valid_share:.1f} % of pixels valid, median {self.median_depth:.3g}"
            f"{unit}, unit {self.unit} (looks like {self.unit_guess}), "
            f"{self.size_mismatches} of another size than the image"
        )

    def _class_rows(self) -> Iterator[str]:
        wide = max((len(name) for name in self.tag_counts), default=5)
        yield f"{'class':<{wide}}  images"
        for name, count in self.tag_counts.items():
            yield f"{name:<{wide}}  {count:>6}"


def guess_unit(unit: str, median: float | None) -> str:
    """Return the unit in which a median depth is plausible.

    Args:
        unit: the stated one.
        median: median depth in metres under the stated unit.

    Returns:
        The stated unit if the median is plausible or the depth is not metric, else `mm`, `m`,
        `cm`, ... whichever makes it plausible first, else `unclear`.
    """
    if unit not in METRES or median is None:
        return unit
    stored = median / METRES[unit]
    for candidate in (unit, "mm", "m", "cm", "dm", "um"):
        if PLAUSIBLE_METRES[0] <= stored * METRES[candidate] <= PLAUSIBLE_METRES[1]:
            return candidate
    return "unclear"


def _grouped(problems: tuple[Problem, ...], examples: int) -> Iterator[str]:
    for kind, group in groupby(problems, key=lambda problem: problem.kind):
        alike = list(group)
        for problem in alike[:examples]:
            yield f"  {kind}: {problem.file}: {problem.message}"
        if len(alike) > examples:
            yield f"  {kind}: and {len(alike) - examples} more"
