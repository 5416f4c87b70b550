"""Forms of Relax operators that several subjects share."""

from __future__ import annotations

import math

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall


def operand_axis(op: str) -> Converter:
    """The axis is counted in the first operand."""
    return lambda call: call.node(op, axis=int(call.attrs.axis) % call.rank)


def flat(call: RelaxCall) -> Node:
    """The first operand as a vector, which operators without an axis work on."""
    data = call.inputs[0]
    type_ = TensorType((math.prod(data.type.shape),), data.type.dtype)
    return Node("reshape", type_, [data], source=call.source)
