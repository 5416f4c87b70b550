"""Relay operators on one element at a time: activations, types, those of integers."""

from __future__ import annotations

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant
from relay_frontend.relay.forms import first_operand
from relay_frontend.relay.node import Converter, RelayNode


def _clip(operator: RelayNode) -> Node:
    return operator.node("clip", min=float(operator.attrs.a_min), max=float(operator.attrs.a_max))


def _bias_add(operator: RelayNode) -> Node:
    """An addition whose vector is aligned by shape, not by an axis."""
    data, bias = operator.inputs
    trailing = operator.rank - 1 - operator.axis()
    aligned = TensorType(bias.type.shape + (1,) * trailing, bias.type.dtype)
    if bias.is_constant:
        return operator.node("add", [data, constant(aligned)])
    reshaped = Node("reshape", aligned, [bias], source=operator.source)
    return operator.node("add", [data, reshaped])


def _prelu(operator: RelayNode) -> Node:
    return operator.node("prelu", operator.inputs[:2])


def _quantization(op: str) -> Converter:
    def convert_one(operator: RelayNode) -> Node:
        per_axis = operator.inputs[1].type.num_elements > 1
        axis = operator.axis() if per_axis else -1
        return operator.node(op, axis=axis)

    return convert_one


def _requantize(operator: RelayNode) -> Node:
    per_axis = operator.inputs[3].type.num_elements > 1
    return operator.node("quantize", axis=operator.axis() if per_axis else -1)


def _of_integers(op: str, count: int) -> Converter:
    """An operator whose operands behind the first ``count`` are scales and zero points."""
    return lambda operator: operator.node(op, operator.inputs[:count])


_ON_INTEGERS = {
    **{op: (op, 2) for op in ("add", "subtract")},
    "mul": ("multiply", 2),
    **{op: (op, 1) for op in ("abs", "erf", "exp", "log", "rsqrt", "sigmoid", "sqrt", "tanh")},
    "hardswish": ("hard_swish", 1),
}


CONVERTERS: dict[str, Converter] = {
    **{f"qnn.{name}": _of_integers(*spec) for name, spec in _ON_INTEGERS.items()},
    "cast_like": first_operand("cast"),
    "celu": lambda o: o.node("celu", alpha=float(o.attrs.alpha)),
    "clip": _clip,
    "nn.bias_add": _bias_add,
    "nn.dropout": first_operand("identity"),
    "nn.leaky_relu": lambda o: o.node("leaky_relu", alpha=float(o.attrs.alpha)),
    "nn.prelu": _prelu,
    "qnn.dequantize": _quantization("dequantize"),
    "qnn.quantize": _quantization("quantize"),
    "qnn.requantize": _requantize,
}
"""Converters by Relay operator."""
