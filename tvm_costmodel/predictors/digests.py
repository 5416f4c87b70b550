"""What tells the inputs of predictors apart: all that is seen of them and learned from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.kernel import Kernel
from tvm_costmodel.predictors.base import Network


def inputs_digest(inputs: Iterable[object]) -> str:
    """SHA-256, as hex, of what predictors see of ``inputs`` and learn from, names aside.

    Of a network that is its graph with the costs, its kernels, their times and its cell. Whatever
    is no network must be told by its ``repr``, as a cell is.
    """
    content = hashlib.sha256()
    graphs: dict[int, str] = {}  # by identity: a network is one graph on all of its platforms
    for one in inputs:
        plain = _network(one, graphs) if isinstance(one, Network) else one
        content.update(f"{plain!r}\n".encode())
    return content.hexdigest()


def _network(network: Network, graphs: dict[int, str]) -> tuple[Any, ...]:
    graph, kernels, times = network.graph, network.kernels, network.kernel_ms
    if id(graph) not in graphs:
        graphs[id(graph)] = _graph(graph)
    return (
        graphs[id(graph)],
        None if kernels is None else [_kernel(kernel) for kernel in kernels],
        None if times is None else np.asarray(times, dtype=np.float64).tolist(),
        network.cell,
    )


def _graph(graph: OpGraph) -> str:
    """The digest of a graph knows no costs: readers may count them in another way."""
    costs = [(o.flops, o.param_bytes, o.read_bytes, o.write_bytes) for o in graph]
    return hashlib.sha256(f"{graph.digest} {costs}".encode()).hexdigest()


def _kernel(kernel: Kernel) -> tuple[Any, ...]:
    types = (_types(kernel.arguments), _types(kernel.results))
    return kernel.name, kernel.kind, kernel.flops, *types


def _types(types: Iterable[TensorType]) -> list[tuple[Any, ...]]:
    return [(t.shape, t.dtype) for t in types]
