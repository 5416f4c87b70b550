"""What kernel-sum sees of a fused kernel, read off its kind and the types of its tensors.

Nothing here needs a build beyond the list of kernels: the blocks of a layout such as NCHW16c stand
in the types of a kernel's arguments, and how a loop is unrolled follows from the divisors of its
extent (:mod:`relay_frontend.tiling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relay_frontend.costs import TRANSCENDENTALS
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.tiling import (
    largest_divisor,
    stalls,
    tile_of_image,
    tile_of_matmul,
    tile_of_product,
)
from tvm_costmodel.predictors.base import FloatArray
from tvm_costmodel.predictors.configurations import kernel_configurations

VERSION = 3
"""Of the features; checkpoints name theirs. Those of 1 come first in those of 2 and 3."""

ROOFLINE_COSTS = ("vector operations", "stalls", "exponentials", "bytes", "calls")
"""As the prior of NAR-Former V2's preset ``best`` has them."""

_NUM_ARGUMENTS = 3  # data, weight, bias or residual
_NUM_DIMS = 6  # NCHW4c weights have six
_NUM_PLAIN = 14  # extents without blocks, and strides, among kernel_configurations
_NUM_EXTENTS = 12  # of which these are extents
_UNROLLED = 31  # topi.x86 unrolls rows by their largest divisor up to it
_LANES = 16  # numbers of float32 in a vector of AVX-512
_RISING = ("FLOPs", "bytes read", "bytes written")  # the first three columns after the words


def kernel_words(kernel: Kernel) -> list[str]:
    """The words of a kernel's kind."""
    return kernel.kind.split("_")


def kernel_features(
    kernels: Sequence[Kernel], words: Sequence[str], version: int = VERSION
) -> FloatArray:
    """What the trees see of each kernel, ``[num_kernels, num_features]``.

    How often each word occurs in its kind; log1p of FLOPs, bytes read and written, and FLOPs per
    byte; log1p of the extents of its first three arguments and its result, as they are; the number
    of arguments. From version 2 on also: log1p of the extents of data, weights and result as if no
    layout were blocked, strides, blocks, divisors of the innermost extents, the number of results,
    and log1p of elements, of FLOPs per element of the result, and of exponentials. Version 2 counts
    exponentials for each element of the result, also where a kernel computes them before it
    broadcasts them, as those of squeeze-and-excitation do.
    """
    index = {word: i for i, word in enumerate(words)}
    counts = np.zeros((len(kernels), len(words)))
    for row, kernel in enumerate(kernels):
        for word in kernel_words(kernel):
            if word in index:
                counts[row, index[word]] += 1
    configurations = kernel_configurations(kernels)
    plain, num_arguments, costs = np.split(configurations, [_NUM_PLAIN, _NUM_PLAIN + 1], axis=1)
    shapes = np.array([_extents(kernel) for kernel in kernels], dtype=np.float64)
    columns = [counts, np.log1p(costs), np.log1p(shapes), num_arguments]
    if version > 1:
        columns += [np.log1p(plain[:, :_NUM_EXTENTS]), plain[:, _NUM_EXTENTS:]]
        columns += [np.array([_loops(kernel) for kernel in kernels], dtype=np.float64)]
        sizes = np.array([_sizes(kernel, version) for kernel in kernels], dtype=np.float64)
        columns += [np.log1p(sizes)]
    return np.concatenate(columns, axis=1)


def rising(words: Sequence[str], num_features: int) -> tuple[int, ...]:
    """1 for each feature that a kernel cannot take less time for more of, else 0.

    FLOPs and bytes, all else being equal.
    """
    first = len(words)
    return tuple(int(first <= i < first + len(_RISING)) for i in range(num_features))


