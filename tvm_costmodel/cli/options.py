"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from relay_frontend.errors import InputError
from tvm_costmodel.rendering import Format

DEFAULT_DATABASE = "measurements.db"
_ALL = "all"
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}

NetworkArgument = Annotated[Path, typer.Argument(help="An ONNX file, with or without weights.")]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", help="Static shape of an input, as name=1,3,224,224; repeatable."),
]
PlatformOption = Annotated[
    str, typer.Option(help="Name of the platform, or parts of it that only one has (tvm-relay).")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
CheckpointsOption = Annotated[
    str | None, typer.Option(help="Directory that `train` wrote; by default the package's own.")
]
DatabaseOption = Annotated[str, typer.Option(help="Path or URL of the measurement database.")]
MeasurementsOption = Annotated[
    str,
    typer.Option(help="Path or URL of a measurement database, or a directory of Parquet files."),
]
SizeOption = Annotated[str, typer.Option(help="Size of the zoo's networks: standard or small.")]


def note(message: str) -> None:
    """Tell people something beside the output, on standard error."""
    print(message, file=sys.stderr)


def parse_shapes(options: list[str] | None) -> dict[str, tuple[int, ...]]:
    """``name=1,3,224,224`` as a mapping; the last ``=`` divides, since names may contain one.

    Raises:
        InputError: an option has another form.
    """
    shapes = {}
    for option in options or []:
        name, separator, dims = option.rpartition("=")
        try:
            shapes[name] = tuple(int(dim) for dim in dims.split(","))
        except ValueError:
            separator = ""
        if not separator or not name:
            raise InputError(f"--shape {option!r}: expected name=1,3,224,224")
    return shapes


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``2h``, ``90m``, ``45s`` or ``45``.

    Raises:
        InputError: ``text`` has another form, or lasts no time at all.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(found.group(1)) * _SECONDS[found.group(2)] if found else 0.0
    if seconds <= 0:
        raise InputError(f"duration {text!r}: expected such as 2h, 90m, 45s, or plain seconds")
    return seconds


def parse_names(option: str) -> list[str]:
    """The names of a list by commas."""
    return [name.strip() for name in option.split(",") if name.strip()]


def parse_families(option: str) -> list[str]:
    """The families of the zoo that an option names; ``all`` means every one.

    Raises:
        UnknownFamilyError: there is no such family.
    """
    from measure.zoo import FAMILIES, check_family  # noqa: PLC0415 (makes networks)

    names = parse_names(option)
    if names == [_ALL]:
        return list(FAMILIES)
    for name in names:
        check_family(name)
    return names
