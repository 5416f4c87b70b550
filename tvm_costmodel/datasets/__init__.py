"""Data to fit predictors to and to test them on: measured here, or in public formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from relay_frontend.errors import InputError
from tvm_costmodel import registry
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent
from tvm_costmodel.specs import Spec

__all__ = ["FORMATS", "Dataset", "Loading", "open_dataset"]


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
        InputError: there is nothing of the kind, or it is damaged, or an option is unknown.
    """
    spec = Spec.parse(text)
    kind, colon, path = spec.name.partition(":")
    read = FORMATS.get(kind) if colon else None
    options = {**spec.options, "progress": progress}
    if platforms is not None:
        options["platforms"] = platforms
    try:
        return _measured(spec.name, **options) if read is None else read(Path(path), **options)
    except TypeError as error:
        # A reader's options are its keywords, so that it is Python that knows them.
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(f"--data {text}: {str(error).rpartition('got an ')[2]}") from None


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


def _nnlqp(path: Path, **options: Any) -> Dataset[Any]:
    from tvm_costmodel.datasets.nnlqp import nnlqp  # noqa: PLC0415

    return nnlqp(path, **options)


def _nasbench101(path: Path, **options: Any) -> Dataset[Any]:
    from tvm_costmodel.datasets.nasbench101 import nasbench101  # noqa: PLC0415

    return nasbench101(path, **options)


def _nasbench201(path: Path, **options: Any) -> Dataset[Any]:
    from tvm_costmodel.datasets.nasbench201 import nasbench201  # noqa: PLC0415

    return nasbench201(path, **options)


def _help(path: Path, **options: Any) -> Dataset[Any]:
    from tvm_costmodel.datasets.help_devices import help_devices  # noqa: PLC0415

    return help_devices(path, **options)


def _cells(path: Path, **options: Any) -> Dataset[Any]:
    from tvm_costmodel.datasets.arrays import cells_dataset  # noqa: PLC0415

    return cells_dataset(path, **options)


FORMATS: dict[str, Callable[..., Dataset[Any]]] = {
    "nnlqp": _nnlqp,
    "nasbench101": _nasbench101,
    "nasbench201": _nasbench201,
    "help": _help,
    "cells": _cells,
}
"""Readers of public formats by the name that stands before the colon."""
