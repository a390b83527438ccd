"""From plain functions to a command line."""

import inspect
import re
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentParser

from dealseg import __version__
from dealseg.errors import ConfigError

Commands = Mapping[str, Callable[..., int]]

DESCRIPTION = "From RGB-D recordings with image-level tags to pixel masks."


def parse(commands: Commands, argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Parse the command line into a command's name and its arguments.

    Flags, their types and their help come from the functions' signatures and docstrings.

    Raises:
        ConfigError: for an unknown or malformed option, naming the nearest known one.
    """
    parser = ArgumentParser(
        prog="dealseg", description=DESCRIPTION, version=__version__, exit_on_error=False
    )
    subcommands = parser.add_subcommands(required=True, dest="command")
    for name, function in commands.items():
        help_line = (function.__doc__ or "").splitlines()[0]
        subcommands.add_subcommand(name, _subparser(function, help_line), help=help_line)
    try:
        parsed = parser.parse_args(normalised(commands, argv))
        values = parser.instantiate_classes(parsed)[parsed.command].as_dict()
    except ArgumentError as error:
        raise ConfigError(_explained(str(error), commands)) from error
    values.pop("config", None)
    return parsed.command, values


def _subparser(function: Callable[..., int], description: str) -> ArgumentParser:
    sub = ArgumentParser(description=description, exit_on_error=False)
    sub.add_argument("--config", action="config", help="YAML file with any of these options")
    lists = {name for name, kind in inspect.get_annotations(function).items() if kind == list[str]}
    for name in lists:
        sub.add_argument(name, nargs="+", help="one or more")
    asked = {"out"} & _required(function)
    sub.add_function_arguments(function, as_positional=True, skip=lists | asked)
    for name in asked:
        sub.add_argument(f"--{name}", type=str, required=True, help="where to write (a new folder)")
    return sub


def _explained(message: str, commands: Commands) -> str:
    """Return an argument error in one line, with the nearest known option."""
    line = " ".join(message.split())
    unknown = re.search(r"(?:[Uu]nrecognized arguments:|Key) \W*([\w.]+)", line)
    near = get_close_matches(unknown[1], _options(commands), 1) if unknown else []
    return f"{line}; did you mean --{near[0]}?" if near else line


def _options(commands: Commands) -> set[str]:
    """Return the names of all options."""
    names = set()
    for function in commands.values():
        for parameter in inspect.signature(function).parameters.values():
            names.add(parameter.name)
            if is_dataclass(parameter.default):
                names.update(f"{parameter.name}.{f.name}" for f in fields(parameter.default))
    return names


def _required(function: Callable[..., int]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}


def _switches(commands: Commands) -> set[str]:
    """Return the names of all options that are true or false, of commands and their groups."""
    names = set()
    for function in commands.values():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.annotation is bool:
                names.add(parameter.name)
            if is_dataclass(parameter.default):
                found = (f.name for f in fields(parameter.default) if f.type is bool)
                names.update(f"{parameter.name}.{name}" for name in found)
    return names


def normalised(commands: Commands, argv: Sequence[str]) -> list[str]:
    """Accept `--depth-folder` for `--depth_folder`, and `--resume` for `--resume true`."""
    switches, result = _switches(commands), []
    for position, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            result.append(word)
            continue
        plain = name[2:].replace("-", "_")
        following = argv[position + 1].lower() if position + 1 < len(argv) else ""
        bare = plain in switches and not equals and following not in ("true", "false")
        result.append("--" + plain + ("=true" if bare else equals + value))
    return result
