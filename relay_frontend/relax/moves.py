"""Relax operators that move data: shapes, parts, positions, borders, resizing."""

from __future__ import annotations

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node
from relay_frontend.relax.call import Converter, RelaxCall
from relay_frontend.relax.forms import flat, operand_axis


def _first_operand(op: str) -> Converter:
    return lambda call: call.node(op, call.inputs[:1])


def _axis(op: str) -> Converter:
    """The axis is counted in the result, which has as many dimensions as the operands or more."""
    return lambda call: call.node(op, axis=int(call.attrs.axis) % len(call.type.shape))


def _take(call: RelaxCall) -> Node:
    if call.attrs.axis is None:
        return call.node("take", [flat(call), call.inputs[1]], axis=0)
    return call.node("take", axis=int(call.attrs.axis) % call.rank)


def _index_tensor(call: RelaxCall) -> Node:
    """``x[i]`` with one tensor of positions."""
    return call.node("take", axis=0) if len(call.inputs) == 2 else call.unknown()


def _gather_nd(call: RelaxCall) -> Node:
    return call.unknown() if int(call.attrs.batch_dims) else call.node("gather_nd")


def _scatter_elements(call: RelaxCall) -> Node:
    if str(call.attrs.reduction) != "update":
        return call.unknown()
    return call.node("scatter_elements", axis=int(call.attrs.axis) % call.rank)


def _scatter_nd(call: RelaxCall) -> Node:
    return call.node("scatter_nd") if str(call.attrs.reduction) == "update" else call.unknown()


def _strided_slice(call: RelaxCall) -> Node:
    shape = call.inputs[0].type.shape
    begin, strides = [0] * len(shape), [1] * len(shape)
    bounds = [[int(value.value) for value in argument.fields] for argument in call.args[1:]]
    axes, starts, ends = bounds[:3]
    steps = bounds[3] if len(bounds) > 3 else [1] * len(axes)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = axis % len(shape)
        begin[at], _, strides[at] = slice(start, end, step).indices(shape[at])
    return call.node("slice", call.inputs[:1], begin=tuple(begin), strides=tuple(strides))


def _dynamic_strided_slice(call: RelaxCall) -> Node:
    """A slice by tensors, which are known here."""
    data, *bounds = call.inputs
    shape = data.type.shape
    if any(bound.value is None for bound in bounds):
        return call.unknown()
    values = [[int(v) for v in bound.value.reshape(-1)] for bound in bounds]  # type: ignore[union-attr]
    ranges = [
        slice(start, end, step).indices(extent)
        for start, end, step, extent in zip(*values, shape, strict=True)
    ]
    begin, strides = tuple(r[0] for r in ranges), tuple(r[2] for r in ranges)
    return call.node("slice", [data], begin=begin, strides=strides)


def _transpose(call: RelaxCall) -> Node:
    axes = call.attrs.axes
    given = tuple(range(call.rank))[::-1] if axes is None else tuple(int(a) for a in axes)
    return call.node("transpose", axes=tuple(axis % call.rank for axis in given))


_PADS = {"constant": "pad", "reflect": "pad_edge", "replicate": "pad_edge"}


def _pad(call: RelaxCall) -> Node:
    flat = call.ints("pad_width")  # (before, after) of each dimension
    op = _PADS.get(str(call.attrs.pad_mode))
    if op is None:
        return call.unknown()
    node = call.node(op, pad_width=(*flat[0::2], *flat[1::2]))
    if op == "pad":
        node.attrs["value"] = float(call.attrs.pad_value)
    return node


def _tile(call: RelaxCall) -> Node:
    return call.node("tile", repeats=call.ints("repeats"))


def _repeat(call: RelaxCall) -> Node:
    axis = call.attrs.axis
    if axis is None:
        return call.unknown()
    repeats = [1] * call.rank
    repeats[int(axis) % call.rank] = int(call.attrs.repeats)
    return call.node("tile", repeats=tuple(repeats))


_ORDERS = {
    "nearest_neighbor": 0,
    "nearest": 0,
    "linear": 1,
    "bilinear": 1,
    "cubic": 3,
    "bicubic": 3,
}


def _resize(layout: str) -> Converter:
    def convert_resize(call: RelaxCall) -> Node:
        order = _ORDERS.get(str(call.attrs.method))
        if str(call.attrs.layout) != layout or order is None:
            return call.unknown()
        return call.node("resize", call.inputs[:1], order=order)

    return convert_resize


def _grid_sample(call: RelaxCall) -> Node:
    order = _ORDERS.get(str(call.attrs.method))
    if str(call.attrs.layout) != "NCHW" or order is None:
        return call.unknown()
    data, grid = call.inputs
    axes = (0, 2, 3, 1)  # Relax has the coordinates in front, the vocabulary behind
    type_ = TensorType(tuple(grid.type.shape[axis] for axis in axes), grid.type.dtype)
    behind = Node("transpose", type_, [grid], {"axes": axes}, source=call.source)
    return call.node("grid_sample", [data, behind], order=order)


def _roi_align(call: RelaxCall) -> Node:
    return call.node("roi_align") if str(call.attrs.layout) == "NCHW" else call.unknown()


def _pixel_shuffle(call: RelaxCall) -> Node:
    return call.node("depth_to_space", block_size=int(call.attrs.upscale_factor))


def _triangle(call: RelaxCall) -> Node:
    k = int(call.args[1].value)
    return call.node("triangle", call.inputs[:1], upper=call.name == "triu", k=k)


def _one_hot(call: RelaxCall) -> Node:
    axis = int(call.attrs.axis) % len(call.type.shape)
    return call.node("one_hot", call.inputs[:1], axis=axis)


def _flip(call: RelaxCall) -> Node:
    return call.node("reverse", axis=int(call.attrs.axis) % call.rank)


MOVES: dict[str, Converter] = {
    "broadcast_to": _first_operand("broadcast_to"),
    "concat": _axis("concatenate"),
    "dynamic_strided_slice": _dynamic_strided_slice,
    "expand_dims": _first_operand("reshape"),
    "flatten": _first_operand("reshape"),
    "flip": _flip,
    "gather_elements": operand_axis("gather_elements"),
    "gather_nd": _gather_nd,
    "image.grid_sample": _grid_sample,
    "image.resize2d": _resize("NCHW"),
    "image.resize3d": _resize("NCDHW"),
    "index_tensor": _index_tensor,
    "nn.batch_flatten": _first_operand("reshape"),
    "nn.pad": _pad,
    "nn.pixel_shuffle": _pixel_shuffle,
    "one_hot": _one_hot,
    "permute_dims": _transpose,
    "repeat": _repeat,
    "reshape": _first_operand("reshape"),
    "scatter_elements": _scatter_elements,
    "scatter_nd": _scatter_nd,
    "squeeze": _first_operand("reshape"),
    "stack": _axis("stack"),
    "strided_slice": _strided_slice,
    "take": _take,
    "tile": _tile,
    "tril": _triangle,
    "triu": _triangle,
    "vision.roi_align": _roi_align,
}
"""Converters by Relax operator."""
