"""What importers take apart, put together again.

The operators of a network are the user's, not the importer's: a clip that one importer keeps and
another turns into ``minimum(maximum(x, a), b)`` is a clip. Formulas of arithmetic alone are data
(:mod:`relay_frontend.canonical.patterns`); here is what depends on shapes.
"""

from __future__ import annotations

import math

import numpy as np

from relay_frontend.canonical.importer_forms import IMPORTER_FORMS
from relay_frontend.canonical.patterns import recompose, scalar
from relay_frontend.graph import AttrValue, TensorType
from relay_frontend.nodes import Node, Rewrite, constant, replace


def _merge_clips(node: Node) -> Node | None:
    """A lower bound, then an upper one above it, are one clip."""
    inner = node.inputs[0] if node.inputs else None
    if node.op != "clip" or inner is None or inner.op not in ("clip", "relu"):
        return None
    inner_low, inner_high = (
        (0.0, math.inf) if inner.op == "relu" else (inner.attrs["min"], inner.attrs["max"])
    )
    low, high = node.attrs["min"], node.attrs["max"]
    if low != -math.inf or inner_high != math.inf or not inner_low < high:  # type: ignore[operator]
        return None
    return replace(node, inputs=inner.inputs, attrs={"min": inner_low, "max": high})


_OF_TWO = {"sum": "add", "mean": "add", "max": "maximum", "min": "minimum"}


def _reduction_of_stack(node: Node) -> Node | None:
    """A reduction of a stack of tensors is a chain of the operator of two."""
    if node.op not in _OF_TWO or node.inputs[0].op != "stack":
        return None
    stack = node.inputs[0]
    if node.attrs["axes"] != (stack.attrs["axis"],) or node.attrs["keepdims"]:
        return None
    total = stack.inputs[0]
    for term in stack.inputs[1:]:
        total = Node(_OF_TWO[node.op], node.type, [total, term], source=node.source)
    if node.op != "mean":
        return total
    count = constant(TensorType((), node.type.dtype), np.array(len(stack.inputs)))
    return Node("divide", node.type, [total, count], source=node.source)


def _broadcast_to_same(node: Node) -> Node | None:
    """A broadcast to the shape that a tensor has does nothing."""
    same = node.op == "broadcast_to" and node.inputs[0].type == node.type
    return node.inputs[0] if same else None


def _lrn_from_parts(node: Node) -> Node | None:
    """X / (alpha * mean of squares in a window over channels + bias) ** beta."""
    if node.op != "divide" or node.inputs[1].op != "power":
        return None
    scaled = _constant_operand(node.inputs[1], "power")
    shifted = _constant_operand(scaled, "add")
    mean = _constant_operand(shifted, "multiply")
    if mean is None or mean.op != "reshape" or mean.inputs[0].op != "avg_pool3d":
        return None
    pool = mean.inputs[0]
    square = pool.inputs[0].inputs[0] if pool.inputs[0].op == "pad" else pool.inputs[0]
    square = square.inputs[0] if square.op == "reshape" else square
    window = pool.attrs["kernel_size"]
    assert isinstance(window, tuple)
    if square.op != "square" or square.inputs[0] is not node.inputs[0]:
        return None
    if window[1:] != (1, 1):
        return None
    return Node("lrn", node.type, node.inputs[:1], {"size": window[0]}, source=node.source)


def _constant_operand(node: Node | None, op: str) -> Node | None:
    """The data operand of ``op`` with a constant scalar."""
    if node is None or node.op != op or scalar(node.inputs[1]) is None:
        return None
    return node.inputs[0]


def _softmax_between_reshapes(node: Node) -> Node | None:
    """reshape(softmax(reshape(x))) back to the shape of x, where the softmax's dimension stays.

    It is the last one, or only extents of 1 came or went.
    """
    if node.op != "reshape" or node.inputs[0].op != "softmax":
        return None
    softmax = node.inputs[0]
    if softmax.inputs[0].op != "reshape" or softmax.inputs[0].inputs[0].type != node.type:
        return None
    operand = softmax.inputs[0].inputs[0]
    axis = softmax.attrs["axis"]
    assert isinstance(axis, int)
    inner, outer = softmax.type.shape, operand.type.shape
    if not outer:
        return None
    outer_axis = len(outer) - 1
    if axis != len(inner) - 1 or inner[-1] != outer[-1]:
        long_inner = [i for i, extent in enumerate(inner) if extent != 1]
        long_outer = [i for i, extent in enumerate(outer) if extent != 1]
        same = [inner[i] for i in long_inner] == [outer[i] for i in long_outer]
        if not same or axis not in long_inner:
            return None
        outer_axis = long_outer[long_inner.index(axis)]
    return replace(softmax, type=node.type, inputs=[operand], attrs={"axis": outer_axis})


