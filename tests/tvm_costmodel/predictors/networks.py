"""Small networks and cells with invented latencies and accuracies, for tests of predictors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from onnx import helper

from relay_frontend.cells import NAS_BENCH_201, Cell
from relay_frontend.graph import OpGraph
from relay_frontend.onnx import read_onnx
from tests.networks import model
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.configurations import guess_kernels

PLATFORM = "testium-1-1c/tvm-relax/llvm/t1/float32"
OTHER_PLATFORM = "testium-1-1c/tvm-relay/llvm/t1/float32"


def convolutions(depth: int, width: int, size: int = 8) -> OpGraph:
    """``depth`` residual convolutions of ``width`` channels, then a classifier."""
    node = helper.make_node
    nodes: list[Any] = [node("Conv", ["x", "w"], ["r0"], pads=[1, 1, 1, 1])]
    for i in range(depth):
        nodes += [
            node("Conv", [f"r{i}", f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
            node("Relu", [f"c{i}"], [f"a{i}"]),
            node("Add", [f"a{i}", f"r{i}"], [f"r{i + 1}"]),
        ]
    nodes += [
        node("GlobalAveragePool", [f"r{depth}"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "v", "b"], ["y"], transB=1),
    ]
    weights: dict[str, Any] = {f"w{i}": (width, width, 3, 3) for i in range(depth)}
    weights |= {"w": (width, 3, 3, 3), "v": (10, width), "b": (10,)}
    return read_onnx(model(nodes, (1, 3, size, size), weights))


@lru_cache
def small_networks() -> tuple[Network, ...]:
    """A dozen networks, each with timed kernels."""
    return tuple(_network(depth, width) for depth in (1, 2, 3, 4) for width in (8, 16, 32))


def latencies(networks: tuple[Network, ...]) -> np.ndarray:
    """What the kernels of ``networks`` take together, ``[num_networks]``."""
    times = [network.kernel_ms for network in networks]
    return np.array([t.sum() for t in times if t is not None])


def _network(depth: int, width: int) -> Network:
    graph = convolutions(depth, width)
    kernels = guess_kernels(graph)
    return Network(
        name=f"convolutions-{depth}-{width}",
        family=f"depth-{depth}",
        platform=PLATFORM,
        graph=graph,
        kernels=kernels,
        kernel_ms=np.array([0.01 + k.flops / 1e7 for k in kernels]),
    )


@lru_cache
def small_cells() -> tuple[Cell, ...]:
    """Two dozen cells of NAS-Bench-201."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(1, len(NAS_BENCH_201) - 1, (24, 6))
    return tuple(Cell.from_nas_bench_201([NAS_BENCH_201[i] for i in row]) for row in drawn)


def accuracies(cells: tuple[Cell, ...]) -> np.ndarray:
    """More with each convolution, ``[num_cells]``."""
    convolutions = [sum("conv" in label for label in cell.operators) for cell in cells]
    return 0.3 + 0.1 * np.array(convolutions, dtype=np.float64)
