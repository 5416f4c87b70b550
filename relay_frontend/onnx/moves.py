"""ONNX operators that move data: shapes, parts, positions, borders, resizing."""

from __future__ import annotations

from relay_frontend.nodes import Node
from relay_frontend.onnx.constants import slice_ranges
from relay_frontend.onnx.forms import first_operand
from relay_frontend.onnx.node import Converter, OnnxNode


def _along_axis(op: str) -> Converter:
    return lambda operator: operator.node(op, axis=operator.axis(0))


def _gather_nd(operator: OnnxNode) -> Node:
    batched = operator.integer("batch_dims", 0)
    return operator.unknown() if batched else operator.node("gather_nd")


def _scatter(op: str) -> Converter:
    def convert_scatter(operator: OnnxNode) -> Node:
        if operator.text("reduction", "none") != "none":
            return operator.unknown()
        return operator.node(op) if op == "scatter_nd" else operator.node(op, axis=operator.axis(0))

    return convert_scatter


def _slice(operator: OnnxNode) -> Node:
    ranges = slice_ranges(operator)
    if ranges is None:
        return operator.unknown()
    begin, _, strides = zip(*ranges, strict=True)
    return operator.node("slice", [operator.data], begin=begin, strides=strides)


def _concat(operator: OnnxNode) -> Node:
    return operator.node("concatenate", axis=operator.integer("axis", 1) % len(operator.type.shape))


def _split(operator: OnnxNode) -> Node:
    return operator.node("split", [operator.data], axis=operator.axis(0), index=operator.position)


def _transpose(operator: OnnxNode) -> Node:
    reverse = tuple(reversed(range(operator.rank)))
    return operator.node("transpose", axes=operator.ints("perm", reverse))


_ORDERS = {"nearest": 0, "linear": 1, "bilinear": 1, "cubic": 3, "bicubic": 3}


def _resize(operator: OnnxNode) -> Node:
    order = _ORDERS.get(operator.text("mode", "nearest"))
    crops = operator.text("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    spatial = operator.data.type.shape[:2] == operator.type.shape[:2]
    if order is None or crops or not spatial or operator.integer("antialias", 0):
        return operator.unknown()
    return operator.node("resize", [operator.data], order=order)


def _grid_sample(operator: OnnxNode) -> Node:
    order = _ORDERS.get(operator.text("mode", "linear"))
    return operator.unknown() if order is None else operator.node("grid_sample", order=order)


_PADS = {"constant": "pad", "edge": "pad_edge", "reflect": "pad_edge"}


def _pad(operator: OnnxNode) -> Node:
    op = _PADS.get(operator.text("mode", "constant"))
    given, axes = operator.int_values(1, "pads"), operator.int_values(3)
    value = operator.value(2, "value")
    hidden = (value is None and operator.is_given(2)) or (axes is None and operator.is_given(3))
    if op is None or given is None or hidden:
        return operator.unknown()
    rank = operator.rank
    axes = tuple(range(rank)) if axes is None else axes
    widths = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        widths[axis % rank] = given[i]
        widths[rank + axis % rank] = given[len(axes) + i]
    node = operator.node(op, [operator.data], pad_width=tuple(widths))
    if op == "pad":
        node.attrs["value"] = 0.0 if value is None else float(value.reshape(()))
    return node


def _tile(operator: OnnxNode) -> Node:
    repeats = operator.int_values(1)
    if repeats is None or len(operator.inputs) != 2:  # until opset 6 one dimension at a time
        return operator.unknown()
    return operator.node("tile", [operator.data], repeats=repeats)


def _blocks(op: str) -> Converter:
    return lambda operator: operator.node(op, block_size=operator.integer("blocksize", 1))


def _triangle(operator: OnnxNode) -> Node:
    k = operator.int_values(1)
    if k is None and operator.is_given(1):
        return operator.unknown()
    upper = bool(operator.integer("upper", 1))
    return operator.node("triangle", [operator.data], upper=upper, k=k[0] if k else 0)


def _one_hot(operator: OnnxNode) -> Node:
    axis = operator.integer("axis", -1) % len(operator.type.shape)
    return operator.node("one_hot", [operator.data], axis=axis)


CONVERTERS: dict[str, Converter] = {
    "Concat": _concat,
    "DepthToSpace": _blocks("depth_to_space"),
    "Expand": first_operand("broadcast_to"),
    "Flatten": first_operand("reshape"),
    "Gather": _along_axis("take"),
    "GatherElements": _along_axis("gather_elements"),
    "GatherND": _gather_nd,
    "GridSample": _grid_sample,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Reshape": first_operand("reshape"),
    "Resize": _resize,
    "Scatter": _scatter("scatter_elements"),
    "ScatterElements": _scatter("scatter_elements"),
    "ScatterND": _scatter("scatter_nd"),
    "Slice": _slice,
    "SpaceToDepth": _blocks("space_to_depth"),
    "Split": _split,
    "Squeeze": first_operand("reshape"),
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": first_operand("reshape"),
    "Upsample": _resize,
}
"""Converters by ONNX operator."""