def _group_norm_from_instance_norm(node: Node) -> Node | None:
    """reshape(instance_norm(reshape(x))) with groups in place of channels, before its scale."""
    if node.op != "reshape" or node.inputs[0].op != "instance_norm":
        return None
    normal = node.inputs[0]
    grouped = normal.inputs[0]
    if grouped.op != "reshape" or grouped.inputs[0].type != node.type:
        return None
    channels, groups = node.type.shape[1:2], grouped.type.shape[1:2]
    if grouped.type.shape[:1] != node.type.shape[:1] or channels[0] % groups[0]:
        return None
    attrs: dict[str, AttrValue] = {"num_groups": groups[0]}
    return Node("group_norm", node.type, grouped.inputs[:1], attrs, source=normal.source)


def _instance_norm_from_layer_norm(node: Node) -> Node | None:
    """A norm over all dimensions behind the channels, scaled per channel."""
    if node.op != "multiply" or node.inputs[0].op != "layer_norm" or len(node.inputs[0].inputs) > 1:
        return None
    normal, scale = node.inputs
    shape = node.type.shape
    rank = len(shape)
    per_channel = (shape[1], *(1,) * (rank - 2)) if rank > 2 else ()
    if not scale.is_constant or normal.attrs["axes"] != tuple(range(2, rank)):
        return None
    if scale.type.shape not in (per_channel, (1, *per_channel)) or normal.type != node.type:
        return None
    return Node("instance_norm", node.type, [*normal.inputs, scale], source=normal.source)


def _depth_to_space(node: Node) -> Node | None:
    """Channels parted into blocks, which are moved to the pixels, or the other way around."""
    if node.op != "reshape" or node.inputs[0].op != "transpose":
        return None
    moved = node.inputs[0]
    parted = moved.inputs[0]
    if parted.op != "reshape" or len(parted.type.shape) != 6 or len(node.type.shape) != 4:
        return None
    data, shape = parted.inputs[0], parted.type.shape
    axes = moved.attrs["axes"]
    if len(data.type.shape) != 4 or data.type.shape[0] != shape[0]:
        return None
    n, c, h, w = node.type.shape
    for op, order, block, expected in (
        ("depth_to_space", (0, 3, 4, 1, 5, 2), shape[1], (n, shape[1], shape[1], c)),
        ("depth_to_space", (0, 1, 4, 2, 5, 3), shape[2], (n, c, shape[2], shape[2])),
    ):
        grows = data.type.shape[2:] == shape[4:] and (h, w) == (shape[4] * block, shape[5] * block)
        if axes == order and shape[:4] == expected and grows:
            attrs: dict[str, AttrValue] = {"block_size": block}
            return Node(op, node.type, [data], attrs, source=moved.source)
    block = shape[3]
    shrinks = data.type.shape[1] == shape[1] and shape == (n, shape[1], h, block, w, block)
    if axes == (0, 3, 5, 1, 2, 4) and shrinks and data.type.shape[2:] == (h * block, w * block):
        attrs = {"block_size": block}
        return Node("space_to_depth", node.type, [data], attrs, source=moved.source)
    return None


# --- Attention --------------------------------------------------------------------------------


def _attention_from_parts(node: Node) -> Node | None:
    """softmax(q k' scale [+ mask]) v, where the scale may be a factor of q or k' too."""
    if node.op != "matmul" or node.inputs[0].op != "softmax":
        return None
    weights, value = node.inputs
    rank = len(node.type.shape)
    if rank < 3 or weights.attrs["axis"] != rank - 1 or len(value.type.shape) != rank:
        return None
    scores, mask = _without_mask(weights.inputs[0])
    product = _without_scale(scores)
    if product is None or any(len(o.type.shape) != rank for o in product.inputs):
        return None
    query, keys = (_unscaled(operand) for operand in product.inputs)
    attrs: dict[str, AttrValue] = {"has_mask": mask is not None, "is_causal": False}
    operands = [query, _swapped(keys), value, *([] if mask is None else [mask])]
    return Node("attention", node.type, operands, attrs, source=weights.source)


def _without_mask(scores: Node) -> tuple[Node, Node | None]:
    """Scores before a mask was added to them, or their masked positions overwritten."""
    if scores.op == "add":
        for product, mask in (scores.inputs, reversed(scores.inputs)):
            if _without_scale(product) is not None and product.type == scores.type:
                return product, mask
    if scores.op == "where":
        condition, if_true, if_false = scores.inputs
        for product, fill in ((if_true, if_false), (if_false, if_true)):
            if fill.is_constant and product.type == scores.type:
                return product, condition
    return scores, None


def _without_scale(scores: Node) -> Node | None:
    """The product of queries and keys before it was scaled."""
    product = _unscaled(scores)
    return product if product.op == "matmul" else None


def _unscaled(node: Node) -> Node:
    """``node`` without a constant factor."""
    if node.op not in ("multiply", "divide") or node.inputs[0].type != node.type:
        return node
    factor = node.inputs[1]
    return node.inputs[0] if factor.is_constant and factor.type.num_elements == 1 else node


def _swapped(keys: Node) -> Node:
    """Keys as ``[..., positions, features]`` from their transpose."""
    shape = keys.type.shape
    rank = len(shape)
    swap = (*range(rank - 2), rank - 1, rank - 2)
    return transposed(keys, swap, keys.source)


