"""Relay operators that move data: shapes, parts, positions, borders, resizing."""

from __future__ import annotations

import numpy as np

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, constant
from relay_frontend.relay.constants import permutation, slice_bounds
from relay_frontend.relay.forms import along_axis, first_operand
from relay_frontend.relay.node import Converter, RelayNode


def _transpose(operator: RelayNode) -> Node:
    return operator.node("transpose", axes=permutation(operator))


def _pad(operator: RelayNode) -> Node:
    widths = [(int(before), int(after)) for before, after in operator.attrs.pad_width]
    pad_width = (*(before for before, _ in widths), *(after for _, after in widths))
    mode = getattr(operator.attrs, "pad_mode", None)
    if mode is None or str(mode) != "constant":
        return operator.node("pad_edge", operator.inputs[:1], pad_width=pad_width)
    value = operator.inputs[1].value if len(operator.inputs) > 1 else np.zeros(())
    if value is None:
        return operator.unknown()
    return operator.node("pad", operator.inputs[:1], pad_width=pad_width, value=float(value))


def _split(operator: RelayNode) -> Node:
    return operator.node("split", axis=operator.axis(), index=operator.position)


def _strided_slice(operator: RelayNode) -> Node:
    begin, strides = slice_bounds(operator)
    return operator.node("slice", operator.inputs[:1], begin=begin, strides=strides)


def _take(operator: RelayNode) -> Node:
    if operator.attrs.axis is not None:
        return operator.node("take", axis=operator.axis())
    data, indices = operator.inputs
    flat = TensorType((data.type.num_elements,), data.type.dtype)
    return operator.node("take", [Node("reshape", flat, [data]), indices], axis=0)


def _leading_to_trailing(indices: Node, components: int = 0) -> Node:
    """Positions with their components in the first (second) dimension, as Relay has them, last."""
    shape = indices.type.shape
    axes = (*range(components), *range(components + 1, len(shape)), components)
    moved = TensorType(tuple(shape[axis] for axis in axes), indices.type.dtype)
    if indices.is_constant:
        return constant(moved)
    return Node("transpose", moved, [indices], {"axes": axes}, source=indices.source)


def _by_positions(op: str) -> Converter:
    def convert_one(operator: RelayNode) -> Node:
        if int(getattr(operator.attrs, "batch_dims", 0)) or not _overwrites(operator, "mode"):
            return operator.unknown()
        data, indices, *rest = operator.inputs
        return operator.node(op, [data, _leading_to_trailing(indices), *rest])

    return convert_one


def _scatter_elements(operator: RelayNode) -> Node:
    if not _overwrites(operator, "reduction"):
        return operator.unknown()
    return operator.node("scatter_elements", axis=operator.axis())


def _overwrites(operator: RelayNode, name: str) -> bool:
    """Whether a scatter replaces elements, rather than adding to them."""
    return str(getattr(operator.attrs, name, "update")) == "update"


def _tile(operator: RelayNode) -> Node:
    """Repeats per dimension of the result; that of ONNX has as many as its operand."""
    repeats = operator.ints("reps")
    rank = len(operator.type.shape)
    return operator.node("tile", repeats=(1,) * (rank - len(repeats)) + repeats)


def _repeat(operator: RelayNode) -> Node:
    if operator.attrs.axis is None:
        return operator.unknown()
    repeats = [1] * operator.rank
    repeats[operator.axis()] = int(operator.attrs.repeats)
    return operator.node("tile", repeats=tuple(repeats))


_ORDERS = {
    "nearest": 0,
    "nearest_neighbor": 0,
    "linear": 1,
    "bilinear": 1,
    "trilinear": 1,
    "cubic": 3,
    "bicubic": 3,
}


def _resize(operator: RelayNode) -> Node:
    order = _ORDERS.get(str(operator.attrs.method))
    if order is None:
        return operator.unknown()
    return operator.node("resize", operator.inputs[:1], order=order)


def _grid_sample(operator: RelayNode) -> Node:
    order = _ORDERS.get(str(operator.attrs.method))
    if order is None:
        return operator.unknown()
    data, grid = operator.inputs
    return operator.node("grid_sample", [data, _leading_to_trailing(grid, 1)], order=order)


def _blocks(op: str) -> Converter:
    def convert_one(operator: RelayNode) -> Node:
        if str(operator.attrs.layout) != "NCHW":
            return operator.unknown()
        return operator.node(op, block_size=int(operator.attrs.block_size))

    return convert_one


def _trilu(operator: RelayNode) -> Node:
    diagonal = operator.inputs[1].value
    if diagonal is None:
        return operator.unknown()
    return operator.node(
        "triangle", operator.inputs[:1], upper=bool(operator.attrs.upper), k=int(diagonal)
    )


def _one_hot(operator: RelayNode) -> Node:
    return operator.node(
        "one_hot", operator.inputs[:1], axis=operator.axis(rank=len(operator.type.shape))
    )


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(
        ("image.resize1d", "image.resize2d", "image.resize3d", "nn.upsampling"), _resize
    ),
    **dict.fromkeys(("nn.pad", "nn.mirror_pad"), _pad),
    **dict.fromkeys(
        (
            *("reshape", "squeeze", "expand_dims", "nn.batch_flatten"),
            *("contrib_reverse_reshape", "reshape_like"),
        ),
        first_operand("reshape"),
    ),
    "broadcast_to_like": first_operand("broadcast_to"),
    "concatenate": along_axis("concatenate"),
    "gather": along_axis("gather_elements"),
    "gather_nd": _by_positions("gather_nd"),
    "image.grid_sample": _grid_sample,
    "nn.depth_to_space": _blocks("depth_to_space"),
    "nn.space_to_depth": _blocks("space_to_depth"),
    "one_hot": _one_hot,
    "repeat": _repeat,
    "reverse": along_axis("reverse"),
    "scatter_elements": _scatter_elements,
    "scatter_nd": _by_positions("scatter_nd"),
    "split": _split,
    "stack": along_axis("stack", rank_of_result=True),
    "strided_slice": _strided_slice,
    "take": _take,
    "tile": _tile,
    "transpose": _transpose,
    "trilu": _trilu,
}
"""Converters by Relay operator."""
