"""Forms of ONNX operators that several subjects share."""

from __future__ import annotations

import numpy as np

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant
from relay_frontend.onnx.node import Converter


def first_operand(op: str) -> Converter:
    """An operator whose further operands say what its result's type says as well."""
    return lambda operator: operator.node(op, [operator.data])


def scalar(value: float, dtype: str) -> Node:
    """A constant of one element, with its value."""
    return constant(TensorType((), dtype), np.array(value))