def transposed(node: Node, axes: tuple[int, ...], source: str) -> Node:
    """``node`` with its dimensions in another order, in as few steps as possible."""
    if node.op == "transpose":
        inner = node.attrs["axes"]
        assert isinstance(inner, tuple)
        axes, node = tuple(inner[axis] for axis in axes), node.inputs[0]
    if axes == tuple(range(len(axes))):
        return node
    shape = tuple(node.type.shape[axis] for axis in axes)
    type_ = TensorType(shape, node.type.dtype)
    attrs: dict[str, AttrValue] = {"axes": axes}
    return Node("transpose", type_, [node], attrs, source=source)


# --- Positions --------------------------------------------------------------------------------


def _take_one(node: Node) -> Node | None:
    """Taking one known position along an axis is a slice of extent 1."""
    if node.op != "take" or not node.inputs[1].is_constant:
        return None
    data, position = node.inputs[0], scalar(node.inputs[1])
    axis = node.attrs["axis"]
    assert isinstance(axis, int)
    if position is None or data.is_constant:
        return None
    shape = data.type.shape
    begin, strides = [0] * len(shape), (1,) * len(shape)
    begin[axis] = int(position) % shape[axis]
    type_ = TensorType((*shape[:axis], 1, *shape[axis + 1 :]), node.type.dtype)
    if type_ == data.type:
        part = data
    else:
        attrs: dict[str, AttrValue] = {"begin": tuple(begin), "strides": strides}
        part = Node("slice", type_, [data], attrs, source=node.source)
    return Node("reshape", node.type, [part], source=node.source)


def _take_by_cast(node: Node) -> Node | None:
    """Positions are integers of whichever size."""
    if node.op != "take" or node.inputs[1].op != "cast":
        return None
    positions = node.inputs[1].inputs[0]
    if "int" not in positions.type.dtype:
        return None
    return replace(node, inputs=[node.inputs[0], positions])


def _take_between_reshapes(node: Node) -> Node | None:
    """reshape(take(x, reshape(i))), where positions had to be a vector."""
    if node.op != "reshape" or node.inputs[0].op != "take":
        return None
    take = node.inputs[0]
    data, positions = take.inputs
    if positions.op != "reshape" or take.attrs["axis"] != 0:
        return None
    original = positions.inputs[0]
    if node.type.shape != (*original.type.shape, *data.type.shape[1:]):
        return None
    return replace(take, type=node.type, inputs=[data, original])


def _extreme_from_top_k(node: Node) -> Node | None:
    """The first of the largest, without its dimension, is the maximum; its position argmax."""
    if node.op != "reshape":
        return None
    part = node.inputs[0]
    top = part.inputs[0] if part.op == "item" else part
    if top.op != "top_k" or top.attrs["k"] != 1 or "largest" not in top.attrs:
        return None
    axis, shape = top.attrs["axis"], top.type.shape
    assert isinstance(axis, int)
    if node.type.shape != (*shape[:axis], *shape[axis + 1 :]):
        return None
    op = "max" if top.attrs["largest"] else "min"
    attrs: dict[str, AttrValue] = {"axes": (axis,), "keepdims": False}
    if part.op == "item":
        op, attrs = f"arg{op}", {"axis": axis, "keepdims": False}
    return Node(op, node.type, top.inputs[:1], attrs, source=top.source)


# --- Slices -----------------------------------------------------------------------------------


def _slice_of_everything(node: Node) -> Node | None:
    """A slice that leaves nothing out does nothing."""
    if node.op != "slice" or node.type != node.inputs[0].type:
        return None
    strides = node.attrs["strides"]
    assert isinstance(strides, tuple)
    return node.inputs[0] if all(step == 1 for step in strides) else None


def _merge_slices(node: Node) -> Node | None:
    """A slice of a slice is one slice."""
    if node.op != "slice" or node.inputs[0].op != "slice":
        return None
    inner, attrs = node.inputs[0].attrs, node.attrs
    begin, strides = attrs["begin"], attrs["strides"]
    inner_begin, inner_strides = inner["begin"], inner["strides"]
    assert isinstance(begin, tuple)
    assert isinstance(strides, tuple)
    assert isinstance(inner_begin, tuple)
    assert isinstance(inner_strides, tuple)
    rank = range(len(begin))
    merged: dict[str, AttrValue] = {
        "begin": tuple(inner_begin[i] + begin[i] * inner_strides[i] for i in rank),
        "strides": tuple(inner_strides[i] * strides[i] for i in rank),
    }
    return replace(node, inputs=node.inputs[0].inputs, attrs=merged)


RECOMPOSE: tuple[Rewrite, ...] = (
    *IMPORTER_FORMS,
    recompose,
    _broadcast_to_same,
    _reduction_of_stack,
    _merge_clips,
    _lrn_from_parts,
    _softmax_between_reshapes,
    _group_norm_from_instance_norm,
    _instance_norm_from_layer_norm,
    _depth_to_space,
    _attention_from_parts,
    _take_one,
    _take_by_cast,
    _take_between_reshapes,
    _extreme_from_top_k,
    _slice_of_everything,
    _merge_slices,
)
