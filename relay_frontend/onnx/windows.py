"""ONNX's sliding windows: convolutions and pooling, with their padding made explicit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from relay_frontend.errors import NetworkError
from relay_frontend.nodes import Node
from relay_frontend.onnx.node import OnnxNode

_RANKS = (1, 2, 3)


def _spatial(operator: OnnxNode) -> tuple[int, ...]:
    """Extents of the operand behind batch and channels."""
    return operator.data.type.shape[2:]


def _conv(operator: OnnxNode) -> Node:
    rank = len(_spatial(operator))
    if rank not in _RANKS:
        return operator.unknown()
    data, weight = operator.data.type.shape, operator.required(1).type.shape
    groups = operator.integer("group", 1)
    if data[1] != weight[1] * groups:
        raise NetworkError(
            f"Conv {operator.source!r}: {data[1]} channels, but {groups} group(s) of weights for "
            f"{weight[1]} channels each"
        )
    window = _window(operator, weight[2:])
    return operator.node(f"conv{rank}d", **window, groups=groups)


def _conv_transpose(operator: OnnxNode) -> Node:
    rank = len(_spatial(operator))
    if rank not in _RANKS:
        return operator.unknown()
    window = _window(operator, operator.required(1).type.shape[2:])
    if operator.has("output_shape") or operator.text("auto_pad", "NOTSET").startswith("SAME"):
        window["padding"] = _padding_to_shape(operator, window)
        if min(window["padding"]) < 0:
            return operator.unknown()
    op = f"conv{rank}d_transpose"
    return operator.node(op, **window, groups=operator.integer("group", 1))


def _window(operator: OnnxNode, kernel: Sequence[int]) -> dict[str, Any]:
    """The canonical attributes of a sliding window, explicit padding among them."""
    rank = len(kernel)
    strides = operator.ints("strides", (1,) * rank)
    dilation = operator.ints("dilations", (1,) * rank)
    padding = operator.ints("pads", (0,) * (2 * rank))
    auto_pad = operator.text("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        padding = (0,) * (2 * rank)
    elif auto_pad.startswith("SAME"):
        totals = []
        for axis, extent in enumerate(_spatial(operator)):
            outputs = -(-extent // strides[axis])
            reach = dilation[axis] * (kernel[axis] - 1) + 1
            totals.append(max(0, (outputs - 1) * strides[axis] + reach - extent))
        padding = _halves(totals, more_before=auto_pad == "SAME_LOWER")
    return {
        "kernel_size": tuple(kernel),
        "strides": strides,
        "padding": padding,
        "dilation": dilation,
    }


def _halves(totals: Sequence[int], *, more_before: bool) -> tuple[int, ...]:
    small = [total // 2 for total in totals]
    large = [total - total // 2 for total in totals]
    return (*large, *small) if more_before else (*small, *large)


def _padding_to_shape(operator: OnnxNode, window: dict[str, Any]) -> tuple[int, ...]:
    """The padding that gives a transposed convolution the shape that it has."""
    rank = len(window["kernel_size"])
    extra = operator.ints("output_padding", (0,) * rank)
    totals = [
        window["strides"][axis] * (extent - 1)
        + extra[axis]
        + window["dilation"][axis] * (window["kernel_size"][axis] - 1)
        + 1
        - operator.type.shape[2 + axis]
        for axis, extent in enumerate(_spatial(operator))
    ]
    upper = operator.text("auto_pad", "NOTSET") == "SAME_UPPER"
    return _halves(totals, more_before=not upper)


def _pool(kind: str) -> Callable[[OnnxNode], Node]:
    def convert(operator: OnnxNode) -> Node:
        rank = len(_spatial(operator))
        dilated = any(step != 1 for step in operator.ints("dilations", ()))
        if rank not in _RANKS or dilated or operator.integer("storage_order", 0):
            return operator.unknown()
        window = _window(operator, operator.ints("kernel_shape", ()))
        del window["dilation"]
        node = operator.node(f"{kind}_pool{rank}d", **window)
        if kind == "avg":
            node.attrs["count_include_pad"] = bool(operator.integer("count_include_pad", 0))
        return node

    return convert


def _global_pool(op: str, reduction: str) -> Callable[[OnnxNode], Node]:
    """The vocabulary has it for images; elsewhere it is a reduction."""

    def convert(operator: OnnxNode) -> Node:
        axes = tuple(range(2, operator.rank))
        if op and len(axes) == 2:
            return operator.node(op)
        return operator.node(reduction, axes=axes, keepdims=True)

    return convert


def _global_lp_pool(operator: OnnxNode) -> Node:
    reductions = {1: "reduce_l1", 2: "reduce_l2"}
    reduction = reductions.get(operator.integer("p", 2))
    return _global_pool("", reduction)(operator) if reduction else operator.unknown()


CONVERTERS: dict[str, Callable[[OnnxNode], Node]] = {
    "AveragePool": _pool("avg"),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_pool("global_avg_pool2d", "mean"),
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global_pool("global_max_pool2d", "max"),
    "MaxPool": _pool("max"),
}
"""Converters by ONNX operator."""
