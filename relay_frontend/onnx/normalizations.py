"""ONNX normalizations, softmax among them."""

from __future__ import annotations

import math

from relay_frontend.nodes import Node
from relay_frontend.onnx.node import Converter, OnnxNode


def _batch_norm(operator: OnnxNode) -> Node:
    training = operator.integer("training_mode", 0)
    return operator.unknown() if training else operator.node("batch_norm")


def _trailing_norm(op: str) -> Converter:
    return lambda o: o.node(op, axes=tuple(range(o.axis(-1), o.rank)))


def _group_norm(operator: OnnxNode) -> Node:
    return operator.node("group_norm", num_groups=operator.integer("num_groups", 0))


def _lp_norm(operator: OnnxNode) -> Node:
    if operator.integer("p", 2) != 2:
        return operator.unknown()
    return operator.node("l2_normalize", axes=(operator.axis(-1),))


def _lrn(operator: OnnxNode) -> Node:
    return operator.node("lrn", size=operator.integer("size", 1))


def _softmax(op: str) -> Converter:
    def convert_softmax(operator: OnnxNode) -> Node:
        shape = operator.data.type.shape
        axis = operator.axis(-1 if operator.opset >= 13 else 1)
        # Until opset 13 the trailing dimensions were taken as one.
        extended = [i for i in range(axis, len(shape)) if shape[i] != 1]
        if operator.opset >= 13 or len(extended) <= 1:
            merged = operator.opset < 13 and bool(extended)
            return operator.node(op, axis=extended[0] if merged else axis)
        flat = (*shape[:axis], math.prod(shape[axis:]))
        rows = operator.step("reshape", flat, [operator.data])
        return operator.node("reshape", [operator.step(op, flat, [rows], axis=axis)])

    return convert_softmax


CONVERTERS: dict[str, Converter] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "LRN": _lrn,
    "LayerNormalization": _trailing_norm("layer_norm"),
    "LogSoftmax": _softmax("log_softmax"),
    "LpNormalization": _lp_norm,
    "RMSNormalization": _trailing_norm("rms_norm"),
    "Softmax": _softmax("softmax"),
}
"""Converters by ONNX operator."""
