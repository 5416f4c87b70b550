"""Relay reductions and what else goes along an axis: positions of extremes, running sums."""

from __future__ import annotations

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node
from relay_frontend.relay.node import Converter, RelayNode


def _reduced(operator: RelayNode) -> tuple[int, ...]:
    """The axes of a reduction, sorted."""
    attrs, rank = operator.attrs, operator.rank
    if attrs.axis is None:
        return tuple(range(rank))
    axes = sorted(axis % rank for axis in operator.ints("axis"))
    if bool(attrs.exclude):
        axes = [axis for axis in range(rank) if axis not in axes]
    return tuple(axes)


def _reduction(op: str) -> Converter:
    # The variance has its mean as second operand, which is computed for it alone.
    return lambda o: o.node(op, o.inputs[:1], axes=_reduced(o), keepdims=bool(o.attrs.keepdims))


def _arg(op: str) -> Converter:
    def convert_one(operator: RelayNode) -> Node:
        axes = _reduced(operator)
        if len(axes) != 1:
            return operator.unknown()
        return operator.node(op, axis=axes[0], keepdims=bool(operator.attrs.keepdims))

    return convert_one


def _cumsum(operator: RelayNode) -> Node:
    exclusive = operator.attrs.exclusive
    if operator.attrs.axis is None or (exclusive is not None and int(exclusive)):
        return operator.unknown()
    return operator.node("cumsum", axis=operator.axis())


def _top_k(operator: RelayNode) -> Node:
    axis = operator.axis()
    shape = operator.type.shape
    if str(operator.attrs.ret_type) != "indices":
        return operator.node("top_k", operator.inputs[:1], axis=axis, k=shape[axis])
    values = TensorType(shape, operator.inputs[0].type.dtype)
    base = Node("top_k", values, operator.inputs[:1], {"axis": axis, "k": shape[axis]})
    base.source = operator.source
    return operator.node("item", [base], index=1)


CONVERTERS: dict[str, Converter] = {
    **{op: _reduction(op) for op in ("mean", "sum", "max", "min", "prod", "variance")},
    **{op: _arg(op) for op in ("argmax", "argmin")},
    "cumsum": _cumsum,
    "topk": _top_k,
}
"""Converters by Relay operator."""
