"""What an operator costs: floating-point operations and bytes, from types alone.

A multiply-add counts as two FLOPs, any other arithmetic on one element as one; moving data counts
none. Each operator is taken alone, as if nothing were fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from relay_frontend.nodes import Node

_SOFTMAX_FLOPS = 5  # subtract the maximum (2 passes), exponentiate, sum, divide
_LRN_FLOPS_PER_ELEMENT = 4  # scale, add bias, power, divide; squaring and summing the window apart


def flops(node: Node) -> int:
    """Floating-point operations of one execution of ``node``."""
    return _FLOPS.get(node.op, _per_output_element)(node)


def param_bytes(node: Node) -> int:
    """Bytes of the constants that ``node`` reads."""
    return sum(operand.type.num_bytes for operand in node.inputs if operand.is_constant)


def read_bytes(node: Node) -> int:
    """Bytes of the data operands that ``node`` reads."""
    return sum(operand.type.num_bytes for operand in node.data_inputs)


def _convolution(node: Node) -> int:
    channels = node.inputs[0].type.shape[1]
    window = math.prod(_ints(node, "kernel_size"))
    multiply_adds = node.type.num_elements * channels // _int(node, "groups") * window
    return 2 * multiply_adds + _bias(node)


def _transposed_convolution(node: Node) -> int:
    data = node.inputs[0].type
    window = math.prod(_ints(node, "kernel_size"))
    channels = node.type.shape[1] // _int(node, "groups")
    return 2 * data.num_elements * channels * window + _bias(node)


def _bias(node: Node) -> int:
    return node.type.num_elements if node.attrs.get("has_bias") else 0


def _product(node: Node) -> int:
    return 2 * node.type.num_elements * node.inputs[0].type.shape[-1] + _bias(node)


def _window(node: Node) -> int:
    return node.type.num_elements * math.prod(_ints(node, "kernel_size"))


def _per_input_element(node: Node) -> int:
    return sum(operand.type.num_elements for operand in node.data_inputs)


def _per_output_element(node: Node) -> int:
    return node.type.num_elements


def _none(_: Node) -> int:
    return 0


def _ints(node: Node, name: str) -> tuple[int, ...]:
    value = node.attrs[name]
    assert isinstance(value, tuple)
    return value


def _int(node: Node, name: str) -> int:
    value = node.attrs[name]
    assert isinstance(value, int)
    return value


_FLOPS: dict[str, Callable[[Node], int]] = {
    "conv2d": _convolution,
    "conv2d_transpose": _transposed_convolution,
    "dense": _product,
    "matmul": _product,
    "batch_norm": lambda node: 2 * node.type.num_elements,
    "lrn": lambda node: node.type.num_elements * (2 * _int(node, "size") + _LRN_FLOPS_PER_ELEMENT),
    "softmax": lambda node: node.type.num_elements * _SOFTMAX_FLOPS,
    "max_pool2d": _window,
    "avg_pool2d": _window,
    "global_avg_pool2d": _per_input_element,
    "global_max_pool2d": _per_input_element,
    "mean": _per_input_element,
    "reduction": _per_input_element,
    "concatenate": _none,
    "reshape": _none,
    "transpose": _none,
    "pad": _none,
    "split": _none,
    "injective": _none,
    "opaque": _none,
}
