"""The kernels that fusion rules give, with the times that measured kernels tell of them.

A build's kernels have blocked layouts, packed weights and changes of layout between them, which
only its compiler knows. What is guessed without one is learned by itself, so that it need not look
like a build's kernels: each guessed kernel takes what those took in which it is found again
(:mod:`tvm_costmodel.predictors.matching`), changes of layout included.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from relay_frontend.fusion import fuse
from relay_frontend.graph import OpGraph
from relay_frontend.kernel import NO_KERNEL, Kernel
from tvm_costmodel.predictors.base import FloatArray, Network
from tvm_costmodel.predictors.configurations import guess_kernels
from tvm_costmodel.predictors.matching import measured_shares


def plain_kernels(graph: OpGraph) -> tuple[Kernel, ...]:
    """The kernels of ``graph`` by their operators and products' weights, ``[num_fused]``.

    Biases are left out. They cost nothing beside a product, and whole families have one in each of
    their convolutions, or in none: trees would take it for what tells such families apart.
    """
    return guess_kernels(graph, biases=False)


def running(kernels: Sequence[Kernel]) -> np.ndarray:
    """Which of ``kernels`` run code, ``[num_kernels]`` bool."""
    return np.array([kernel.name != NO_KERNEL for kernel in kernels], dtype=bool)


def timed_guesses(network: Network) -> tuple[tuple[Kernel, ...], FloatArray]:
    """The guessed kernels of a network that run, and their times in ms, ``[num_running]``.

    NaN where nothing is known. What is known of several together is theirs by the bytes that they
    move.

    Args:
        network: with its measured kernels.
    """
    assert network.kernel_ms is not None
    kernels = plain_kernels(network.graph)
    found = measured_shares(network, fuse(network.graph))
    runs = running(kernels)
    moved = np.array([k.read_bytes + k.write_bytes for k in kernels], dtype=np.float64) * runs
    of_part = np.bincount(found.parts, weights=moved, minlength=len(kernels))[found.parts]
    parts_ms = found.shares[found.parts] * np.sum(network.kernel_ms)
    times_ms = parts_ms * np.divide(moved, of_part, out=np.zeros_like(moved), where=of_part > 0)
    times_ms[times_ms <= 0] = np.nan
    return tuple(itertools.compress(kernels, runs)), times_ms[runs]
