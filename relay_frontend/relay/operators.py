"""From Relay operators to canonical nodes: one converter per operator that has attributes.

The converters are in one module per subject.
"""

from __future__ import annotations

from relay_frontend.nodes import Node, constant
from relay_frontend.relay import elementwise, moves, normalizations, products, reductions, windows
from relay_frontend.relay.constants import OF_SHAPE, folded
from relay_frontend.relay.node import Converter, RelayNode
from relay_frontend.vocabulary import plain_operators


def convert(operator: RelayNode) -> Node:
    """The canonical node of ``operator``; one outside of the vocabulary keeps its own name."""
    of_shape = OF_SHAPE.get(operator.name)
    if of_shape is not None:
        return of_shape(operator)
    if all(operand.is_constant for operand in operator.inputs):
        return constant(operator.type, folded(operator))
    if operator.first is not None and operator.name not in _PARTS:
        return _further_result(operator)
    converter = _CONVERTERS.get(operator.name)
    if converter is not None:
        return converter(operator)
    plain = _PLAIN.get(operator.name)
    return operator.node(plain) if plain else operator.unknown()


def _further_result(operator: RelayNode) -> Node:
    if operator.name == "nn.batch_norm":
        return constant(operator.type)  # running statistics, which inference leaves alone
    assert operator.first is not None
    return operator.node("item", [operator.first], index=operator.position)


_PLAIN = plain_operators("relay")
_PARTS = frozenset({"split"})
"""Operators of which each result is a node of its own."""

_CONVERTERS: dict[str, Converter] = {
    **elementwise.CONVERTERS,
    **moves.CONVERTERS,
    **normalizations.CONVERTERS,
    **products.CONVERTERS,
    **reductions.CONVERTERS,
    **windows.CONVERTERS,
}
