"""What an operator costs: floating-point operations and bytes, from types alone.

A multiply-add counts as two FLOPs, any other arithmetic on one element as one; moving data counts
none. Each operator is taken alone, as if nothing were fused. Which rule an operator follows stands
in the vocabulary's table, as ``rule`` or ``rule*factor``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from relay_frontend.graph import Operator
from relay_frontend.nodes import Node
from relay_frontend.operators import OPERATORS

LRN_FLOPS_PER_ELEMENT = 4  # scale, add bias, power, divide; squaring and summing the window apart
SOFTMAX_FLOPS = 5  # subtract the maximum (2 passes), exponentiate, sum, divide

_ONE_EXPONENTIAL = (
    *("exp", "log", "softmax", "log_softmax", "sigmoid", "silu", "elu", "selu", "celu"),
    *("sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "asinh", "acosh", "atanh"),
)
TRANSCENDENTALS: dict[str, int] = {
    **dict.fromkeys(_ONE_EXPONENTIAL, 1),
    # As TVM 0.16 fuses them into a convolution on a core with AVX-512, where an exponential takes 3
    # to 4 ns.
    **dict.fromkeys(("tanh", "softplus", "power", "lrn"), 2),
    **dict.fromkeys(("erf", "gelu"), 4),
    "mish": 5,
}
"""Exponentials that take as long as an element of the output, by operator; none of the others."""


def flops(node: Node) -> int:
    """Floating-point operations of one execution of ``node``."""
    rule, _, factor = OPERATORS[node.op].cost.partition("*")
    return RULES[rule](node) * int(factor or 1)


def transcendentals(operator: Operator) -> int:
    """Transcendental functions that ``operator`` evaluates, in exponentials that take as long.

    They are among its FLOPs too, and counted apart as in XLA's ``HloCostAnalysis``, since they need
    many instructions each. An attention has a softmax over its scores, of which there are as many
    as its FLOPs tell (with as many features in the values as in the queries).
    """
    if operator.op == "attention" and operator.shape:
        return operator.flops // (4 * operator.shape[-1] + 1 + SOFTMAX_FLOPS)
    return TRANSCENDENTALS.get(operator.op, 0) * operator.type.num_elements


def param_bytes(node: Node) -> int:
    """Bytes of the constants that ``node`` reads."""
    return sum(operand.type.num_bytes for operand in node.inputs if operand.is_constant)


def read_bytes(node: Node) -> int:
    """Bytes of the data operands that ``node`` reads."""
    return sum(operand.type.num_bytes for operand in node.data_inputs)


def _convolution(node: Node) -> int:
    channel_axis = -1 if node.op.endswith("nhwc") else 1
    channels = node.inputs[0].type.shape[channel_axis]
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


def _einsum(node: Node) -> int:
    """Two for each combination of the indices that occur (``ij,jk->ik``).

    Dimensions under an ellipsis are told apart by their distance from its end, as in broadcasting.
    """
    equation = node.attrs["equation"]
    assert isinstance(equation, str)
    terms = equation.replace(" ", "").split("->")[0].split(",")
    extents: dict[str, int] = {}
    for term, operand in zip(terms, node.inputs, strict=False):
        shape = operand.type.shape
        before, _, after = term.partition("...")
        hidden = len(shape) - len(before) - len(after)
        names = [*before, *(f"...{i}" for i in range(hidden, 0, -1)), *after]
        for name, extent in zip(names, shape, strict=False):
            extents[name] = max(extent, extents.get(name, 1))
    return 2 * math.prod(extents.values())


def _attention(node: Node) -> int:
    """Two products and a softmax over ``[..., queries, keys]``; the mask is added."""
    query, key, value = (operand.type.shape for operand in node.inputs[:3])
    scores = math.prod(query[:-1]) * key[-2]
    mask = 1 if node.attrs["has_mask"] else 0
    return scores * (2 * query[-1] + 2 * value[-1] + 1 + mask + SOFTMAX_FLOPS)


def _recurrent(node: Node) -> int:
    """Per gate and step a product with the input and one with the state, and four more.

    Operands are the sequence ``[length, batch, inputs]``, the weights
    ``[directions, gates * hidden, inputs]``, and more that costs nothing of note.
    """
    length, batch, inputs = node.inputs[0].type.shape
    hidden, directions = _int(node, "hidden_size"), _int(node, "num_directions")
    return length * batch * directions * hidden * (2 * inputs + 2 * hidden + 4)


def _window(node: Node) -> int:
    return node.type.num_elements * math.prod(_ints(node, "kernel_size"))


def _lrn(node: Node) -> int:
    return node.type.num_elements * (2 * _int(node, "size") + LRN_FLOPS_PER_ELEMENT)


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


RULES: dict[str, Callable[[Node], int]] = {
    "attention": _attention,
    "convolution": _convolution,
    "einsum": _einsum,
    "elements": _per_output_element,
    "inputs": _per_input_element,
    "lrn": _lrn,
    "none": _none,
    "product": _product,
    "recurrent": _recurrent,
    "transposed_convolution": _transposed_convolution,
    "window": _window,
}
