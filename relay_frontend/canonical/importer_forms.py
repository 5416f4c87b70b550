"""What importers write around an operator since theirs is narrower, taken away again.

An importer whose product takes matrices or stacks of matrices alone merges dimensions before it and
parts them after it; one whose positions may not be negative adds the extent to those that are. Each
rewrite is a function as in :mod:`relay_frontend.canonical.canonicalize`.
"""

from __future__ import annotations

from relay_frontend.graph import TensorType
from relay_frontend.nodes import Node, Rewrite, constant, replace

_LOWEST = -3.0e38  # at or below: padding that no maximum ever picks
_POOLS = {"max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3}


# --- Products between changes of shape --------------------------------------------------------


def _dense_between_reshapes(node: Node) -> Node | None:
    """Dense works on the last dimension: merging the others before it, to part them, is no work.

    ``reshape(dense(reshape(x)) [+ b])`` that keeps the last dimension of the product.
    """
    if node.op != "reshape":
        return None
    bias, product = None, node.inputs[0]
    if product.op == "add" and product.inputs[1].is_constant:
        bias, product = product.inputs[1], product.inputs[0]
    if product.op != "dense" or product.inputs[0].op != "reshape" or not node.type.shape:
        return None
    features = product.type.shape[-1]
    if node.type.shape[-1] != features or len(node.type.shape) < 2:
        return None
    if bias is not None and bias.type.num_elements not in (1, features):
        return None
    if bias is not None and bias.type.shape[-1:] not in ((), (1,), (features,)):
        return None
    rows = product.inputs[0]
    parted = TensorType((*node.type.shape[:-1], rows.type.shape[-1]), rows.type.dtype)
    dense = replace(product, type=node.type, inputs=[_reshaped(rows, parted), *product.inputs[1:]])
    if bias is None:
        return dense
    shape = bias.type.shape[-1:] if bias.type.num_elements > 1 else ()
    vector = constant(TensorType(shape, bias.type.dtype), bias.value)
    return replace(product, op="add", type=node.type, inputs=[dense, vector], attrs={})


def _matmul_between_reshapes(node: Node) -> Node | None:
    """A product of stacks of any rank, of which an importer made one stack."""
    if node.op != "reshape" or node.inputs[0].op != "matmul":
        return None
    product = node.inputs[0]
    a, b = product.inputs
    shape = node.type.shape
    if len(product.type.shape) != 3 or shape[-2:] != product.type.shape[-2:] or len(shape) < 3:
        return None
    if "reshape" not in (a.op, b.op) or not (_is_stack(a, product) and _is_stack(b, product)):
        return None
    operands = [
        _reshaped(operand, TensorType((*shape[:-2], *operand.type.shape[-2:]), operand.type.dtype))
        for operand in (a, b)
    ]
    return replace(product, type=node.type, inputs=operands)


def _is_stack(operand: Node, product: Node) -> bool:
    """Whether ``operand`` has one matrix for each of the product's."""
    shape = operand.type.shape
    return len(shape) == 3 and shape[0] == product.type.shape[0]


def _reshaped(node: Node, type_: TensorType) -> Node:
    """``node``, or what it reshapes, in another shape."""
    if node.is_constant:
        return constant(type_)
    operand = node.inputs[0] if node.op == "reshape" else node
    if operand.type == type_:
        return operand
    return Node("reshape", type_, [operand], source=node.source)


def _matmul_of_broadcast(node: Node) -> Node | None:
    """A product repeats stacks of matrices by itself."""
    if node.op != "matmul":
        return None
    operands = [_without_broadcast(operand) for operand in node.inputs]
    if all(new is old for new, old in zip(operands, node.inputs, strict=True)):
        return None
    ranks = [len(operand.type.shape) for operand in operands]
    stacks = [
        (1,) * (max(ranks) - rank) + operand.type.shape[:-2]
        for rank, operand in zip(ranks, operands, strict=True)
    ]
    stack = tuple(max(pair) for pair in zip(*stacks, strict=True))
    same = stack == node.type.shape[:-2]
    return replace(node, inputs=operands) if same else None


def _without_broadcast(node: Node) -> Node:
    """``node`` before a repetition of all but its last two dimensions."""
    if node.op != "broadcast_to" or len(node.inputs[0].type.shape) < 2:
        return node
    operand = node.inputs[0]
    return operand if operand.type.shape[-2:] == node.type.shape[-2:] else node


# --- Positions --------------------------------------------------------------------------------


def _wrapped_positions(node: Node) -> Node | None:
    """``where(i < 0, i + extent, i)`` makes positions that count from the end count from 0."""
    if node.op != "where" or len(node.inputs) != 3:
        return None
    condition, shifted, positions = node.inputs
    if condition.op != "less" or shifted.op != "add" or "int" not in node.type.dtype:
        return None
    if condition.inputs[0] is not positions or shifted.inputs[0] is not positions:
        return None
    zero, extent = condition.inputs[1], shifted.inputs[1]
    is_zero = zero.is_constant and zero.value is not None and not zero.value.any()
    return positions if is_zero and extent.is_constant and positions.type == node.type else None


def _cast_of_position(node: Node) -> Node | None:
    """The position of an extreme value is an integer of whichever size."""
    if node.op != "cast" or node.inputs[0].op not in ("argmax", "argmin"):
        return None
    return replace(node.inputs[0], type=node.type) if "int" in node.type.dtype else None


def _roi_align_of_joined(node: Node) -> Node | None:
    """Regions with the image that they belong to as first column, apart again."""
    if node.op != "roi_align" or len(node.inputs) != 2 or node.inputs[1].op != "concatenate":
        return None
    if len(node.inputs[1].inputs) != 2:
        return None
    column, regions = node.inputs[1].inputs
    images = column.inputs[0] if column.op == "cast" else column
    images = images.inputs[0] if images.op == "reshape" else images
    if images.is_constant:
        images = constant(TensorType(column.type.shape[:1], column.type.dtype))
    return replace(node, inputs=[node.inputs[0], regions, images])


# --- Formulas with a sign or a shape of their own ----------------------------------------------


def _squeezed_logsumexp(node: Node) -> Node | None:
    """``logsumexp`` that drops its axes, of one that keeps them to be stable."""
    if node.op != "reshape" or node.inputs[0].op != "logsumexp":
        return None
    inner = node.inputs[0]
    axes = inner.attrs["axes"]
    assert isinstance(axes, tuple)
    kept = tuple(n for axis, n in enumerate(inner.type.shape) if axis not in axes)
    if not inner.attrs["keepdims"] or node.type.shape != kept:
        return None
    return replace(inner, type=node.type, attrs={**inner.attrs, "keepdims": False})


# --- Windows ----------------------------------------------------------------------------------


def _pad_before_max_pool(node: Node) -> Node | None:
    """Padding with the lowest value is a maximum's own padding."""
    rank = _POOLS.get(node.op)
    if rank is None or node.inputs[0].op != "pad":
        return None
    pad = node.inputs[0]
    value, widths, padding = pad.attrs["value"], pad.attrs["pad_width"], node.attrs["padding"]
    assert isinstance(value, float)
    assert isinstance(widths, tuple)
    assert isinstance(padding, tuple)
    half = rank + 2
    outer = (*widths[:2], *widths[half : half + 2])
    if value > _LOWEST or len(widths) != 2 * half or any(outer) or min(widths) < 0:
        return None
    extra = (*widths[2:half], *widths[half + 2 :])
    total = tuple(own + more for own, more in zip(padding, extra, strict=True))
    return replace(node, inputs=pad.inputs, attrs={**node.attrs, "padding": total})


IMPORTER_FORMS: tuple[Rewrite, ...] = (
    _dense_between_reshapes,
    _matmul_between_reshapes,
    _matmul_of_broadcast,
    _wrapped_positions,
    _cast_of_position,
    _roi_align_of_joined,
    _squeezed_logsumexp,
    _pad_before_max_pool,
)
