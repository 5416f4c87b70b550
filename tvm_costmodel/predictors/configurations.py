"""Kernels by kind and configuration, and the kernels of a network that no compiler has seen.

The features of nn-Meter (Zhang et al., MobiSys 2021, table 4) are what a kernel is configured by:
input size, channels, kernel size, strides, with its FLOPs and its parameters. They are read off the
types of its arguments, so that measured kernels and guessed ones have the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relay_frontend.fusion import kernels_of
from relay_frontend.graph import Operator, OpGraph, TensorType, itemsize
from relay_frontend.kernel import NO_KERNEL, Kernel
from tvm_costmodel.predictors.base import FloatArray, Network

_NUM_DIMS = 4
_LAYOUT_WORDS = frozenset({"nn", "contrib", "NCHWc", "pack", "depthwise", "adaptive", "global"})
_SYNONYMS = {"matmul": "dense", "concat": "concatenate", "fused": "", "divide": "multiply"}


def network_kernels(network: Network) -> list[Kernel]:
    """The kernels of ``network`` that run code: those known, or those that fusion would make."""
    known = network.kernels
    kernels = guess_kernels(network.graph) if known is None else known
    return [kernel for kernel in kernels if kernel.name != NO_KERNEL]


def kernel_kind(kernel: Kernel) -> str:
    """The kind of ``kernel`` without what differs between compilers and layouts.

    ``nn_contrib_conv2d_NCHWc_add_nn_relu`` (Relay) and ``conv2d_add_relu`` (Relax) are one kind. A
    convolution of one input channel per group is depthwise, whatever its compiler calls it.
    """
    words = [_SYNONYMS.get(word, word) for word in kernel.kind.split("_")]
    kept = [word for word in words if word and word not in _LAYOUT_WORDS]
    data, weight, _ = _shapes(kernel)
    if "conv2d" in kept and weight[1] == 1 and data[1] > 1:
        kept.insert(kept.index("conv2d"), "depthwise")
    return "_".join(kept)


def kernel_configurations(kernels: Sequence[Kernel]) -> FloatArray:
    """The features of ``kernels``, ``[num_kernels, 19]``.

    Extents of the input, of the second argument (weights, or what is added) and of the output, four
    each, of blocked layouts as if they were not blocked; two strides; the number of arguments;
    FLOPs, bytes read and written, and FLOPs per byte.
    """
    return np.array([_configuration(kernel) for kernel in kernels], dtype=np.float64)


def guess_kernels(graph: OpGraph, *, biases: bool = True) -> tuple[Kernel, ...]:
    """The kernels into which TVM's fusion rules put the operators of ``graph``, in its order.

    As :func:`relay_frontend.fusion.kernels_of` has them, with weights of the shapes that compilers
    give them, and with biases that are added as operators of their own, or without any.
    """
    return tuple(_as_compiled(graph, kernel, biases) for kernel in kernels_of(graph))


def _as_compiled(graph: OpGraph, kernel: Kernel, biases: bool) -> Kernel:
    own = set(kernel.operators)
    operators = [graph.operators[i] for i in kernel.operators]
    arguments: list[TensorType] = []
    seen: set[int] = set()
    for operator in operators:
        outside = [i for i in dict.fromkeys(operator.inputs) if i not in own and i not in seen]
        seen.update(outside)
        arguments += [_type(graph, i) for i in outside]
        arguments += _parameters(graph, operator, biases)
    words = [word for operator in operators for word in _kind_words(operator, biases)]
    return replace(kernel, kind="_".join(words), arguments=tuple(arguments))


def _kind_words(operator: Operator, biases: bool) -> tuple[str, ...]:
    added = biases and operator.attrs.get("has_bias")
    return (operator.op, "add") if added else (operator.op,)


def _type(graph: OpGraph, index: int) -> TensorType:
    return graph.operators[index].type if index >= 0 else graph.inputs[-1 - index]


def _parameters(graph: OpGraph, operator: Operator, biases: bool) -> list[TensorType]:
    """Types of an operator's weights, as far as its attributes tell, and of the rest as vectors.

    Without ``biases``, nothing but the weights where these are known.
    """
    if not operator.param_bytes:
        return []
    weight = _weight_shape(graph, operator)
    size = itemsize(operator.dtype)
    rest = operator.param_bytes // size - math.prod(weight or (0,))
    if weight is None or rest < 0:
        return [TensorType((operator.param_bytes // size,), operator.dtype)]
    vectors = [TensorType((rest,), operator.dtype)] if rest and biases else []
    return [TensorType(weight, operator.dtype), *vectors]


def _weight_shape(graph: OpGraph, operator: Operator) -> tuple[int, ...] | None:
    if not operator.inputs:
        return None
    data = _type(graph, operator.inputs[0]).shape
    window, groups = operator.attrs.get("kernel_size"), operator.attrs.get("groups")
    if operator.op == "dense":
        return operator.shape[-1], data[-1]
    if not isinstance(window, tuple) or not isinstance(groups, int) or len(data) < 3:
        return None
    if operator.op.endswith("_transpose"):
        return data[1], operator.shape[1] // groups, *window
    channel = -1 if operator.op.endswith("nhwc") else 1
    return operator.shape[channel], data[channel] // groups, *window


def _configuration(kernel: Kernel) -> list[float]:
    data, weight, result = _shapes(kernel)
    strides = [a / b if b else 0.0 for a, b in zip(data[2:], result[2:], strict=True)]
    moved = kernel.read_bytes + kernel.write_bytes
    costs = [kernel.flops, kernel.read_bytes, kernel.write_bytes, kernel.flops / max(moved, 1)]
    return [*data, *weight, *result, *strides, len(kernel.arguments), *costs]


def _shapes(kernel: Kernel) -> tuple[list[int], list[int], list[int]]:
    """Extents of the first two arguments and of the first result, four each."""
    blocked = "NCHWc" in kernel.kind
    types = [*kernel.arguments[:2], *[TensorType(())] * (2 - len(kernel.arguments[:2]))]
    types.append(kernel.results[0] if kernel.results else TensorType(()))
    plain = [_unblocked(t.shape) if blocked else t.shape for t in types]
    data, weight, result = ([*shape, *[0] * _NUM_DIMS][:_NUM_DIMS] for shape in plain)
    return data, weight, result


def _unblocked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """NCHW of NCHW4c, OIHW of OIHW3i16o; other shapes as they are."""
    if len(shape) == 5:
        return shape[0], shape[1] * shape[4], *shape[2:4]
    if len(shape) == 6:
        return shape[0] * shape[5], shape[1] * shape[4], *shape[2:4]
    return shape
