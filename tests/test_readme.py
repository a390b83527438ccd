"""What the README and the glossary promise holds."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_trains_the_backbone():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    torch.manual_seed(0)
    names: dict = {}
    exec(compile(code[1], "README.md", "exec"), names)
    gradients = [p.grad for p in names["network"].parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert -1 <= float(names["align"].detach()) <= 1


def test_the_python_example_is_short():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    assert sum(bool(line.strip()) for line in code[1].splitlines()) <= 15


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_commands_of_the_readme_exist():
    from dealseg.cli import COMMANDS

    named = set(re.findall(r"^dealseg ([\w-]+)", README, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)
