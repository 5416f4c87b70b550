"""The few functions of TIR that TVM's ONNX importer calls where Relax has no operator.

Attributes are read from their bodies, which are one store each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from tvm import tirx
from tvm_ffi import Array, Object

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant
from relay_frontend.relax.call import Converter, RelaxCall

_FIELDS = ("body", "block", "value", "args", "condition", "true_value", "false_value", "a", "b")


def _parts(statement: Any) -> Iterator[Any]:
    """The statements and expressions of a body, in order; those within positions are left out."""
    stack = [statement]
    while stack:
        part = stack.pop()
        yield part
        children: list[Any] = []
        for name in _FIELDS:
            field = getattr(part, name, None)
            if isinstance(field, Array):
                children.extend(field)
            elif isinstance(field, Object):
                children.append(field)
        stack.extend(reversed(children))


def _loads(function: Any) -> list[Any]:
    """All reads of the function's operands."""
    return [part for part in _parts(function.body) if type(part).__name__ == "TensorLoad"]


def _float(function: Any) -> float:
    """The only number that is no position."""
    parts = _parts(function.body)
    return [float(part.value) for part in parts if isinstance(part, tirx.FloatImm)][-1]


def _offset(index: Any) -> int:
    """``c`` where a position is ``v - c``, at least between the borders."""
    for part in _parts(index):
        if isinstance(part, tirx.Sub) and isinstance(part.a, tirx.Var):
            return int(part.b.value)
    return 0


def _bound(op: str) -> Converter:
    """A maximum or minimum, one of whose operands may be a number in the body."""

    def convert(call: RelaxCall) -> Node:
        if len(call.inputs) > 1:
            return call.node(op)
        bound = constant(TensorType((), call.type.dtype), np.array(_float(call.attrs)))
        return call.node(op, [*call.inputs, bound])

    return convert


def _pad(op: str) -> Converter:
    def convert(call: RelaxCall) -> Node:
        before = tuple(_offset(index) for index in _loads(call.attrs)[-1].indices)
        extents = zip(call.inputs[0].type.shape, call.type.shape, before, strict=True)
        after = tuple(whole - extent - first for extent, whole, first in extents)
        node = call.node(op, pad_width=(*before, *after))
        if op == "pad":
            node.attrs["value"] = _float(call.attrs)
        return node

    return convert


def _tile(call: RelaxCall) -> Node:
    shape, result = call.inputs[0].type.shape, call.type.shape
    aligned = (1,) * (len(result) - len(shape)) + shape
    return call.node("tile", repeats=tuple(r // s for r, s in zip(result, aligned, strict=True)))


def _resize1d(call: RelaxCall) -> Node:
    """One position is read for the nearest, two for a line, four for a cubic curve."""
    order = {1: 0, 2: 1, 4: 3}.get(len(_loads(call.attrs)))
    return call.unknown() if order is None else call.node("resize", order=order)


def _unknown(call: RelaxCall) -> Node:
    return call.unknown()


TIR: dict[str, Converter] = {
    "tir.circular_pad": _unknown,
    "tir.einsum": _unknown,
    "tir.flip": _unknown,
    "tir.maximum": _bound("maximum"),
    "tir.minimum": _bound("minimum"),
    "tir.mirror_pad": _pad("pad_edge"),
    "tir.pad": _pad("pad"),
    "tir.replicate_pad": _pad("pad_edge"),
    "tir.resize1d": _resize1d,
    "tir.resize3d": _unknown,
    "tir.tile": _tile,
}
"""Converters by the name that the importer gives a function, without its number.

Their calls have the function in place of attributes.
"""
