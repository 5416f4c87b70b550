"""Data to fit predictors to and to test them on: measured here, or in public formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

from relay_frontend.errors import InputError
from tvm_costmodel import registry
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent
from tvm_costmodel.predictors.options import typed
from tvm_costmodel.specs import Spec

__all__ = ["FORMATS", "Dataset", "Loading", "open_dataset"]

_READERS = {
    "nnlqp": "nnlqp:nnlqp",
    "nasbench101": "nasbench101:nasbench101",
    "nasbench201": "nasbench201:nasbench201",
    "help": "help_devices:help_devices",
    "cells": "arrays:cells_dataset",
}
_GIVEN_OTHERWISE = ("platforms", "progress")  # keywords of readers that are no options

FORMATS = tuple(_READERS)
"""Public formats, by the name that stands before the colon."""


def open_dataset(
    text: str, platforms: Sequence[str] | None = None, progress: Loading = silent
) -> Dataset[Any]:
    """The data that ``text`` names.

    Args:
        text: a measurement database or a directory of Parquet files, or ``format:path`` with one
            of :data:`FORMATS`; both may carry options in brackets, those of the reader
            (``nasbench201:NATS-tss-v1_0-3ffb9-simple[image_set=cifar100]``).
        platforms: whose latencies; parts of a name that only one has will do for those measured
            here. None means all.
        progress: told after each input.

    Raises:
        InputError: there is nothing of the kind, or it is damaged, or an option is unknown or of
            another type.
    """
    spec = Spec.parse(text)
    kind, colon, path = spec.name.partition(":")
    is_public = bool(colon) and kind in _READERS
    read: Callable[..., Dataset[Any]] = _reader(kind) if is_public else _measured
    options = _options(read, spec)
    if platforms is not None:
        if "platforms" not in signature(read).parameters:
            raise InputError(f"--data {text}: these data belong to no platform, so name none")
        options["platforms"] = platforms
    return read(Path(path) if is_public else spec.name, progress=progress, **options)


def _options(read: Callable[..., Any], spec: Spec) -> dict[str, Any]:
    """The options of ``spec``, each of the type that the keyword of its reader has."""
    hints = get_type_hints(read)
    keywords = [p.name for p in signature(read).parameters.values() if p.kind is p.KEYWORD_ONLY]
    known = [name for name in keywords if name not in _GIVEN_OTHERWISE]
    if unknown := [name for name in spec.options if name not in known]:
        raise InputError(
            f"--data {spec}: there is no option {unknown[0]!r}; known are "
            f"{', '.join(known) or 'none'}"
        )
    return {name: typed(name, value, hints[name]) for name, value in spec.options.items()}


def _reader(kind: str) -> Callable[..., Dataset[Any]]:
    module, function = _READERS[kind].split(":")
    read: Callable[..., Dataset[Any]] = getattr(import_module(f"{__name__}.{module}"), function)
    return read


def _measured(
    path: str,
    *,
    platforms: Sequence[str] | None = None,
    kernels: bool = False,
    progress: Loading = silent,
) -> Dataset[Any]:
    from tvm_costmodel.datasets.measured import measured  # noqa: PLC0415 (needs SQLAlchemy)
    from tvm_costmodel.measurements import open_measurements  # noqa: PLC0415

    with open_measurements(path) as database:
        known = database.platforms()
        names = [registry.resolve_platform(name, known) for name in platforms or known]
        return measured(database, names, kernels=kernels, name=Path(path).name, progress=progress)