def roofline_costs(kernels: Sequence[Kernel], version: int = VERSION) -> FloatArray:
    """What a kernel does, by :data:`ROOFLINE_COSTS`, ``[num_kernels, 5]``."""
    rows = []
    for kernel in kernels:
        lanes, unrolled = _tile(kernel)
        operations = kernel.flops / lanes
        moved = kernel.read_bytes + kernel.write_bytes
        exponentials = _exponentials(kernel, version)
        rows.append((operations, stalls(operations, unrolled), exponentials, moved, 1))
    return np.array(rows, dtype=np.float64).reshape(-1, len(ROOFLINE_COSTS))


def _extents(kernel: Kernel) -> list[int]:
    scalar = TensorType(())
    arguments = (*kernel.arguments, *[scalar] * _NUM_ARGUMENTS)[:_NUM_ARGUMENTS]
    result = kernel.results[0] if kernel.results else scalar
    padded = [(*t.shape, *[0] * _NUM_DIMS)[:_NUM_DIMS] for t in (*arguments, result)]
    return [extent for shape in padded for extent in shape]


def _loops(kernel: Kernel) -> list[int]:
    """Blocks of data, result and weights (two), divisors of the result's extents, its results."""
    data, weight, result = _three(kernel)
    blocks = [shape[4] if len(shape) == 5 else 0 for shape in (data, result)]
    blocks += weight[4:6] if len(weight) == 6 else (0, 0)
    height, width = result[2:4] if len(result) >= 4 else (0, (0, *result)[-1])
    last, before = (0, 0, *result)[-1], (0, 0, *result)[-2]
    return [
        *blocks,
        *(largest_divisor(extent, _UNROLLED) for extent in (width, height)),
        *(largest_divisor(extent, _LANES) for extent in (last, before)),
        width % _LANES,
        len(kernel.results),
    ]


def _sizes(kernel: Kernel, version: int) -> list[float]:
    """Elements of data, weights and result, FLOPs per element of the result, exponentials."""
    data, weight, result = (TensorType(shape).num_elements for shape in _three(kernel))
    each = kernel.flops / max(result, 1)
    return [data, weight, result, each, _exponentials(kernel, version)]


def _exponentials(kernel: Kernel, version: int) -> int:
    """Transcendental functions, in exponentials that take as long."""
    words = kernel_words(kernel)
    each = sum(TRANSCENDENTALS.get(word, 0) for word in words)
    elements = sum(result.num_elements for result in kernel.results)
    if version > 2 and words[0] in TRANSCENDENTALS and kernel.arguments:
        elements = min(elements, kernel.arguments[0].num_elements)
    return each * elements


def _tile(kernel: Kernel) -> tuple[int, int]:
    """Results in a vector and vectors beside each other, as :func:`relay_frontend.tiling.tile`."""
    words = kernel_words(kernel)
    shape = _three(kernel)[2]
    if "conv2d" in words:
        plain = [int(extent) for extent in kernel_configurations([kernel])[0, :_NUM_EXTENTS]]
        data, weight, result = plain[:4], plain[4:8], plain[8:]
        groups = data[1] // max(weight[1], 1)
        # Trees tell grouped convolutions by their plain layout; the start knows their vectors only.
        channels = result[1] // groups if 1 < groups < result[1] else result[1]
        pointwise = weight[2:] == [1, 1]
        return tile_of_image(channels, 1, result[2:], _LANES, _UNROLLED, pointwise=pointwise)
    if "dense" in words:
        return tile_of_product((0, *shape)[-1], math.prod(shape[:-1]), _LANES, _UNROLLED)
    if "matmul" in words:
        return tile_of_matmul(_LANES)
    return max(1, largest_divisor((0, *shape)[-1], _LANES)), _UNROLLED


def _three(kernel: Kernel) -> list[tuple[int, ...]]:
    """Shapes of the first two arguments and of the first result; of scalars where there is none."""
    arguments = [t.shape for t in kernel.arguments[:2]]
    results = [t.shape for t in kernel.results[:1]]
    return [*arguments, *[()] * (2 - len(arguments)), *(results or [()])]
