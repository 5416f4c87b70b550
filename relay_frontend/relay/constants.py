"""Constant expressions of a few elements, and what depends on shapes alone.

Importers write bounds, axes and positions as arithmetic of constants. Only values of a few elements
are computed; a longer constant is one whose value nobody needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relay_frontend.nodes import SMALL, Node, constant
from relay_frontend.relay.node import Converter, RelayNode


def folded(operator: RelayNode) -> np.ndarray | None:
    """The content of a small constant expression, where all of its operands are known."""
    evaluate = _FOLDS.get(operator.name)
    if operator.type.num_elements > SMALL or evaluate is None:
        return None
    values = []
    for operand in operator.inputs:
        if operand.value is None or operand.type.num_elements > SMALL:
            return None
        values.append(np.broadcast_to(operand.value, operand.type.shape))
    with np.errstate(all="ignore"):
        result = np.asarray(evaluate(operator, *values))
    if result.shape != operator.type.shape:
        result = result.reshape(operator.type.shape)
    # Numpy lacks bfloat16: its values are float32, as those of constants.
    dtype = operator.type.dtype
    return result.astype("float32" if dtype == "bfloat16" else dtype)


def _shape_of(operator: RelayNode) -> Node:
    shape = np.asarray(operator.inputs[0].type.shape)
    return constant(operator.type, shape.astype(operator.type.dtype))


def _size(operator: RelayNode) -> Node:
    size = operator.inputs[0].type.num_elements
    return constant(operator.type, np.full(operator.type.shape, size, operator.type.dtype))


def _strided_values(operator: RelayNode, data: np.ndarray) -> np.ndarray:
    begin, strides = slice_bounds(operator)
    extents = operator.type.shape
    index = tuple(
        begin[axis] + strides[axis] * np.arange(extents[axis]) for axis in range(data.ndim)
    )
    return data[np.ix_(*index)]


def _filled(operator: RelayNode) -> Node:
    """A tensor of one value, which is kept once however large the tensor is."""
    value: Any = _FILLS.get(operator.name)
    if value is None:
        fill = operator.inputs[-1 if operator.name == "full_like" else 0]
        if not fill.is_constant:
            return operator.node("broadcast_to", [fill])
        value = fill.value
    one = (1,) * len(operator.type.shape)
    return constant(operator.type, None if value is None else np.full(one, value))


def permutation(operator: RelayNode) -> tuple[int, ...]:
    axes, rank = operator.attrs.axes, operator.rank
    return tuple(reversed(range(rank)) if axes is None else (int(a) % rank for a in axes))


def slice_bounds(operator: RelayNode) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First index and step of each dimension."""
    attrs, shape = operator.attrs, operator.inputs[0].type.shape
    rank = len(shape)
    starts = operator.ints("begin")
    steps = (1,) * rank
    if str(attrs.slice_mode) != "size" and attrs.strides is not None:
        given = operator.ints("strides")
        steps = given if len(given) == len(starts) else given * len(starts)
    axes = range(len(starts)) if attrs.axes is None else operator.ints("axes")
    begin, strides = [0] * rank, [1] * rank
    for position, axis in enumerate(axes):
        extent, step = shape[axis], steps[position]
        start = starts[position] + (extent if starts[position] < 0 else 0)
        last = extent if step > 0 else extent - 1
        begin[axis] = min(max(start, 0), last)
        strides[axis] = step
    return tuple(begin), tuple(strides)


_FILLS = {"ones": 1, "ones_like": 1, "zeros": 0, "zeros_like": 0}
OF_SHAPE: dict[str, Converter] = {
    **dict.fromkeys((*_FILLS, "full", "full_like"), _filled),
    "ndarray_size": _size,
    "shape_of": _shape_of,
}
"""What depends on the shapes of operands alone."""

_FOLDS: dict[str, Callable[..., Any]] = {
    "add": lambda _, a, b: a + b,
    "broadcast_to": lambda o, a: np.broadcast_to(a, o.type.shape),
    "cast": lambda _, a: a,
    "concatenate": lambda o, *parts: np.concatenate(parts, int(o.attrs.axis)),
    "divide": lambda o, a, b: a / b if "float" in o.type.dtype else a // b,
    "equal": lambda _, a, b: a == b,
    "expand_dims": lambda _, a: a,
    "greater": lambda _, a, b: a > b,
    "isnan": lambda _, a: np.isnan(a),
    "less": lambda _, a, b: a < b,
    "maximum": lambda _, a, b: np.maximum(a, b),
    "minimum": lambda _, a, b: np.minimum(a, b),
    "multiply": lambda _, a, b: a * b,
    "negative": lambda _, a: -a,
    "power": lambda _, a, b: a**b,
    "reshape": lambda _, a: a,
    "rsqrt": lambda _, a: 1 / np.sqrt(a),
    "sqrt": lambda _, a: np.sqrt(a),
    "squeeze": lambda _, a: a,
    "strided_slice": _strided_values,
    "subtract": lambda _, a, b: a - b,
    "take": lambda o, a, i: np.take(a, i, None if o.attrs.axis is None else int(o.attrs.axis)),
    "transpose": lambda o, a: np.transpose(a, permutation(o)),
    "where": lambda _, c, a, b: np.where(c, a, b),
}
