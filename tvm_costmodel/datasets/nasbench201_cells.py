"""Cells of NAS-Bench-201 (Dong and Yang, ICLR 2020): as text, as cells, as whole networks.

A cell is a directed acyclic graph of four nodes with an operation on each of its six edges. The
benchmark writes it ``|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|...|``: for
each node after the first, the operations on the edges that lead to it, each with its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from measure.zoo.nasbench201 import (
    EDGES,
    OPERATIONS,
    NASBench201Config,
    all_edges,
    build,
    live_edges,
)
from relay_frontend.cells import Cell
from relay_frontend.errors import InputError
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import read_onnx
from tvm_costmodel.datasets.dataset import BoolArray, Dataset, FloatArray, Loading, silent
from tvm_costmodel.predictors.base import Network

FAMILY = "nasbench201"
IMAGE_SETS = ("cifar10", "cifar100", "ImageNet16-120")

Operations = tuple[str, ...]
"""The operation on each edge of :data:`measure.zoo.nasbench201.EDGES`."""

_OUTPUT_NODE = 3


def parse_architecture(text: str) -> Operations:
    """The operations of a cell in the benchmark's text.

    Raises:
        InputError: ``text`` is no cell of the benchmark.
    """
    operations: dict[tuple[int, int], str] = {}
    for target, node in enumerate(text.split("+"), start=1):
        for part in node.strip("|").split("|"):
            operation, _, source = part.partition("~")
            if operation in OPERATIONS and source.isdigit():
                operations[int(source), target] = operation
    if set(operations) != set(EDGES):
        raise InputError(
            f"{text!r} is no cell of NAS-Bench-201: expected such as "
            "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
        )
    return tuple(operations[edge] for edge in EDGES)


def architecture(operations: Sequence[str]) -> str:
    """The benchmark's text of a cell: the inverse of :func:`parse_architecture`."""
    by_edge = dict(zip(EDGES, operations, strict=True))
    nodes = (
        "|".join(f"{by_edge[source, target]}~{source}" for source in range(target))
        for target in range(1, _OUTPUT_NODE + 1)
    )
    return "+".join(f"|{node}|" for node in nodes)


class Skeleton:
    """The whole networks of cells: the benchmark's own skeleton, three stages of five cells.

    To a compiler, cells that differ only in edges that no path from input to output takes are one
    network, which is made once.

    Args:
        eager: whether every edge is computed, see :class:`NASBench201Config`.
    """

    def __init__(self, *, eager: bool) -> None:
        self.eager = eager
        self._graphs: dict[tuple[tuple[int, int, str], ...], OpGraph] = {}

    def graph(self, operations: Operations) -> OpGraph | None:
        """The operator graph for 32 x 32 images; None where the output hangs on no input."""
        edges = tuple(all_edges(operations) if self.eager else live_edges(operations))
        if not edges:
            return None
        if edges not in self._graphs:
            config = NASBench201Config(cell=operations, eager=self.eager)
            self._graphs[edges] = read_onnx(build(config))
        return self._graphs[edges]


def latency_dataset(
    cells: Sequence[Operations],
    latencies: Mapping[str, FloatArray],
    *,
    name: str,
    conditions: Mapping[str, Any],
    eager: bool = False,
    is_test: BoolArray | None = None,
    progress: Loading = silent,
) -> Dataset[Network]:
    """The whole networks of ``cells`` with their latencies on one or more platforms.

    Where a compiler drops the edges that lead nowhere, cells whose output hangs on no input are
    left out: there is no network to build of them.

    Args:
        cells: their operations.
        latencies: in ms by platform, each ``[num_cells]``; NaN where nothing was measured.
        name: of the data set.
        conditions: of the data set.
        eager: whether every edge is computed, see :class:`NASBench201Config`.
        is_test: the split that comes with the data, ``[num_cells]``.
        progress: told after each cell.
    """
    skeleton = Skeleton(eager=eager)
    graphs = []
    for number, operations in enumerate(cells, start=1):
        graphs.append(skeleton.graph(operations))
        progress(number, len(cells))
    kept = [
        (platform, index)
        for platform, values in latencies.items()
        for index in range(len(cells))
        if graphs[index] is not None and np.isfinite(values[index])
    ]
    indices = np.array([index for _, index in kept], dtype=np.int64)
    networks = tuple(
        Network(
            name=architecture(cells[index]),
            family=FAMILY,
            platform=platform,
            graph=graph,
            cell=Cell.from_nas_bench_201(cells[index]),
        )
        for platform, index in kept
        if (graph := graphs[index]) is not None
    )
    return Dataset(
        name=name,
        task="latency",
        inputs=networks,
        names=tuple(network.name for network in networks),
        families=(FAMILY,) * len(networks),
        platforms=tuple(platform for platform, _ in kept),
        targets=np.array([latencies[platform][index] for platform, index in kept], np.float64),
        is_test=None if is_test is None else is_test[indices],
        conditions={
            **conditions,
            "edges computed": "all" if eager else "those on a path from input to output",
            "cells without a network": graphs.count(None),
        },
    )


def accuracy_dataset(
    cells: Sequence[Operations],
    validation: FloatArray,
    test: FloatArray,
    *,
    name: str,
    conditions: Mapping[str, Any],
) -> Dataset[Cell]:
    """``cells`` with the validation accuracy to learn and the test accuracy to be tested by.

    Args:
        cells: their operations.
        validation: from 0 to 1, ``[num_cells]``.
        test: likewise.
        name: of the data set.
        conditions: of the data set.
    """
    return Dataset(
        name=name,
        task="accuracy",
        inputs=tuple(Cell.from_nas_bench_201(operations) for operations in cells),
        names=tuple(map(architecture, cells)),
        families=(FAMILY,) * len(cells),
        platforms=("",) * len(cells),
        targets=validation,
        test_targets=test,
        conditions=dict(conditions),
    )


def check_image_set(image_set: str) -> None:
    """See that the benchmark has such images.

    Raises:
        InputError: it has not.
    """
    if image_set not in IMAGE_SETS:
        raise InputError(
            f"NAS-Bench-201 has no images {image_set!r}: choose one of {', '.join(IMAGE_SETS)}"
        )
