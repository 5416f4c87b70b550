"""Forms of Relay operators that several subjects share."""

from __future__ import annotations

from relay_frontend.relay.node import Converter


def first_operand(op: str) -> Converter:
    """An operator whose further operands say what its result's type says as well."""
    return lambda operator: operator.node(op, operator.inputs[:1])


def along_axis(op: str, rank_of_result: bool = False) -> Converter:
    """An operator with one axis, counted in its operand or in its result."""
    return lambda o: o.node(op, axis=o.axis(rank=len(o.type.shape) if rank_of_result else None))
