"""The floors of the house: imports go down only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "dealseg"
FLOORS = [
    {"__main__"},
    {"cli"},
    {"demo", "arguments", "experiments"},
    {"report"},
    {"judging", "predicting", "deploying", "reviewing"},
    {"training", "labeling", "evaluation", "exporting", "estimating", "draw"},
    {"models", "data"},
    {"losses", "cam", "depth", "noise", "refine", "metrics"},
    {"config", "pictures"},
    {"errors", "process"},
]
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
PURE = {"losses", "cam", "depth", "noise", "refine", "metrics"}
FORBIDDEN_IN_PURE = {"lightning", "logging", "pathlib", "yaml", "json", "os", "PIL", "matplotlib"}
FILES = sorted(SRC.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base
            if base == "dealseg":
                yield from (f"dealseg.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "dealseg" and len(parts) > 1}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_down_only(path):
    here = room(path)
    if here == "__init__":
        return
    for other in rooms_imported(path) - {here, "__version__"}:
        below = FLOOR_OF[other] > FLOOR_OF[here]
        beside = {here, other} <= PURE and other != "losses"
        assert below or beside, f"{path.name} in {here} imports {other}"


def test_every_module_has_a_floor():
    assert {room(path) for path in FILES} - {"__init__"} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in PURE], ids=str)
def test_pure_rooms_know_no_files_and_no_frameworks(path):
    assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN_IN_PURE


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_only_training_imports_lightning_and_only_report_matplotlib(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert "lightning" not in tops or room(path) == "training"
    assert "matplotlib" not in tops or room(path) == "report"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_source_has_no_assert_print_or_hard_device(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), node.lineno
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert name != "cuda", node.lineno
            assert name != "print" or room(path) == "cli", node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False) or ""
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - doc.count("\n")
            assert lines <= 50, f"{node.name} has {lines} lines"
