"""What the README, the glossary and the pages of the documentation promise holds."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDERS = {"SEED": "0", "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT": "1/8"}


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


def examples_in(page, *languages):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_commands_of_the_readme_exist():
    from dealseg.cli import COMMANDS

    named = set(re.findall(r"^dealseg ([\w-]+)", README, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_of_a_page_is_one_that_the_program_takes(page, tmp_path, monkeypatch):
    from dealseg.arguments import parse
    from dealseg.cli import COMMANDS

    (tmp_path / "OTHER_RUN").mkdir()
    (tmp_path / "OTHER_RUN/config.yaml").write_text("seed: 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for example in examples_in(page, "sh", "bash", ""):
        for line in example.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:torchrun .* -m )?dealseg (.*)", line):
                words = [PLACEHOLDERS.get(w, w) for w in shlex.split(found[1], comments=True)]
                parse({words[0]: COMMANDS[words[0]]}, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_name_that_a_page_imports_from_the_package_exists(page):
    for example in examples_in(page, "python"):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dealseg"):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), example
