"""From plain functions to a command line."""

import inspect
import re
from argparse import SUPPRESS, ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from jsonargparse import ArgumentParser

from dealseg import __version__
from dealseg.config.recipes import recipe_path, recipes
from dealseg.errors import ConfigError

Commands = Mapping[str, Callable[..., int]]

DESCRIPTION = "From RGB-D recordings with image-level tags to pixel masks."

ASKED = ("out", "depth_noise", "format", "labels")
"""Arguments that must be given and are options none the less."""

RECORDED = (
    *("classes", "data_root", "depth_kind", "edited_tags"),
    *("masks_root", "masks_used", "masks_rejected", "masks_missing"),
)
"""What a run's `config.yaml` says of its data; passed over, so that `--config` takes the file."""

_WORDS = {"float": "a number", "bool": "true or false"}
"""Types that some options take beside words such as auto."""


def parse(commands: Commands, argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Parse the command line into a command's name and its arguments.

    Flags, their types and their help come from the functions' signatures and docstrings.

    Raises:
        ConfigError: for an unknown or malformed option, naming the nearest known one.
    """
    parser = _parser(prog="dealseg", description=DESCRIPTION, version=__version__)
    subcommands = parser.add_subcommands(required=True, dest="command")
    for name, function in commands.items():
        help_line = (function.__doc__ or "").splitlines()[0]
        subcommands.add_subcommand(name, _subparser(function, help_line), help=help_line)
    words = _files_first(_with_recipes(normalised(commands, argv)))
    options = (word.partition("=")[0] for word in words if word.startswith("--"))
    typed = [option for option in options if option.removeprefix("--") in RECORDED]
    if typed:
        raise ConfigError(f"unknown option {typed[0]}; the data set says it")
    try:
        parsed = parser.parse_args(words)
        values = parser.instantiate(parsed)[parsed.command].as_dict()
    except ArgumentError as error:
        raise ConfigError(_explained(str(error), commands, words)) from error
    for name in ("config", *RECORDED):
        values.pop(name, None)
    return parsed.command, values


def _with_recipes(words: list[str]) -> list[str]:
    """Let the name of a recipe stand for its file in `train --config NAME`.

    Raises:
        ConfigError: for a word that is neither a file nor a recipe.
    """
    if "train" not in words[:1]:
        return words
    result: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--config" and equals:
            result.append(f"--config={_recipe(value)}")
        else:
            result.append(_recipe(word) if result and result[-1] == "--config" else word)
    return result


def _files_first(words: list[str]) -> list[str]:
    """Bring `--config FILE` before all options, since what the parser reads last counts."""
    files: list[str] = []
    rest = list(words)
    for word, following in pairwise([*words, "--"]):
        if word == "--config" and not following.startswith("--"):
            found = [word, following]
        elif word.startswith("--config="):
            found = [word]
        else:
            continue
        place = rest.index(word)
        del rest[place : place + len(found)]
        files += found
    return [*rest[:1], *files, *rest[1:]]


def _recipe(word: str) -> str:
    """Return a file as it is, and the file of a recipe; folders may have a recipe's name."""
    path, known = Path(word), recipes()
    if word in known and not path.is_file():
        return str(recipe_path(word))
    if (path / "config.yaml").is_file():
        raise ConfigError(f"--config {word}: is a folder; give {path / 'config.yaml'}")
    if path.is_dir():
        listed = ", ".join(known)
        raise ConfigError(f"--config {word}: is a folder; give a YAML file or a recipe: {listed}")
    if not path.exists():
        near = get_close_matches(word, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"recipes: {', '.join(known)}"
        raise ConfigError(f"--config {word}: neither a file nor a recipe; {hint}")
    return word


def _parser(**options: Any) -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, **options)


def _subparser(function: Callable[..., int], description: str) -> ArgumentParser:
    sub = _parser(description=description)
    sub.add_argument("--config", action="config", help="YAML file with any of these options")
    lists = {name for name, kind in inspect.get_annotations(function).items() if kind == list[str]}
    asked = [name for name in ASKED if name in _required(function)]
    sub.add_function_arguments(function, as_positional=True, skip={*lists, *asked})
    for name in lists:
        sub.add_argument(name, nargs="+", help=_help(function, name))
    for name in asked:
        sub.add_argument(f"--{name}", type=str, required=True, help=_help(function, name))
    if any(is_dataclass(p.default) for p in inspect.signature(function).parameters.values()):
        for name in RECORDED:
            sub.add_argument(f"--{name}", type=Any, default=SUPPRESS, help=SUPPRESS)
    return sub


def _help(function: Callable[..., int], name: str) -> str:
    """Return what the docstring says of a parameter, on one line."""
    doc = inspect.getdoc(function) or ""
    found = re.search(rf"^    {name}: (.+(?:\n {{8}}.+)*)", doc, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _explained(message: str, commands: Commands, words: Sequence[str]) -> str:
    """Return an argument error in one line that names the option and the way out."""
    line = " ".join(message.split())
    name = next((word for word in words if word in commands), None)
    if name is None:
        given = next((word for word in words if not word.startswith("-")), "")
        near = get_close_matches(given, commands, 1)
        known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(commands)}"
        return f"no command {given!r}; {known}" if given else f"give a command; {known}"
    if found := re.search(r"arguments are required: (.+)", line):
        missing = [each.split(".")[-1] for each in found[1].split(", ")]
        shown = [f"--{e}".replace("_", "-") if e in ASKED else e.upper() for e in missing]
        return f"{name} needs {' and '.join(shown)}; see dealseg {name} --help"
    if found := re.search(r"(?:nrecognized arguments: --|does not accept option ')([\w.]+)", line):
        where = " (in the --config file)" if "does not accept" in line else ""
        near = get_close_matches(found[1], _options({name: commands[name]}), 1)
        hint = f"did you mean --{near[0]}?" if near else f"see dealseg {name} --help"
        return f"{name} knows no option --{found[1]}{where}; {hint}"
    return _explained_value(line, _required(commands[name]) - set(ASKED))


def _explained_value(line: str, positional: set[str]) -> str:
    if found := re.search(r'Parser key "([\w.]+)": (.+?)\.? (?:Got|Given) value: (.*)$', line):
        shown = found[1].upper() if found[1] in positional else f"--{found[1]}"
        return f"{shown}: expected {_expected(found[2])}, got {found[3]}"
    if found := re.search(r'^Parser key "([\w.]+)": (.+)$', line):
        return f"--{found[1]}: {found[2]}"
    return f"--config: {line}" if re.match(r"(Problems parsing|Unexpected) config", line) else line


def _expected(kind: str) -> str:
    """Say a type without Python's and the parser's words for it."""
    kind = kind.partition("Given value type")[0]
    if literal := re.search(r"Literal\[(.+?)\]", kind):
        others = [word for name, word in _WORDS.items() if f"<class '{name}'>" in kind]
        return " or ".join([*others, literal[1]]) if others else f"one of {literal[1]}"
    if "tuple" in kind:
        elements = re.search(r"\d+(?= elements)", kind)
        return f"{elements[0] if elements else 'some'} numbers such as 1.0,1.5"
    names = dict.fromkeys(re.findall(r"<class '(\w+)'>", kind))
    return " or ".join("null" if each == "NoneType" else each for each in names) or kind


def _options(commands: Commands) -> set[str]:
    """Return the names of all options."""
    names = {"config"}
    for function in commands.values():
        for parameter in inspect.signature(function).parameters.values():
            names.add(parameter.name)
            if is_dataclass(parameter.default):
                names.update(f"{parameter.name}.{f.name}" for f in fields(parameter.default))
    return names


def _required(function: Callable[..., int]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}


def _named(commands: Commands, chosen: Callable[[Any], bool]) -> set[str]:
    """Return the options, of commands and their groups, of a type that is `chosen`, or None."""
    names = set()
    for function in commands.values():
        for parameter in inspect.signature(function).parameters.values():
            if any(map(chosen, _kinds(parameter.annotation))):
                names.add(parameter.name)
            if is_dataclass(parameter.default):
                found = (f for f in fields(parameter.default) if any(map(chosen, _kinds(f.type))))
                names.update(f"{parameter.name}.{f.name}" for f in found)
    return names


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type alone."""
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def normalised(commands: Commands, argv: Sequence[str]) -> list[str]:
    """Bring options to the parser's spelling.

    `--depth-folder` stands for `--depth_folder`, `--resume` for `--resume true`, and
    `--scales 1,1.5` for `--scales [1,1.5]`.
    """
    switches = _named(commands, lambda kind: kind is bool)
    lists = _named(commands, lambda kind: get_origin(kind) is tuple)
    result: list[str] = []
    for position, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            of_a_list = bool(result) and result[-1].removeprefix("--") in lists
            result.append(_bracketed(word) if of_a_list else word)
            continue
        plain = name[2:].replace("-", "_")
        following = argv[position + 1].lower() if position + 1 < len(argv) else ""
        bare = plain in switches and not equals and following not in ("true", "false")
        value = _bracketed(value) if equals and plain in lists else value
        result.append("--" + plain + ("=true" if bare else equals + value))
    return result


def _bracketed(word: str) -> str:
    return word if word.startswith("[") or word == "null" else f"[{word}]"
