"""Directories of predictors: plain JSON beside plain arrays, written all at once or not at all."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from tvm_costmodel.errors import CheckpointError

VERSION_KEY = "format_version"


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Where to make what becomes ``directory`` as a whole at the end, unless an error is raised.

    Raises:
        CheckpointError: ``directory`` exists and is not an empty directory.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".predictor-") as scratch:
        made = Path(scratch) / "predictor"
        yield made
        try:
            made.rename(directory)
        except OSError as error:
            raise CheckpointError(
                f"cannot write predictor {directory}: {error.strerror}; a predictor is never "
                "overwritten: remove it or choose another directory"
            ) from error


def write_directory(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` by name as a new ``directory``: all of them or none.

    Raises:
        CheckpointError: ``directory`` exists and is not an empty directory.
    """
    with new_directory(directory) as made:
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)


def read_bytes(directory: Path, name: str) -> bytes:
    """The content of a file of ``directory``.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"predictor {directory}: cannot read {name}: {error.strerror}; is this the directory "
            "of another predictor?"
        ) from error


def encode_description(version: int, values: Mapping[str, Any]) -> bytes:
    """``values`` as JSON under a format version.

    Raises:
        CheckpointError: they are not plain, finite JSON values.
    """
    try:
        text = json.dumps({VERSION_KEY: version, **values}, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"a predictor is described by plain, finite JSON values: {error}"
        ) from error
    return f"{text}\n".encode()


def read_description(directory: Path, name: str, version: int) -> dict[str, Any]:
    """What :func:`encode_description` wrote into the file ``name``, without the version.

    Raises:
        CheckpointError: it is missing, no such JSON, or of a newer format than ``version``.
    """
    try:
        description: object = json.loads(read_bytes(directory, name))
    except ValueError as error:
        raise CheckpointError(
            f"predictor {directory}: {name} is not JSON ({error}); the file is damaged: copy or "
            "train the predictor again"
        ) from error
    found = description.pop(VERSION_KEY, None) if isinstance(description, dict) else None
    if not isinstance(description, dict) or not isinstance(found, int) or found < 1:
        raise CheckpointError(f"predictor {directory}: {name} names no format version")
    if found > version:
        raise CheckpointError(
            f"predictor {directory} has format {found}, this version of tvm-costmodel reads up to "
            f"{version}: update the package"
        )
    return description


def sha256(content: bytes) -> str:
    """Digest that a description names a file by."""
    return hashlib.sha256(content).hexdigest()


def read_arrays(directory: Path, name: str, digest: object) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file.

    Args:
        directory: of the predictor.
        name: of the file.
        digest: the SHA-256 that the description has of it.

    Raises:
        CheckpointError: it is missing, damaged, or another file than was described.
    """
    content = read_bytes(directory, name)
    if sha256(content) != digest:
        raise CheckpointError(
            f"predictor {directory}: {name} is not the file that was saved with its description "
            "(SHA-256 differs): copy or train the predictor again"
        )
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"predictor {directory}: {name} is no safetensors file") from error


def encode_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """``arrays`` as a safetensors file."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content: bytes = safetensors.numpy.save(contiguous)
    return content
