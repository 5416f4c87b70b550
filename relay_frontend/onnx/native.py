"""The native reader of ONNX, and what it asks Python for: ONNX's own inference of shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto
from onnx.onnx_cpp2py_export.shape_inference import infer_shapes as infer_model

from relay_frontend import native
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.nodes import INPUT, Node, constant
from relay_frontend.onnx.constants import dtype_name
from relay_frontend.onnx.types import infer_result_types

MAX_EXTENT = 2**63 - 1

Operand = tuple[int, list[int], "list[Any] | None"]
"""ONNX's element type, shape, and the values of a constant in row-major order."""


def read_native(data: bytes, shapes: Mapping[str, Sequence[int]]) -> OpGraph | None:
    """The graph of an encoded model, or None where Python has to read it."""
    bound = [(name, [int(extent) for extent in shape]) for name, shape in shapes.items()]
    if any(not 0 < extent <= MAX_EXTENT for _, shape in bound for extent in shape):
        return None
    return native.attempt("read_onnx", data, bound, ModelProto.FromString, infer_model, infer_node)


def infer_node(
    model: bytes, opset: int, node: bytes, operands: Sequence[Operand | None]
) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and element type of the results that a node's operands say the type of.

    Args:
        model: an encoded model of nothing but versions.
        opset: version of the default domain.
        node: the encoded node.
        operands: one for each of its inputs; None where an optional one is not given.
    """
    types = infer_result_types(
        NodeProto.FromString(node),
        [None if operand is None else _operand(*operand) for operand in operands],
        ModelProto.FromString(model),
        opset,
    )
    return [(name, type_.shape, type_.dtype) for name, type_ in types.items()]


def _operand(elem_type: int, shape: list[int], values: list[Any] | None) -> Node:
    type_ = TensorType(tuple(shape), dtype_name(elem_type))
    if values is None:
        return Node(INPUT, type_)
    return constant(type_, np.array(values).astype(type_.dtype).reshape(shape))
