"""Values that Relax modules compute from constants: bounds, positions, shapes, scales.

Importers write the negative positions of a ``Gather`` as a chain of ``shape_of``, ``less``, ``add``
and ``where``. Only values of a few elements are computed; a longer constant is one whose value
nobody needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relay_frontend.graph import TensorType
from relay_frontend.nodes import SMALL
from relay_frontend.relax.call import RelaxCall

_Values = list[np.ndarray]


def fold(call: RelaxCall, type_: TensorType) -> np.ndarray | None:
    """The value of a constant call, where it is short and computed from known values."""
    evaluate = _EVALUATE.get(call.name)
    if evaluate is None or type_.num_elements > SMALL:
        return None
    values = [operand.value for operand in call.inputs]
    known = [value for value in values if value is not None]
    if len(known) != len(values) and call.name not in _BY_TYPE:
        return None
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(evaluate(call, known))
            value = value if type_.dtype == "bfloat16" else value.astype(type_.dtype)
    except (ArithmeticError, IndexError, TypeError, ValueError):
        return None
    return value if value.shape == type_.shape else None


def _numpy(function: Callable[..., Any]) -> Callable[[RelaxCall, _Values], Any]:
    return lambda _, values: function(*values)


def _axis(function: Callable[..., Any]) -> Callable[[RelaxCall, _Values], Any]:
    return lambda call, values: function(values, int(call.attrs.axis))


def _reshaped(call: RelaxCall, values: _Values) -> Any:
    return values[0].reshape(call.type.shape)


def _divided(_: RelaxCall, values: _Values) -> np.ndarray:
    a, b = values
    return np.trunc(a / b) if np.issubdtype(a.dtype, np.integer) else a / b


def _taken(call: RelaxCall, values: _Values) -> np.ndarray:
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    return np.take(values[0], values[1].astype(np.int64), axis, mode="wrap")


def _sliced(call: RelaxCall, values: _Values) -> np.ndarray:
    bounds = [[int(value.value) for value in argument.fields] for argument in call.args[1:]]
    axes, starts, ends = bounds[:3]
    steps = bounds[3] if len(bounds) > 3 else [1] * len(axes)
    index = [slice(None)] * values[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return values[0][tuple(index)]


def _permuted(call: RelaxCall, values: _Values) -> np.ndarray:
    axes = call.attrs.axes
    return np.transpose(values[0], None if axes is None else [int(axis) for axis in axes])


def _product(call: RelaxCall, values: _Values) -> Any:
    axes = None if call.attrs.axis is None else tuple(int(axis) for axis in call.attrs.axis)
    return np.prod(values[0], axis=axes, keepdims=bool(call.attrs.keepdims))


def _counted(call: RelaxCall, _: _Values) -> Any:
    start, _end, step = (argument.value for argument in call.args)
    return start + step * np.arange(call.type.num_elements)


def _filled(call: RelaxCall, values: _Values) -> np.ndarray:
    return np.broadcast_to(values[-1], call.type.shape)


def _extents(call: RelaxCall, _: _Values) -> np.ndarray:
    return np.array(call.inputs[0].type.shape, np.int64)


_BY_TYPE = frozenset({"full_like", "ones_like", "shape_of", "size", "zeros_like"})
"""The value follows from the type of an operand, not from its content."""

_EVALUATE: dict[str, Callable[[RelaxCall, _Values], Any]] = {
    "add": _numpy(np.add),
    "arange": _counted,
    "astype": lambda _, values: values[0],
    "broadcast_to": _filled,
    "concat": _axis(np.concatenate),
    "divide": _divided,
    "equal": _numpy(np.equal),
    "expand_dims": _reshaped,
    "flatten": _reshaped,
    "floor_divide": _numpy(np.floor_divide),
    "full": _filled,
    "full_like": _filled,
    "greater": _numpy(np.greater),
    "greater_equal": _numpy(np.greater_equal),
    "isnan": _numpy(np.isnan),
    "less": _numpy(np.less),
    "less_equal": _numpy(np.less_equal),
    "logical_and": _numpy(np.logical_and),
    "logical_not": _numpy(np.logical_not),
    "logical_or": _numpy(np.logical_or),
    "maximum": _numpy(np.maximum),
    "minimum": _numpy(np.minimum),
    "multiply": _numpy(np.multiply),
    "negative": _numpy(np.negative),
    "ones": lambda call, _: np.ones(call.type.shape),
    "ones_like": lambda call, _: np.ones(call.type.shape),
    "permute_dims": _permuted,
    "power": _numpy(np.power),
    "prod": _product,
    "reshape": _reshaped,
    "rsqrt": lambda _, values: 1.0 / np.sqrt(values[0]),
    "shape_of": _extents,
    "shape_to_tensor": lambda _, values: values[0],
    "size": lambda call, _: np.array(call.inputs[0].type.num_elements),
    "sqrt": _numpy(np.sqrt),
    "squeeze": _reshaped,
    "stack": _axis(np.stack),
    "strided_slice": _sliced,
    "subtract": _numpy(np.subtract),
    "take": _taken,
    "tensor_to_shape": lambda _, values: values[0],
    "where": _numpy(np.where),
    "zeros": lambda call, _: np.zeros(call.type.shape),
    "zeros_like": lambda call, _: np.zeros(call.type.shape),
}
