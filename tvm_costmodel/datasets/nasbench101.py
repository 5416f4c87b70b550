"""NAS-Bench-101 (Ying et al., ICML 2019): the accuracies of its 423,624 cells.

Two forms of the same data are read:

- ``nasbench_only108.tfrecord`` or ``nasbench_full.tfrecord``. A record is its length (8 bytes,
  little-endian), a checksum of the length (4), the content, a checksum of the content (4); the
  checksums are CRC-32C, masked, and that of the length is looked at here. The content is the JSON
  list ``[hash, epochs, adjacency, operations, metrics]``: a text of n x n digits, names by commas,
  and in base64 a message ``ModelMetrics`` of protobuf. Each cell has three trainings.
- the JSON that the public code of NAR-Former V2 makes of it: for each index
  ``validation_accuracy``, ``test_accuracy``, ``module_adjacency`` and ``module_operations``.

Accuracies are those at the end of 108 epochs on CIFAR-10, means over the trainings of a cell.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent

FAMILY = "nasbench101"
EPOCHS = 108

_MASK_DELTA = 0xA282EAD8
_CRC_POLYNOMIAL = 0x82F63B78
_VALIDATION_FIELD, _TEST_FIELD = 4, 5
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LAST_EVALUATION = 2  # of three: before training, half-way, at the end

_Result = tuple[str, Cell, float, float]


def nasbench101(path: Path, *, progress: Loading = silent) -> Dataset[Cell]:
    """Cells with their accuracies, in the order of the file.

    Args:
        path: a ``.tfrecord`` or ``.json`` file.
        progress: told of the bytes, or entries, that were read.

    Raises:
        InputError: the file is none of these, or damaged.
    """
    try:
        read = _exported if path.suffix == ".json" else _recorded
        found = list(read(path, progress))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
        raise InputError(
            f"{path} has not the form of NAS-Bench-101's files: {type(error).__name__}: {error}"
        ) from error
    if not found:
        raise InputError(f"{path} has no cell that was trained for {EPOCHS} epochs")
    names, cells, validation, test = zip(*found, strict=True)
    return Dataset(
        name="nasbench101",
        task="accuracy",
        inputs=cells,
        names=names,
        families=(FAMILY,) * len(cells),
        platforms=("",) * len(cells),
        targets=np.array(validation),
        test_targets=np.array(test),
        conditions={
            "source": "NAS-Bench-101 (Ying et al., ICML 2019)",
            "learned": f"validation accuracy on CIFAR-10, {EPOCHS} epochs, mean over trainings",
            "tested": f"test accuracy on CIFAR-10, {EPOCHS} epochs, mean over trainings",
        },
    )


def _exported(path: Path, progress: Loading) -> Iterator[_Result]:
    content = json.loads(path.read_text(encoding="utf-8"))
    for number, (index, entry) in enumerate(content.items(), start=1):
        cell = Cell.from_nas_bench_101(entry["module_operations"], entry["module_adjacency"])
        yield index, cell, entry["validation_accuracy"], entry["test_accuracy"]
        progress(number, len(content))


def _recorded(path: Path, progress: Loading) -> Iterator[_Result]:
    cells: dict[str, Cell] = {}
    accuracies: dict[str, list[tuple[float, float]]] = {}
    for record in read_records(path, progress):
        digest, epochs, adjacency, operations, metrics = json.loads(record)
        if epochs != EPOCHS:
            continue
        if digest not in cells:
            labels = operations.split(",")
            matrix = np.array([int(digit) for digit in adjacency])
            cells[digest] = Cell.from_nas_bench_101(labels, matrix.reshape(len(labels), -1))
        accuracies.setdefault(digest, []).append(_final_accuracies(base64.b64decode(metrics)))
    for digest, cell in cells.items():
        validation, test = np.mean(accuracies[digest], axis=0)
        yield digest, cell, float(validation), float(test)


def read_records(path: Path, progress: Loading = silent) -> Iterator[bytes]:
    """The contents of the records of a TFRecord file.

    Raises:
        InputError: it is no such file, or cut off.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        while head := file.read(12):
            length, checksum = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
            if checksum != masked_crc32c(head[:8]):
                raise InputError(
                    f"{path} is no TFRecord file, or damaged: at byte {file.tell() - len(head)} "
                    "the checksum of a record's length is wrong"
                )
            content = file.read(length + 4)
            if len(content) < length + 4:
                raise InputError(f"{path} is cut off at byte {file.tell()}: load it down again")
            yield content[:length]
            progress(file.tell(), total)


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _crc_of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_CRC_POLYNOMIAL if value & 1 else 0)
    return value


_CRC_TABLE = [_crc_of_byte(value) for value in range(256)]


def _final_accuracies(message: bytes) -> tuple[float, float]:
    """Validation and test accuracy at the end of training, from a message ``ModelMetrics``."""
    evaluations = [value for field, value in _fields(message) if field == 1]
    final = dict(_fields(evaluations[_LAST_EVALUATION]))
    (validation,), (test,) = (
        struct.unpack("<d", final[field]) for field in (_VALIDATION_FIELD, _TEST_FIELD)
    )
    return validation, test


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field of a protobuf message that is no plain integer."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            _, position = _varint(message, position)
            continue
        if kind == _LENGTH:
            length, position = _varint(message, position)
        elif kind in {_FIXED64, _FIXED32}:
            length = 8 if kind == _FIXED64 else 4
        else:
            raise binascii.Error(f"protobuf has no fields of the kind {kind}")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
