"""From ONNX operators to canonical ones: what their attributes and operands say, opset by opset.

A converter gives the node of an operator's first result. What the vocabulary cannot express stays
outside of it under ONNX's own name. The converters are in one module per subject.
"""

from __future__ import annotations

from relay_frontend.errors import NetworkError
from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant
from relay_frontend.onnx import elementwise, moves, normalizations, products, reductions, windows
from relay_frontend.onnx.constants import fold, read_constant_node, read_shape, read_size
from relay_frontend.onnx.node import Converter, OnnxNode
from relay_frontend.vocabulary import plain_operators

PARTS = frozenset({"Split"})
"""Operators whose results are nodes of their own, rather than items of the first."""


def convert(operator: OnnxNode) -> Node:
    """The node of the result of ``operator`` at its position.

    Raises:
        NetworkError: an operand is missing, or there are too many.
    """
    reader = _CONSTANTS.get(operator.name)
    if reader is not None:
        return reader(operator)
    # Weightless models hold their weights as ConstantOfShape of a constant shape.
    if operator.inputs and all(operand.is_constant for operand in operator.inputs):
        return fold(operator)
    needed = _NEEDED.get(operator.name, 0)
    for position in range(needed):
        operator.required(position)
    if operator.name in _EXACT and len(operator.inputs) > needed:
        raise NetworkError(
            f"{operator.name} {operator.source!r} has {len(operator.inputs)} operands, but takes "
            f"{needed}"
        )
    converter = _CONVERTERS.get(operator.name)
    if converter is not None:
        return converter(operator)
    plain = _PLAIN.get(operator.name)
    return operator.node(plain) if plain else operator.unknown()


def further_result(operator: OnnxNode, first: Node, type_: TensorType, index: int) -> Node:
    """The node of a result after the first one, of which it is an item."""
    if first.is_constant or operator.name == "Dropout":  # its mask keeps everything
        return constant(type_)
    return Node("item", type_, [first], {"index": index}, source=operator.source)


_PLAIN = plain_operators("onnx")

_CONSTANTS: dict[str, Converter] = {
    "Constant": read_constant_node,
    "Shape": read_shape,
    "Size": read_size,
}

_CONVERTERS: dict[str, Converter] = {
    **elementwise.CONVERTERS,
    **moves.CONVERTERS,
    **normalizations.CONVERTERS,
    **products.CONVERTERS,
    **reductions.CONVERTERS,
    **windows.CONVERTERS,
}

_BINARY = (
    *("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Gather"),
    *("GatherElements", "GatherND", "Greater", "GreaterOrEqual", "GridSample", "Less"),
    *("LessOrEqual", "MatMul", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Xor"),
)
_TERNARY = (
    *("InstanceNormalization", "RoiAlign", "Scatter", "ScatterElements", "ScatterND", "Where"),
)

_NEEDED: dict[str, int] = {
    **dict.fromkeys((*_PLAIN, *_CONVERTERS), 1),
    **dict.fromkeys((*_BINARY, "Conv", "ConvTranspose"), 2),
    **dict.fromkeys((*_TERNARY, "Attention", "GRU", "LSTM", "RNN"), 3),
}
"""How many leading operands an operator cannot do without."""

_EXACT = frozenset((*_PLAIN.keys() - _CONVERTERS.keys(), *_BINARY, *_TERNARY))
"""Operators that take no further operands."""
