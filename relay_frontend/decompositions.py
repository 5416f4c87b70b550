"""What importers take apart, put together again.

The operators of a network are the user's, not the importer's: a clip that one importer keeps and
another turns into ``minimum(maximum(x, a), b)`` is a clip.
"""

from __future__ import annotations

import math

from relay_frontend.nodes import Node, Rewrite, replace


def _scalar(node: Node) -> float | None:
    """The content of a constant of one element, if it is known."""
    if node.is_constant and node.value is not None and node.value.size == 1:
        return float(node.value.reshape(()))
    return None


def _clip_from_bounds(node: Node) -> Node | None:
    """A maximum or minimum with a constant scalar is a one-sided clip."""
    if node.op not in ("maximum", "minimum") or len(node.inputs) != 2:
        return None
    bound = _scalar(node.inputs[1])
    if bound is None or node.inputs[0].type != node.type:
        return None
    low, high = (bound, math.inf) if node.op == "maximum" else (-math.inf, bound)
    return replace(node, op="clip", inputs=node.inputs[:1], attrs={"min": low, "max": high})


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


def _sum_of_stack(node: Node) -> Node | None:
    """A sum over a stack of equal tensors is a chain of additions."""
    if node.op != "sum" or node.attrs.get("axes") != (0,) or node.inputs[0].op != "stack":
        return None
    terms = node.inputs[0].inputs
    if node.inputs[0].attrs.get("axis") != 0 or any(term.type != node.type for term in terms):
        return None
    total = terms[0]
    for term in terms[1:]:
        total = Node("add", node.type, [total, term], source=node.source)
    return total


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
    square = pool.inputs[0].inputs[0] if pool.inputs[0].op == "reshape" else pool.inputs[0]
    window = pool.attrs["kernel_size"]
    assert isinstance(window, tuple)
    if square.op != "multiply" or any(operand is not node.inputs[0] for operand in square.inputs):
        return None
    if window[1:] != (1, 1):
        return None
    return Node("lrn", node.type, node.inputs[:1], {"size": window[0]}, source=node.source)


def _constant_operand(node: Node | None, op: str) -> Node | None:
    """The data operand of ``op`` with a constant scalar."""
    if node is None or node.op != op or _scalar(node.inputs[1]) is None:
        return None
    return node.inputs[0]


def _softmax_between_reshapes(node: Node) -> Node | None:
    """reshape(softmax(reshape(x))) back to the shape of x, where only extents of 1 came or went."""
    if node.op != "reshape" or node.inputs[0].op != "softmax":
        return None
    softmax = node.inputs[0]
    if softmax.inputs[0].op != "reshape":
        return None
    operand = softmax.inputs[0].inputs[0]
    axis = softmax.attrs["axis"]
    assert isinstance(axis, int)
    inner, outer = softmax.type.shape, operand.type.shape
    long_inner = [i for i, extent in enumerate(inner) if extent != 1]
    long_outer = [i for i, extent in enumerate(outer) if extent != 1]
    same = [inner[i] for i in long_inner] == [outer[i] for i in long_outer]
    if operand.type != node.type or not same or axis not in long_inner:
        return None
    outer_axis = long_outer[long_inner.index(axis)]
    return replace(softmax, type=node.type, inputs=[operand], attrs={"axis": outer_axis})


RECOMPOSE: tuple[Rewrite, ...] = (
    _broadcast_to_same,
    _sum_of_stack,
    _clip_from_bounds,
    _merge_clips,
    _lrn_from_parts,
    _softmax_between_reshapes,
)
