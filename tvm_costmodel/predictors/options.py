"""Options: plain values by name that change a nested configuration, as the command line gives them.

``width=128`` changes the only field of that name, however deep it is; where several have it, a path
says which: ``tokens.static=logarithm``. Several values are joined by ``+``, none are ``none``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from relay_frontend.errors import InputError

ConfigT = TypeVar("ConfigT")


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
        InputError: several fields have the name, or a value is of another type than the present.
    """
    paths = {path: (value, optional) for path, value, optional in _paths(config)}
    left: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    for name, value in options.items():
        matches = [path for path in paths if path == name] or [
            path for path in paths if path.rpartition(".")[2] == name
        ]
        if len(matches) > 1:
            raise InputError(f"option {name!r} could be any of {', '.join(matches)}: say which")
        if matches:
            changes[matches[0]] = _like(*paths[matches[0]], value, name)
        else:
            left[name] = value
    return _changed(config, changes), left


def known_options(*configs: object) -> list[str]:
    """Paths of all fields of some configurations, for messages."""
    return sorted({path for config in configs for path, _, _ in _paths(config)})


def _plain(text: str) -> Any:
    if "+" in text:
        return tuple(_plain(part) for part in text.split("+"))
    try:
        return ast.literal_eval(text.title() if text in {"true", "false", "none"} else text)
    except (SyntaxError, ValueError):
        return text


def _paths(config: object, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Path and value of each field, and whether it may be None."""
    assert is_dataclass(config)
    hints = get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _paths(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value, NoneType in get_args(hints[field.name])


def _like(present: object, optional: bool, value: Any, name: str) -> Any:
    """``value`` in the type of the present one, as far as nothing is lost by it."""
    if isinstance(present, tuple) and not isinstance(value, tuple):
        return () if value is None else (value,)
    if isinstance(present, str) and value is None:
        return "none"  # the name of a choice
    if isinstance(present, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if value is None and optional:
        return None
    if present is not None and type(value) is not type(present):
        raise InputError(
            f"option {name!r} is {value!r}, but a {type(present).__name__} such as {present!r} was "
            "expected"
        )
    return value


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
