"""Constant folding of Relay by numpy: TVM's compiles and runs a function for each expression."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relay

Array = npt.NDArray[Any]


def fold_constants(module: tvm.IRModule) -> tvm.IRModule:
    """What ``FoldConstant`` does, for arithmetic and layouts of constants, evaluated by numpy."""
    function = module["main"]
    folder = _Folder()
    # In post-order, so that the recursion of the mutator is never deep.
    relay.analysis.post_order_visit(function.body, folder.visit)
    body = folder.visit(function.body)
    folded = relay.Function(function.params, body, None, function.type_params, function.attrs)
    module = tvm.IRModule(module.functions, module.type_definitions)
    module["main"] = folded
    return relay.transform.InferType()(module)


class _Folder(relay.ExprMutator):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[relay.Constant, Array] = {}

    def visit_function(self, function: relay.Function) -> relay.Function:
        return function

    def visit_call(self, call: relay.Call) -> relay.Expr:
        new = super().visit_call(call)
        if not new.args or not all(_is_known(arg) for arg in new.args):
            return new
        evaluate = _EVALUATORS.get(getattr(new.op, "name", ""))
        if evaluate is None:
            return new
        value = evaluate(new.attrs, *map(self._value, new.args))
        if value is None:
            return new
        constant = relay.Constant(tvm.nd.array(np.ascontiguousarray(value)))
        self.values[constant] = value
        return constant

    def _value(self, constant: relay.Constant) -> Array:
        return self.values[constant] if constant in self.values else constant.data.numpy()


def _is_known(expr: relay.Expr) -> bool:
    """Whether it is a constant of a type that numpy has."""
    return isinstance(expr, relay.Constant) and expr.data.dtype != "bfloat16"


def _expand_dims(attrs: Any, array: Array) -> Array:
    axis = int(attrs.axis) % (array.ndim + 1)
    return array.reshape(*array.shape[:axis], *[1] * int(attrs.num_newaxis), *array.shape[axis:])


def _squeeze(attrs: Any, array: Array) -> Array:
    return np.squeeze(array, None if attrs.axis is None else tuple(map(int, attrs.axis)))


def _transpose(attrs: Any, array: Array) -> Array:
    return np.transpose(array, None if attrs.axes is None else tuple(map(int, attrs.axes)))


def _reshape(attrs: Any, array: Array) -> Array | None:
    shape = tuple(map(int, attrs.newshape))
    return array.reshape(shape) if min(shape, default=1) > 0 else None


def _layout_transform(attrs: Any, array: Array) -> Array | None:
    """Split axes of ``src_layout`` and reorder them, ``OIHW`` to ``OIHW4i16o``."""
    source, result = attrs.src_layout, re.findall(r"(\d*)([A-Za-z])", attrs.dst_layout)
    factors = {axis.upper(): int(factor) for factor, axis in result if factor}
    sizes = dict(zip(source, array.shape, strict=True)) if source.isupper() else {}
    if not sizes or any(sizes[axis] % factor for axis, factor in factors.items()):
        return None
    shape: list[int] = []
    position: dict[str, int] = {}
    for axis, size in sizes.items():
        factor = factors.get(axis)
        position[axis] = len(shape)
        shape.append(size // (factor or 1))
        if factor:
            position[axis.lower()] = len(shape)
            shape.append(factor)
    return array.reshape(shape).transpose([position[axis] for _, axis in result])


_EVALUATORS: dict[str, Callable[..., Array | None]] = {
    "add": lambda _, a, b: a + b,
    "subtract": lambda _, a, b: a - b,
    "multiply": lambda _, a, b: a * b,
    "divide": lambda _, a, b: a / b if a.dtype.kind == "f" else None,  # integers: rounding differs
    "negative": lambda _, a: -a,
    "sqrt": lambda _, a: np.sqrt(a),
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "reshape": _reshape,
    "layout_transform": _layout_transform,
}
