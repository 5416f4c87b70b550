"""Relay products: of matrices, and sums of products in general."""

from __future__ import annotations

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant
from relay_frontend.relay.node import Converter, RelayNode


def _swapped(node: Node) -> Node:
    """``node`` with its last two dimensions swapped."""
    shape = node.type.shape
    swapped = TensorType((*shape[:-2], shape[-1], shape[-2]), node.type.dtype)
    if node.is_constant:
        return constant(swapped)
    rank = len(shape)
    axes = (*range(rank - 2), rank - 1, rank - 2)
    return Node("transpose", swapped, [node], {"axes": axes}, source=node.source)


def _product(*, transpose_a: bool | None, transpose_b: bool | None) -> Converter:
    """A product of matrices; ``None`` where an attribute says whether one lies transposed.

    That of integers has scales and zero points as further operands.
    """

    def convert_one(operator: RelayNode) -> Node:
        a, b = operator.inputs[:2]
        if operator.attrs.transpose_a if transpose_a is None else transpose_a:
            a = _swapped(a)
        if operator.attrs.transpose_b if transpose_b is None else transpose_b:
            b = _swapped(b)
        return _matmul(operator, a, b)

    return convert_one


def _matmul(operator: RelayNode, a: Node, b: Node) -> Node:
    shape = b.type.shape
    if b.is_constant and all(extent == 1 for extent in shape[:-2]):
        b = constant(TensorType(shape[-2:], b.type.dtype))  # one matrix for the whole stack
    return operator.node("matmul", [a, b])


def _einsum(operator: RelayNode) -> Node:
    return operator.node("einsum", equation=str(operator.attrs.equation))


CONVERTERS: dict[str, Converter] = {
    "einsum": _einsum,
    "nn.batch_matmul": _product(transpose_a=None, transpose_b=None),
    "nn.dense": _product(transpose_a=False, transpose_b=True),
    "nn.matmul": _product(transpose_a=None, transpose_b=None),
    "qnn.batch_matmul": _product(transpose_a=False, transpose_b=True),
    "qnn.dense": _product(transpose_a=False, transpose_b=True),
}
"""Converters by Relay operator."""
