"""ONNX operators on one element at a time: activations, types, sums of several operands."""

from __future__ import annotations

import math

import numpy as np

from relay_frontend.nodes import Node
from relay_frontend.onnx.forms import first_operand, scalar
from relay_frontend.onnx.node import Converter, OnnxNode


def _with_alpha(op: str, default: float) -> Converter:
    return lambda operator: operator.node(op, alpha=operator.real("alpha", default))


def _clip(operator: OnnxNode) -> Node:
    bounds = []
    for position, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        value = operator.value(position, name)
        if value is None and operator.is_given(position, name):
            return operator.unknown()
        bounds.append(default if value is None else float(value.reshape(())))
    return operator.node("clip", [operator.data], min=bounds[0], max=bounds[1])


def _gelu(operator: OnnxNode) -> Node:
    return operator.node("gelu", approximate=operator.text("approximate", "none") == "tanh")


def _hard_sigmoid(operator: OnnxNode) -> Node:
    return operator.node(
        "hard_sigmoid", alpha=operator.real("alpha", 0.2), beta=operator.real("beta", 0.5)
    )


def _selu(operator: OnnxNode) -> Node:
    alpha, gamma = operator.real("alpha", 1.67326), operator.real("gamma", 1.0507)
    usual = abs(alpha - 1.67326) < 1e-3 and abs(gamma - 1.0507) < 1e-3
    return operator.node("selu") if usual else operator.unknown()


def _dropout(operator: OnnxNode) -> Node:
    """Dropout does nothing, but where the network is to be trained."""
    training = operator.value(2)
    trains = operator.is_given(2) and (training is None or bool(training))
    return operator.unknown() if trains else operator.node("identity", [operator.data])


def _cast(operator: OnnxNode) -> Node:
    return operator.node("cast", [operator.data])


def _quantization(op: str) -> Converter:
    """Axis -1 where one scale serves the whole tensor; scales of blocks are not expressed."""

    def convert_quantization(operator: OnnxNode) -> Node:
        if operator.integer("block_size", 0):
            return operator.unknown()
        per_axis = operator.required(1).type.num_elements > 1
        return operator.node(op, axis=operator.axis(1) if per_axis else -1)

    return convert_quantization


def _chain(op: str) -> Converter:
    """An operator of several operands is a chain of those of two."""

    def convert_chain(operator: OnnxNode) -> Node:
        total = operator.data
        for operand in operator.inputs[1:]:
            shape = np.broadcast_shapes(total.type.shape, operand.type.shape)
            total = operator.step(op, shape, [total, operand])
        return total

    return convert_chain


def _mean_of_operands(operator: OnnxNode) -> Node:
    count = len(operator.inputs)
    total = _chain("add")(operator)
    return operator.node("divide", [total, scalar(count, total.type.dtype)])


CONVERTERS: dict[str, Converter] = {
    "Cast": _cast,
    "CastLike": _cast,
    "Celu": _with_alpha("celu", 1.0),
    "Clip": _clip,
    "DequantizeLinear": _quantization("dequantize"),
    "Dropout": _dropout,
    "Elu": _with_alpha("elu", 1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "Identity": first_operand("identity"),
    "LeakyRelu": _with_alpha("leaky_relu", 0.01),
    "Max": _chain("maximum"),
    "Mean": _mean_of_operands,
    "Min": _chain("minimum"),
    "QuantizeLinear": _quantization("quantize"),
    "Selu": _selu,
    "Sum": _chain("add"),
    "ThresholdedRelu": _with_alpha("thresholded_relu", 1.0),
}
"""Converters by ONNX operator."""
