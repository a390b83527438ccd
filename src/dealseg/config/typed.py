"""Plain values, as YAML files have them, for the options that dataclasses declare."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from dealseg.config.checks import require

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "null",
}


def as_kind(name: str, kind: Any, value: Any) -> Any:
    """Return a value as an option of this kind takes it: lists become tuples.

    A text that is a number in Python but not in YAML 1.1 (`1e-3`) is one; whole numbers stay whole
    where a fraction is allowed. Kinds that YAML does not have are not looked at.

    Args:
        name: of the option, for messages.
        kind: the type that was declared.
        value: what the file says.

    Raises:
        ConfigError: if the value is of another kind.
    """
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is tuple:
        return _list(name, get_args(kind), value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        require(isinstance(value, Mapping), name, "keys and values", value)
        inner = get_args(kind)[1]
        return {key: as_kind(f"{name}.{key}", inner, each) for key, each in value.items()}
    if origin in (Union, UnionType):
        return _union(name, kind, value)
    if kind is float and isinstance(value, str):
        value = _number(value)
    require(_fits(kind, value), name, _words(kind), value)
    return value


def _list(name: str, kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    require(isinstance(value, list | tuple), name, "a list", value)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    require(len(kinds) == len(value), name, f"a list of {len(kinds)}", value)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(as_kind(f"{name}[{place}]", kind, each) for place, (kind, each) in pairs)


def _union(name: str, kind: Any, value: Any) -> Any:
    """Take null for null, and anything else for the other kind; there is never a third."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    if value is None or len(kinds) > 1:
        return value
    if get_origin(kinds[0]) is None:
        told = _number(value) if kinds[0] is float and isinstance(value, str) else value
        require(_fits(kinds[0], told), name, _words(kind), value)
    return as_kind(name, kinds[0], value)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(value, bool) and kind in (int, float):
        return False
    if kind is float:
        return isinstance(value, int | float)
    return not isinstance(kind, type) or isinstance(value, kind)


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        *first, last = map(str, get_args(kind))
        return " or ".join([", ".join(first), last] if first else [last])
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_words(each) for each in get_args(kind))
    if get_origin(kind) is None and isinstance(kind, type):
        return "keys and values" if issubclass(kind, Mapping) else _WORDS.get(kind, kind.__name__)
    return str(kind)
