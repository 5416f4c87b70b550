"""Relax products: matrices, attention, recurrent layers."""

from __future__ import annotations

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall


def _simple(op: str) -> Converter:
    return lambda call: call.node(op)


def _einsum(call: RelaxCall) -> Node:
    return call.node("einsum", equation=str(call.attrs.subscripts))


def _recurrent(op: str) -> Converter:
    """A layer as :mod:`relay_frontend.torch.recurrent` writes it."""

    def convert_recurrent(call: RelaxCall) -> Node:
        _, directions, _, hidden = call.type.shape
        return call.node(op, hidden_size=hidden, num_directions=directions)

    return convert_recurrent


_HEADS_FIRST = (0, 2, 1, 3)


def _attention(call: RelaxCall) -> Node:
    """Relax has ``[batch, positions, heads, features]``, the vocabulary positions behind heads."""
    attrs = call.attrs
    if attrs.window_size is not None:
        return call.unknown()
    operands = [_permuted(call, operand) for operand in call.inputs[:3]]
    shape = call.type.shape
    type_ = TensorType(tuple(shape[axis] for axis in _HEADS_FIRST), call.type.dtype)
    has_mask = len(call.inputs) > 3
    node = Node(
        "attention",
        type_,
        [*operands, *call.inputs[3:]],
        {"has_mask": has_mask, "is_causal": attrs.causal_mask is not None},
        source=call.source,
    )
    return call.node("transpose", [node], axes=_HEADS_FIRST)


def _permuted(call: RelaxCall, operand: Node) -> Node:
    if operand.is_constant:
        return operand
    shape = tuple(operand.type.shape[axis] for axis in _HEADS_FIRST)
    type_ = TensorType(shape, operand.type.dtype)
    return Node("transpose", type_, [operand], {"axes": _HEADS_FIRST}, source=call.source)


PRODUCTS: dict[str, Converter] = {
    "einsum": _einsum,
    "matmul": _simple("matmul"),
    "nn.attention": _attention,
    "nn.attention_bias": _attention,
    "recurrent.gru": _recurrent("gru"),
    "recurrent.lstm": _recurrent("lstm"),
    "recurrent.rnn": _recurrent("rnn"),
}
"""Converters by Relax operator."""
