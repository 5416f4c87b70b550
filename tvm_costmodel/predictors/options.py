"""Options: plain values by name that change a nested configuration, as the command line gives them.

``width=128`` changes the only field of that name, however deep it is; where several have it, a path
says which: ``tokens.static=logarithm``. Several values are joined by ``+``, none are ``none``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from relay_frontend.errors import InputError

ConfigT = TypeVar("ConfigT")

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def parse_options(text: str) -> dict[str, Any]:
    """The options in ``name=value,name=value``; several values of one are joined by ``+``.

    Raises:
        InputError: a part has no name or no value, or a name occurs twice.
    """
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value) or name in options:
            raise InputError(f"option {part!r} of {text!r}: expected name=value, each name once")
        options[name] = _plain(value)
    return options


def override(config: ConfigT, options: Mapping[str, Any]) -> tuple[ConfigT, dict[str, Any]]:
    """``config`` with those of ``options`` that it knows, and the options that it does not know.

    Args:
        config: a frozen dataclass, whose fields may be such dataclasses.
        options: values by field or by path.

    Raises:
        InputError: several fields have the name, or a value is of another type than the field.
    """
    paths = dict(_paths(config))
    left: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for name, value in options.items():
        matches = [path for path in paths if path == name] or [
            path for path in paths if path.rpartition(".")[2] == name
        ]
        if len(matches) > 1:
            raise InputError(f"option {name!r} could be any of {', '.join(matches)}: say which")
        if matches:
            changes[matches[0]] = typed(name, value, paths[matches[0]])
        else:
            left[name] = value
    return _changed(config, changes), left


def known_options(*configs: object) -> list[str]:
    """Paths of all fields of some configurations, for messages."""
    return sorted({path for config in configs for path, _ in _paths(config)})


def typed(name: str, value: Any, hint: Any) -> Any:
    """``value`` in the type that ``hint`` annotates, as far as nothing is lost by it.

    Args:
        name: of the option, for messages.
        value: of the option, see :func:`parse_options`.
        hint: a plain type, a path, a choice of texts, several of one of them as ``tuple[X, ...]``,
            or any of these or None.

    Raises:
        InputError: it is of another type.
    """
    optional = get_origin(hint) in {Union, UnionType}
    kind = next(part for part in get_args(hint) if part is not NoneType) if optional else hint
    if value is None and optional:
        return None
    try:
        return _several(value, kind) if get_origin(kind) is tuple else _single(value, kind)
    except TypeError:
        raise InputError(
            f"option {name!r} is {value!r}, but {_expected(kind)}{' or none' if optional else ''} "
            "was expected"
        ) from None


def _plain(text: str) -> Any:
    if "+" in text:
        return tuple(_plain(part) for part in text.split("+"))
    try:
        return ast.literal_eval(text.title() if text in {"true", "false", "none"} else text)
    except (SyntaxError, ValueError):
        return text


def _paths(config: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and annotated type of each field."""
    assert is_dataclass(config)
    hints = get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _paths(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", hints[field.name]


def _several(value: Any, kind: Any) -> tuple[Any, ...]:
    """One value is several too; None are none."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    return tuple(_single(one, get_args(kind)[0]) for one in values)


def _single(value: Any, kind: Any) -> Any:
    """``value`` as ``kind``; TypeError where it is none."""
    if get_origin(kind) is Literal:
        kind = str  # which of them, the configuration knows
    if kind is str and value is None:
        return "none"  # the name of a choice
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, bool) and kind is not bool:
        raise TypeError
    if kind is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, kind):
        raise TypeError
    return value


def _expected(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"{_expected(get_args(kind)[0])}, or several joined by +,"
    return " or ".join(get_args(kind)) if get_origin(kind) is Literal else _WORDS[kind]


def _changed(config: Any, changes: Mapping[str, Any], prefix: str = "") -> Any:
    """``config`` with all ``changes`` at once, since one alone may not fit what another leaves."""
    values = {}
    for field in fields(config):
        path, value = f"{prefix}{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            values[field.name] = _changed(value, changes, f"{path}.")
        elif path in changes:
            values[field.name] = changes[path]
    return replace(config, **values)
