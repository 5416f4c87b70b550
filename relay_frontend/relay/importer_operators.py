"""Operators that TVM's Relay importer lacks, or gets wrong, as converters for its table.

A converter takes the operands (None where one is left out), the ONNX attributes and the weights by
name, and returns a Relay expression, as those of ``tvm.relay.frontend.onnx`` do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relay
from tvm.relay.frontend import onnx as importer
from tvm.relay.frontend.common import infer_shape, infer_type

from relay_frontend.errors import DynamicShapeError

Converter = Callable[[Sequence[Any], dict[str, Any], Mapping[str, Any]], Any]


def complete(table: Mapping[str, Any], opset: int) -> dict[str, Any]:
    """TVM's table of converters with what is missing in it; its entries stay as they are.

    Where operands decide shapes, they reach the converter as constants: TVM's importer leaves
    parameters as variables, and then gives dynamic operators or an error.
    """
    completed = {**table, **_ADDED}
    for name, make in _WRAPPED.items():
        completed[name] = make(completed[name])
    if opset < _SOFTMAX_BY_AXIS:
        for name in ("Softmax", "LogSoftmax"):
            completed[name] = _merged_softmax(completed[name])
    for name in _STATIC_OPERANDS:
        completed[name] = _static_operands(completed[name], _STATIC_FROM.get(name, 1))
    return completed


_SOFTMAX_BY_AXIS = 13  # the opset that changed what the axis means

# --- Operands that decide shapes --------------------------------------------------------------

_REDUCTIONS = tuple(
    f"Reduce{kind}"
    for kind in (
        "L1",
        "L2",
        "LogSum",
        "LogSumExp",
        "Max",
        "Mean",
        "Min",
        "Prod",
        "Sum",
        "SumSquare",
    )
)
_STATIC_OPERANDS = (
    "Clip",
    "ConstantOfShape",
    "CumSum",
    "Expand",
    "OneHot",
    "Pad",
    "Range",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Trilu",
    "Unsqueeze",
    "Upsample",
    *_REDUCTIONS,
)
_STATIC_FROM = {"ConstantOfShape": 0, "Range": 0}


def _static_operands(convert: Converter, first: int) -> Converter:
    def convert_static(
        inputs: Sequence[Any], attrs: dict[str, Any], params: Mapping[str, Any]
    ) -> Any:
        for position in range(first, len(inputs)):
            operand = inputs[position]
            if isinstance(operand, relay.Var) and operand.name_hint in params:
                inputs[position] = relay.Constant(params[operand.name_hint])  # type: ignore[index]
        result = convert(inputs, attrs, params)
        # The importer renames what a network returns, which an input must not be.
        return relay.copy(result) if isinstance(result, relay.Var) else result

    return convert_static


def _values(operand: Any) -> list[int]:
    """The content of an operand of integers."""
    if not isinstance(operand, relay.Constant):
        raise DynamicShapeError("an operand that decides a shape depends on data")
    return [int(value) for value in np.atleast_1d(operand.data.numpy())]


# --- Converters around TVM's ------------------------------------------------------------------


def _reduction(convert: Converter) -> Converter:
    """Axes that come as an operand (opset 13 or 18 on); HHB's importer reads one of them."""

    def convert_axes(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        if len(inputs) > 1 and inputs[1] is not None:
            axes = _values(inputs[1])
            if not axes and attrs.get("noop_with_empty_axes", 0):
                return inputs[0]
            if axes:
                attrs["axes"] = tuple(axes)
        operands = inputs[:1]
        kept = type(inputs)(operands)
        return convert(kept, attrs, params)

    return convert_axes


def _pad(convert: Converter) -> Converter:
    """Padding of the axes that an operand names (opset 18 on)."""

    def convert_axes(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        if len(inputs) > 3 and inputs[3] is not None:
            rank = len(infer_shape(inputs[0]))
            axes, given = [axis % rank for axis in _values(inputs[3])], _values(inputs[1])
            widths = np.zeros(2 * rank, np.int64)
            for position, axis in enumerate(axes):
                widths[axis], widths[rank + axis] = given[position], given[len(axes) + position]
            inputs = type(inputs)([inputs[0], relay.const(widths), inputs[2]])
        value = inputs[2] if len(inputs) > 2 else None
        if value is not None and not infer_shape(value):
            inputs[2] = relay.reshape(value, (1,))  # TVM takes the first element of a vector
        return convert(inputs, attrs, params)

    return convert_axes


def _split(convert: Converter) -> Converter:
    """A number of parts of which the last is smaller (opset 18 on)."""

    def convert_parts(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        parts = attrs.get("num_outputs", 0)
        extent = infer_shape(inputs[0])[attrs.get("axis", 0)] if parts else 0
        if parts and extent % parts:
            size = -(-extent // parts)
            sizes = [size] * (parts - 1) + [extent - size * (parts - 1)]
            inputs = type(inputs)([inputs[0], relay.const(np.array(sizes, np.int64))])
        return convert(inputs, attrs, params)

    return convert_parts


def _unsqueeze(inputs: Any, attrs: dict[str, Any], _params: Mapping[str, Any]) -> Any:
    """Several negative axes count in the result; TVM's counts them one after the other."""
    given = attrs["axes"] if "axes" in attrs else _values(inputs[1])
    rank = len(infer_shape(inputs[0])) + len(given)
    result = inputs[0]
    for axis in sorted(axis % rank for axis in given):
        result = relay.expand_dims(result, axis=axis)
    return result


def _gelu(convert: Converter) -> Converter:
    """The approximation by tanh (opset 20)."""

    def convert_approximate(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        if attrs.get("approximate", b"none") != b"tanh":
            return convert(inputs, attrs, params)
        x, dtype = inputs[0], infer_type(inputs[0]).checked_type.dtype
        cube = relay.power(x, relay.const(3.0, dtype)) * relay.const(0.044715, dtype)
        bounded = relay.tanh((x + cube) * relay.const(math.sqrt(2 / math.pi), dtype))
        return x * relay.const(0.5, dtype) * (bounded + relay.const(1.0, dtype))

    return convert_approximate


# --- Converters in place of TVM's -------------------------------------------------------------


def _lp_normalization(inputs: Any, attrs: dict[str, Any], _params: Mapping[str, Any]) -> Any:
    if attrs.get("p", 2) != 2:
        raise tvm.error.OpNotImplemented("LpNormalization with p = 1")
    rank = len(infer_shape(inputs[0]))
    return relay.nn.l2_normalize(inputs[0], 1e-12, axis=[attrs.get("axis", -1) % rank])


def _group_normalization(inputs: Any, attrs: dict[str, Any], _params: Mapping[str, Any]) -> Any:
    x, scale, bias = inputs
    groups, channels = attrs["num_groups"], infer_shape(x)[1]
    if infer_shape(scale)[0] != channels:  # until opset 21 one value per group
        scale, bias = (relay.repeat(v, channels // groups, axis=0) for v in (scale, bias))
    epsilon = attrs.get("epsilon", 1e-5)
    return relay.nn.group_norm(x, scale, bias, groups, axis=1, epsilon=epsilon)


def _mean(inputs: Any, _attrs: dict[str, Any], _params: Mapping[str, Any]) -> Any:
    """The mean of several tensors; TVM's concatenates them along their first dimension."""
    total = inputs[0]
    for operand in list(inputs)[1:]:
        total = total + operand
    dtype = infer_type(inputs[0]).checked_type.dtype
    return total / relay.const(float(len(inputs)), dtype)


def _pool(tvm_class: Any) -> Converter:
    """TVM's converter without HHB's change for one dimension, which pads the added one as well."""

    def convert(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        attribute_converter, data = tvm_class._run_calculation(inputs, attrs, params)
        return attribute_converter([data], attrs, params)

    return convert


def _gemm(convert: Converter) -> Converter:
    """A scale of the product goes into its weight, which is folded before the network runs."""

    def convert_scaled(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        weight, alpha = inputs[1], attrs.get("alpha", 1.0)
        is_parameter = isinstance(weight, relay.Var) and weight.name_hint in params
        if alpha != 1.0 and (is_parameter or isinstance(weight, relay.Constant)):
            inputs[1] = weight * relay.const(alpha, infer_type(weight).checked_type.dtype)
            attrs["alpha"] = 1.0
        return convert(inputs, attrs, params)

    return convert_scaled


def _merged_softmax(convert: Converter) -> Converter:
    """Until opset 13 all dimensions from the axis on are one; TVM takes the axis alone."""

    def convert_merged(inputs: Any, attrs: dict[str, Any], params: Mapping[str, Any]) -> Any:
        shape = infer_shape(inputs[0])
        axis = attrs.get("axis", 1) % len(shape)
        if math.prod(shape[axis + 1 :]) == 1:
            return convert(inputs, attrs, params)
        merged = relay.reshape(inputs[0], (math.prod(shape[:axis]), math.prod(shape[axis:])))
        attrs["axis"] = 1
        return relay.reshape(convert([merged], attrs, params), shape)

    return convert_merged


_ADDED: dict[str, Converter] = {
    "GroupNormalization": _group_normalization,
    "LpNormalization": _lp_normalization,
    "AveragePool": _pool(importer.AveragePool),
    "MaxPool": _pool(importer.MaxPool),
    "Mean": _mean,
    "Unsqueeze": _unsqueeze,
}

_WRAPPED: dict[str, Callable[[Converter], Converter]] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Pad": _pad,
    "Split": _split,
}
