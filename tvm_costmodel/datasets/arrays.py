"""Cells of NAS-Bench-201 and what was measured of them, as plain numpy arrays (``.npz``).

Keys of all such files:

- ``ops`` ``[num_cells, 6]``: the operation on each edge, as an index into ``op_names``;
- ``op_names``: names of operations, those of :data:`measure.zoo.nasbench201.OPERATIONS`;
- ``edges`` ``[6, 2]``: source and target node of each edge.

Files of latencies: ``latency_ms`` ``[num_cells]``, or ``[num_devices, num_cells]`` with the names
in ``devices``; and ``is_test`` ``[num_cells]`` where the data come with a split.

Files of accuracies: ``test_acc_200ep`` ``[num_cells, num_image_sets]`` in %, with the names in
``datasets``; and, where it is known, ``valid_acc_200ep`` likewise. Without it predictors learn the
test accuracy too, which :attr:`Dataset.conditions` then says.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from measure.zoo.nasbench201 import EDGES, OPERATIONS
from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from tvm_costmodel.datasets.dataset import Dataset, Loading, silent
from tvm_costmodel.datasets.nasbench201_cells import (
    Operations,
    accuracy_dataset,
    check_image_set,
    latency_dataset,
)
from tvm_costmodel.predictors.base import Network

_Arrays = dict[str, npt.NDArray[np.generic]]


def cells_dataset(
    path: Path,
    *,
    platforms: Sequence[str] | None = None,
    image_set: str = "cifar10",
    eager: bool = False,
    count: int | None = None,
    progress: Loading = silent,
) -> Dataset[Network] | Dataset[Cell]:
    """What is in ``path``: whole networks with latencies, or cells with accuracies.

    Args:
        path: an ``.npz`` file.
        platforms: names of devices; all by default. Without names in the file its own name is one.
        image_set: whose accuracies.
        eager: whether the latencies include edges that lead nowhere, as HELP's do, see
            :class:`measure.zoo.nasbench201.NASBench201Config`.
        count: take the first so many cells only.
        progress: told after each network.

    Raises:
        InputError: the file has other keys, or lacks a device or an image set.
    """
    arrays = _read(path)
    try:
        cells = _cells(arrays)[:count]
        if "latency_ms" in arrays:
            return _latencies(path, arrays, cells, platforms, eager=eager, progress=progress)
        return _accuracies(path, arrays, cells, image_set)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{path} lacks what describes cells ({type(error).__name__}: {error}); "
            "tvm_costmodel.datasets.arrays tells which arrays there have to be"
        ) from error


def _read(path: Path) -> _Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no .npz file of plain arrays ({error})") from None


def _cells(arrays: _Arrays) -> list[Operations]:
    names = [str(name) for name in arrays["op_names"].tolist()]
    edges = [tuple(edge) for edge in arrays["edges"].tolist()]
    if not set(names) <= set(OPERATIONS) or sorted(edges) != sorted(EDGES):
        raise ValueError("op_names or edges are not those of NAS-Bench-201")
    order = [edges.index(edge) for edge in EDGES]
    return [tuple(names[op] for op in ops) for ops in arrays["ops"][:, order].tolist()]


def _latencies(
    path: Path,
    arrays: _Arrays,
    cells: list[Operations],
    platforms: Sequence[str] | None,
    *,
    eager: bool,
    progress: Loading,
) -> Dataset[Network]:
    latency_ms = np.atleast_2d(arrays["latency_ms"].astype(np.float64))
    known = [str(name) for name in arrays["devices"].tolist()] if "devices" in arrays else []
    known = known or [path.stem]
    chosen = known if platforms is None else list(platforms)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise InputError(f"{path} has no device {unknown[0]!r}; there are {', '.join(known)}")
    is_test = arrays["is_test"].astype(bool)[: len(cells)] if "is_test" in arrays else None
    return latency_dataset(
        cells,
        {name: latency_ms[known.index(name), : len(cells)] for name in chosen},
        name=path.stem,
        conditions={"source": path.name},
        eager=eager,
        is_test=is_test,
        progress=progress,
    )


def _accuracies(
    path: Path, arrays: _Arrays, cells: list[Operations], image_set: str
) -> Dataset[Cell]:
    check_image_set(image_set)
    column = [str(name) for name in arrays["datasets"].tolist()].index(image_set)
    test = arrays["test_acc_200ep"].astype(np.float64)[: len(cells), column] / 100
    learned = "valid_acc_200ep" if "valid_acc_200ep" in arrays else "test_acc_200ep"
    return accuracy_dataset(
        cells,
        arrays[learned].astype(np.float64)[: len(cells), column] / 100,
        test,
        name=f"{path.stem}-{image_set}",
        conditions={
            "source": path.name,
            "learned": f"{learned} of {image_set}",
            "tested": f"test_acc_200ep of {image_set}",
        },
    )
